"""Prefect tasks: one effect each, with retries, a timeout and caching off."""
