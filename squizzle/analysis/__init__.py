"""What a migration script is made of, without running it."""
