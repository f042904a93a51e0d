"""Alembic projects, run through Alembic's own API; nothing here is imported before such a project is read."""
