"""A copy of a database on the same server, ready to be swapped in: the way back that takes a second whatever the size.

The server copies files, not rows (`STRATEGY FILE_COPY`); on PostgreSQL 18 and a file system that can, it only clones
them. A database can be copied only while nobody is in it. CREATE DATABASE holds a lock on the one that it copies, on
which whoever connects waits (InitPostgres() in PostgreSQL's source), so the sessions are ended once that lock is held:
clients are thrown out once and wait for the length of the copy, and nothing has to be put right when we are killed.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from squizzle.errors import CouldNotVerifyError, InvalidInputError, RecoveryError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.fence import control_session, session_through_fence, terminate_once
from squizzle.recovery.new_database import drop_database, revoke_command
from squizzle.recovery.single_flight import lock_copying

_MARK = "squizzle: prepared copy "
_BEING_MADE = "squizzle: being copied"
_LOOK_AGAIN_S = 0.005
# Where its fingerprint lies within the copy.
_TABLE = "squizzle.prepared_copy"
_CLONES_SINCE = 180000


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedCopy:
    """One copy.

    Attributes:
        name: Of the database.
        of: The database that it is a copy of.
        made_at: When it was copied: it has everything that was committed before.
    """

    name: str
    of: str
    made_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What making a copy did.

    Attributes:
        copy: The copy.
        clients_ended: How many sessions were ended.
        held: How long clients were kept waiting at most.
        cloned: Whether the file system cloned the files instead of copying them.
        digest: The copy's fingerprint.
    """

    copy: PreparedCopy
    clients_ended: int
    held: timedelta
    cloned: bool
    digest: DatabaseDigest

    @property
    def rows(self) -> int:
        """Rows fingerprinted in the copy."""
        return self.digest.rows


def copy_name(database: str, now: datetime) -> str:
    """The name of a copy made now; names are at most 63 bytes (manual, "Identifiers")."""
    suffix = f"__copy_{now.astimezone(UTC):%Y%m%dt%H%M%S}"
    return database.encode()[: 63 - len(suffix)].decode(errors="ignore") + suffix


def make_copy(
    access: ServerAccess,
    database: str,
    *,
    now: datetime,
    private: bool = False,
    known: DatabaseDigest | None = None,
) -> Copied:
    """Copy a database beside itself and fingerprint the copy. Its clients are ended once, and wait meanwhile.

    Copies that were begun by a run that died are dropped first. The copy lets nobody in.

    Args:
        access: Server and account.
        database: What to copy.
        now: The time.
        private: Nobody else gets in even while it is fingerprinted.
        known: The database's fingerprint, where nobody can have changed anything since it was taken: it is put into the
            copy, which is not read now. None: the copy is read.

    Raises:
        LockTimeoutError: It is being copied already; nothing was copied.
        RecoveryError: Prepared transactions are in the way, or sessions do not end; nothing was copied.
        DatabaseError: Not allowed, or the disk is full; nothing was copied, clients are let in again.
    """
    name = copy_name(database, now)
    with control_session(access, purpose="copy") as control:
        lock_copying(control, database)
        _drop_unfinished(control, database)
        _refuse_prepared(control, database)
        started = time.monotonic()
        ended, cloned = copy_files(access, control, database, name)
        held = timedelta(seconds=time.monotonic() - started)
        if private:
            _execute(control, revoke_command(name), doing=f"let nobody else into {name}")
        # From here on it may be open for a moment, and whoever comes after us has to know that it is nobody's.
        _execute(control, _comment(name, _BEING_MADE), doing=f"mark {name}")
        with session_through_fence(access, name, purpose="copy") as connection:
            digest = note_fingerprint(connection, known)
        copy = PreparedCopy(name=name, of=database, made_at=now)
        _execute(control, _comment(name, _mark(copy)), doing=f"mark {name}")
    return Copied(copy=copy, clients_ended=ended, held=held, cloned=cloned, digest=digest)


