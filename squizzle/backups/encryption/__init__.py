"""Backups that only their key can read: encrypted here, before they reach a store."""
