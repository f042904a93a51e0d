"""What is asked for when a backup is taken, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from squizzle.backups.dump import DumpOptions
from squizzle.backups.records import BackupKind
from squizzle.backups.store import BackupStore
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be saved, from where, to where.

    Attributes:
        access: Server and account.
        target: The database, and who the caller means by it.
        store: Where to.
        kind: What.
        programs: Client programs that fit the server.
        options: How a dump is made.
        ignore_space: Why the check of free space is passed over; None: it is not.
    """

    access: ServerAccess
    target: Target
    store: BackupStore
    kind: BackupKind
    programs: ClientPrograms
    options: DumpOptions = field(default_factory=DumpOptions)
    ignore_space: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a backup is.

    Attributes:
        written_bytes: In the store so far, for the copy that is being made.
        expected_bytes: As it was estimated; 0 when it cannot be told.
    """

    written_bytes: int
    expected_bytes: int
