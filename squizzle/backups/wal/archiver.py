"""What a server says about its own archiving."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.names import wal_name
from squizzle.backups.wal.stored import COMPRESSED
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error


@dataclass(frozen=True, kw_only=True, slots=True)
class Archiver:
    """The archiver of a server (`pg_stat_archiver`). A library instead of a command counts no failures there.

    Attributes:
        system_identifier: The cluster.
        on: Whether archive_mode is.
        archived: Files since the statistics were reset.
        last_archived: The last file that the command took; None for none.
        last_archived_at: When.
        failed: Failures since the statistics were reset.
        last_failed: The file of the last failure.
        last_failed_at: When.
        waiting: Files that wait for being archived; None when this account may not see it.
    """

    system_identifier: str
    on: bool
    archived: int
    last_archived: str | None
    last_archived_at: datetime | None
    failed: int
    last_failed: str | None
    last_failed_at: datetime | None
    waiting: int | None

    @property
    def is_failing(self) -> bool:
        """Whether the last try failed."""
        if self.last_failed_at is None:
            return False
        return self.last_archived_at is None or self.last_failed_at > self.last_archived_at


def read_archiver(connection: Connection) -> Archiver:
    """Ask a server about its archiver. Nothing is changed.

    Raises:
        DatabaseError: The session was lost, or the account may not see it.
    """
    try:
        row = connection.execute(load_sql("squizzle.backups.wal", "archiver")).fetchone()
        if row is None:
            raise AssertionError("pg_stat_archiver has one row")
        *values, may_list = row
        waiting = _waiting(connection) if may_list else None
    except psycopg.Error as exc:
        raise translate_error(exc, doing="ask about the archiver") from exc
    names = [field for field in Archiver.__dataclass_fields__ if field != "waiting"]
    return Archiver(**dict(zip(names, values, strict=True)), waiting=waiting)


def _waiting(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'").fetchone()
    return int(row[0]) if row else 0


def archiver_problems(archiver: Archiver, archive: WalArchive, *, is_received: bool = False) -> tuple[str, ...]:
    """What is wrong between a server and the archive that it should fill; a sentence each.

    Args:
        archiver: What the server says.
        archive: The archive.
        is_received: Whether a receiver fills it, so that the server itself need not.

    Raises:
        ToolError: The archive cannot be read.
    """
    problems = []
    if not archiver.on and not is_received:
        problems.append(
            "the server archives nothing: archive_mode = off (a change needs a restart), and nobody receives its log"
        )
    if archiver.is_failing:
        problems.append(
            f"archiving fails since {archiver.last_failed} ({archiver.failed} failures, {_waiting_text(archiver)}); "
            "the server's log says why, and its disk fills until it is mended"
        )
    last = archiver.last_archived
    if last is not None and wal_name(last) is not None:
        there = {file.name.removesuffix(COMPRESSED) for file in archive.files(archiver.system_identifier, last)}
        if last not in there:
            problems.append(f"the server says that {last} is archived, and {archive.address} has none: another store?")
    return tuple(problems)


def _waiting_text(archiver: Archiver) -> str:
    return "how many wait only a member of pg_monitor sees" if archiver.waiting is None else f"{archiver.waiting} wait"
