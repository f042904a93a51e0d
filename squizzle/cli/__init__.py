"""The `squizzle` command."""
