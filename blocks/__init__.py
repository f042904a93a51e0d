"""Prefect blocks: typed configuration of one outside system each, and the method that opens its client."""

from blocks.backup_bucket import BackupBucket
from blocks.backup_folder import BackupFolder
from blocks.postgres_database import PostgresDatabase
from blocks.rds_instance import RdsInstance

__all__ = ["BackupBucket", "BackupFolder", "PostgresDatabase", "RdsInstance"]
