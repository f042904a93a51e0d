"""The block for a folder of backups."""

from __future__ import annotations

from pathlib import Path

from prefect.blocks.core import Block
from pydantic import Field

from blocks.encryption import Encrypting
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.store import BackupStore


class BackupFolder(Encrypting, Block):
    """A folder that holds backups, on a file system that every worker sees."""

    _block_type_name = "Backup Folder"
    _block_type_slug = "backup-folder"
    _description = "A folder of backups, each with a manifest that proves it."

    path: Path = Field(title="Folder", description="Absolute path; made when missing. Not on the database's own disk.")

    def open(self) -> BackupStore:
        """The store."""
        return self.encrypting(FolderStore(self.path))
