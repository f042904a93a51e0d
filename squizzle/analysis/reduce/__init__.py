"""Parse trees reduced to actions (`squizzle.analysis.actions`); one module for each kind of object."""
