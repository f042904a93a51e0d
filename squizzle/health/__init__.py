"""Whether a database is well: who blocks whom, what takes long, and the remedies for it."""
