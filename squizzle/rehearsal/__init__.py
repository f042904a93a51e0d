"""Proving a migration and its way back on a copy of the data, and writing down what was proven."""
