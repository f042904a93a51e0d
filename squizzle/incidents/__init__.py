"""Incidents: what was wrong with a database from its first critical alert until it is well again."""
