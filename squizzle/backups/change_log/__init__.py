"""The change log: row triggers that keep what was there before, for undoing single changes."""
