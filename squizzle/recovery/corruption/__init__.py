"""Damaged pages: found on a copy, kept as evidence, and everything readable around them saved."""
