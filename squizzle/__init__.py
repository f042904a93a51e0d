"""PostgreSQL schema migrations, and the ways back, proven before they are needed."""

__version__ = "0.1.0"
