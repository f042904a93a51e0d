"""Failures on purpose, at random and again: what the guide calls chaos engineering. Never in production."""
