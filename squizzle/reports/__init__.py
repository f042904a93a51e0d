"""What people read: Markdown, tables."""
