"""Fleets, waves, soak verdicts."""
