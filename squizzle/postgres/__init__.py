"""Connecting to PostgreSQL, its client programs, and an embedded server."""
