"""Fingerprints of schemas, rows and sequences: how equality is measured instead of assumed."""
