"""What a database's catalogue knows about which of its objects hang together."""
