"""Getting a database back: assess, decide, fence, restore beside, verify, switch over."""
