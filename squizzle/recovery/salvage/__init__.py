"""The rows that a damaged database has and the recovered one has not: found, kept, and offered for re-insertion."""
