"""Statements that run in ranges of a key, each range in a transaction of its own."""
