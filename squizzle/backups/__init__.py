"""Backups that carry their own proof: what was saved, and fingerprints to compare a restored copy with."""
