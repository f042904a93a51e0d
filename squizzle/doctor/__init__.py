"""Whether this machine, its servers and its stores are ready, and what to do where they are not."""
