"""What a rehearsal is asked for, given by a form or by a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from squizzle.migrations.records import Policy
from tasks.folders import Folder
from tasks.sources import DatabaseSource, StoreSource


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalCase:
    """What is asked for.

    Attributes:
        database: The database that the migrations are meant for; it is only read.
        store: Where its backups and certificates are.
        folder: The migrations.
        version: One pending version; empty for every pending one.
        backup_id: The backup to restore; empty for the newest fresh one, or a new one.
        max_backup_age: An older backup does not count.
        scratch: A server for the copy; None starts one on this machine.
        mask: A file of SQL that masks the copy before anything else reads it; None for none.
        workload: A file of queries to compare; None for none.
        top_queries: So many of the costliest queries of the database are compared, too; 0 for none.
        with_point_in_time: Whether a recovery to a point in time is carried out and measured, too.
        budget: How long one script may take.
        policy: What the project allows its migrations.
        signing_key_env: The variable with the key that certificates are signed with; None: they are not signed.
        may_grow: Tables in which more rows after a rollback are no damage.
        keep_backup: So long the backup of a proven certificate is kept from pruning.
    """

    database: DatabaseSource
    store: StoreSource
    folder: Folder
    version: str
    backup_id: str
    max_backup_age: timedelta
    scratch: DatabaseSource | None
    mask: Path | None
    workload: Path | None
    with_point_in_time: bool
    budget: timedelta
    policy: Policy = field(default_factory=Policy)
    signing_key_env: str | None = None
    top_queries: int = 0
    may_grow: tuple[str, ...] = ()
    keep_backup: timedelta = timedelta(days=7)
