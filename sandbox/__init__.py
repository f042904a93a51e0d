"""A complete cockpit on this machine for trying things out: PostgreSQL, Prefect with its UI, a worker, deployments.

Not installed with the library; `make up` and `make down` run it.
"""
