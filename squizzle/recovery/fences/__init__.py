"""Everything that can be shut before a recovery: applications, poolers, and always the database itself."""
