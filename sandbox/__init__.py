"""A complete cockpit on this machine for trying things out: PostgreSQL with a fleet, Prefect, messages.

Not installed with the library; `make up` and `make down` run it.
"""
