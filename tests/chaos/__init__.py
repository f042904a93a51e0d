"""Everything that kills, breaks and damages, counted: `make chaos`."""
