"""A server that is lost, rebuilt on an empty one from what its store holds: roles first, then every database."""
