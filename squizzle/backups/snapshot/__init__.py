"""Backups whose rows stay with a provider: its snapshot, and a manifest in the store that says what is in it."""
