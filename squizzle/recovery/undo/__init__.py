"""Row-level undo: what chosen transactions did to logged tables is taken back, later writes of others stay."""