def copy_files(access: ServerAccess, control: Connection, database: str, name: str) -> tuple[int, bool]:
    """Copy a database's files beside it, or clone them where that is possible. The copy lets nobody in.

    Args:
        access: Server and account.
        control: A session in another database, which copies.
        database: What to copy; its sessions are ended.
        name: The copy's.

    Returns:
        How many sessions were ended, and whether the files were cloned.

    Raises:
        DatabaseError: Not allowed, or the disk is full; nothing was copied.
    """
    if _clones(control):
        try:
            return _create(access, control, database, name), True
        except SquizzleError:
            # The file system cannot clone after all; the server says so only when it tries.
            control.execute("SET file_copy_method = 'copy'")
    return _create(access, control, database, name), False


def _clones(control: Connection) -> bool:
    """Ask the server to clone files where it knows how to; whether the file system can is found out by trying."""
    if control.info.server_version < _CLONES_SINCE:
        return False
    try:
        control.execute("SET file_copy_method = 'clone'")
    except psycopg.Error:  # this build knows no way to clone
        return False
    return True


class _Copying(threading.Thread):
    """CREATE DATABASE in a session of its own, while this one ends those that are in the way."""

    def __init__(self, control: Connection, command: sql.Composed) -> None:
        super().__init__(name="squizzle copy")
        self._control = control
        self._command = command
        self.error: psycopg.Error | None = None

    def run(self) -> None:
        try:
            self._control.execute(self._command)
        except psycopg.Error as exc:
            self.error = exc


# Held by CREATE DATABASE from its first look at the template until it ends.
_HELD = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass"
    " AND objid = (SELECT oid FROM pg_database WHERE datname = %s) AND mode = 'ShareLock' AND granted AND pid = %s)"
)


def _create(access: ServerAccess, control: Connection, database: str, name: str) -> int:
    command = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY ALLOW_CONNECTIONS false").format(
        sql.Identifier(name), sql.Identifier(database)
    )
    with control_session(access, purpose="copy helper") as helper:
        row = control.execute("SELECT pg_backend_pid()").fetchone()
        copying = _Copying(control, command)
        copying.start()
        ended = 0
        try:
            while copying.is_alive() and helper.execute(_HELD, (database, row[0] if row else 0)).fetchone() != (True,):
                time.sleep(_LOOK_AGAIN_S)
            # Until it has them all: whoever comes now waits. When it is done they may come, and must not be ended.
            while copying.is_alive():
                ended += terminate_once(helper, database)
                copying.join(_LOOK_AGAIN_S)
        finally:
            copying.join()
    if copying.error is not None:
        raise translate_error(copying.error, doing=f"copy {database} to {name}") from copying.error
    return ended


def _refuse_prepared(control: Connection, database: str) -> None:
    rows = control.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", (database,)).fetchall()
    if rows:
        raise RecoveryError(
            f"prepared transactions are in {database}, so it cannot be copied: {', '.join(gid for (gid,) in rows)}",
            hint="COMMIT PREPARED or ROLLBACK PREPARED each of them, then run the same again",
        )


def note_fingerprint(connection: Connection, known: DatabaseDigest | None = None) -> DatabaseDigest:
    """Put the fingerprint of a database that is going to be swapped in into it, for whoever verifies it afterwards.

    Args:
        connection: A session in it, with nobody else there.
        known: The fingerprint; None: it is taken now.

    Raises:
        DatabaseError: It cannot be read or written; nothing was noted.
    """
    digest = known or digest_database(connection)
    document = {
        "schema": digest.schema.strict,
        "tables": {one.table: [one.rows, one.digest] for one in digest.tables},
        "sequences": dict(digest.sequences),
    }
    try:
        with connection.transaction():
            connection.execute("CREATE SCHEMA IF NOT EXISTS squizzle")
            connection.execute(f"CREATE TABLE {_TABLE} (digest jsonb NOT NULL)".encode())
            connection.execute(f"INSERT INTO {_TABLE} VALUES (%s)".encode(), (json.dumps(document),))  # noqa: S608
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"note the fingerprint of {connection.info.dbname}") from exc
    return digest


