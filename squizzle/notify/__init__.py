"""Telling people: who is told what by which channel, and what becomes of a channel that fails."""
