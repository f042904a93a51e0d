"""Health sweeps: a look at every target of a fleet every few minutes, and what is told of it."""
