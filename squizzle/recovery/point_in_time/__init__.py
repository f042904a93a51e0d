"""A database as it was at a point: from a copy of its cluster and the archived log, on a second cluster, then over."""
