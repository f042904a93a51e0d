"""Which locks a statement takes on which relations, told from its text and from measurements."""