def verify_copy_unchanged(connection: Connection) -> tuple[str, ...]:
    """Compare a copy with the fingerprint that was taken when it was made. Nothing is changed.

    Returns:
        Every difference, a sentence each; none when it is as it was.

    Raises:
        CouldNotVerifyError: It has no fingerprint.
    """
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (_TABLE,)).fetchone()
    row = connection.execute(f"SELECT digest FROM {_TABLE}".encode()).fetchone() if found == (True,) else None  # noqa: S608
    if row is None:
        raise CouldNotVerifyError(
            f"{connection.info.dbname} has no fingerprint of its own, so it cannot be told whether it is as it was",
            hint="`squizzle copies list` shows the copies that were made whole",
        )
    expected = row[0]
    now = digest_database(connection)
    tables = {one.table: [one.rows, one.digest] for one in now.tables}
    names = sorted(expected["tables"].keys() | tables.keys())
    return (
        *(() if now.schema.strict == expected["schema"] else ("the schema is not as it was when it was copied",)),
        *(
            f"the rows of {name} are not those that were copied"
            for name in names
            if expected["tables"].get(name) != tables.get(name)
        ),
        *(
            f"sequence {name} is not where it was"
            for name, position in expected["sequences"].items()
            if now.sequences.get(name) != position
        ),
    )


def forget_fingerprint(connection: Connection) -> None:
    """Remove the fingerprint from a copy that is in service now. Safe to repeat."""
    _execute(connection, sql.SQL("DROP TABLE IF EXISTS squizzle.prepared_copy"), doing="remove the copy's fingerprint")


def _mark(copy: PreparedCopy) -> str:
    return _MARK + json.dumps({"of": copy.of, "made_at": copy.made_at.isoformat()})


def _comment(name: str, text: str) -> sql.Composed:
    return sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text))


def list_copies(control: Connection, database: str) -> tuple[PreparedCopy, ...]:
    """The copies of a database that were made whole, newest first. Nothing is changed."""
    rows = control.execute(
        "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"
        " WHERE starts_with(shobj_description(oid, 'pg_database'), %s)",
        (_MARK,),
    ).fetchall()
    found = (_read(name, comment) for name, comment in rows)
    return tuple(
        sorted((one for one in found if one and one.of == database), key=lambda one: one.made_at, reverse=True)
    )


def _read(name: str, comment: str) -> PreparedCopy | None:
    try:
        document = json.loads(comment.removeprefix(_MARK))
        return PreparedCopy(name=name, of=document["of"], made_at=datetime.fromisoformat(document["made_at"]))
    except (ValueError, KeyError, TypeError):
        return None


def _drop_unfinished(control: Connection, database: str) -> None:
    """Copies without the mark of a whole one, by their names, and by the other mark or because they let nobody in."""
    rows = control.execute(
        "SELECT datname FROM (SELECT datname, datallowconn, shobj_description(oid, 'pg_database') AS comment"
        " FROM pg_database) d WHERE datname ~ ('^' || %s || '__copy_[0-9]{8}t[0-9]{6}$')"
        " AND (comment = %s OR comment IS NULL AND NOT datallowconn)",
        (_escaped(database), _BEING_MADE),
    ).fetchall()
    for (name,) in rows:
        drop_database(control, name)


def _escaped(name: str) -> str:
    """A name as a regular expression of PostgreSQL, cut where names of copies cut it."""
    suffix = len("__copy_20270131t020000")
    cut = name.encode()[: 63 - suffix].decode(errors="ignore")
    return "".join(one if one.isalnum() else f"\\{one}" for one in cut)


def drop_copy(control: Connection, database: str, name: str) -> None:
    """Drop one prepared copy; never anything else.

    Raises:
        InvalidInputError: That is no copy of the database; nothing was dropped.
    """
    known = list_copies(control, database)
    if name not in {one.name for one in known}:
        raise InvalidInputError(
            f"{name} is no prepared copy of {database}",
            hint=f"copies are: {', '.join(one.name for one in known) or 'none'}",
        )
    drop_database(control, name)


def _execute(connection: Connection, command: sql.SQL | sql.Composed, *, doing: str) -> None:
    try:
        connection.execute(command)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing) from exc
