"""Snapshots of instances of Amazon RDS: taken, waited for, listed and deleted; nothing else of RDS is changed."""
