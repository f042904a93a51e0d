"""What sweeps and drills find, kept as frames in the store, and what it tells over time."""
