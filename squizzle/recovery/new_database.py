"""New databases that are being filled: marked as ours until they are whole, private if wanted, and never left half."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from squizzle.backups.records import Backup
from squizzle.errors import RecoveryError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import DatabaseProperties, create_like
from squizzle.postgres.translation import translate_error, translated
from squizzle.recovery.restored_owners import owner_to_be

_MARK = "squizzle: being restored"
# "SQZR" in ASCII.
_LIMIT_AS_MARK = 0x53515A52
_IS_MARKED = "coalesce(starts_with(shobj_description(oid, 'pg_database'), %s), datconnlimit = %s)"


@contextmanager
def new_database(
    access: ServerAccess, control: Connection, backup: Backup, *, into: str, like: DatabaseProperties, private: bool
) -> Iterator[None]:
    """An empty database to be filled from a backup in the block; see `unfinished_database`.

    Args:
        access: Server and account.
        control: A session in another database of the same cluster.
        backup: What it is filled from.
        into: Its name; one that a run left which died is dropped first.
        like: Encoding, locale and tablespace to use; and its owner, where the account is a member of that and no
            superuser.
        private: Whether nobody but its owner and superusers may get in, from its first instant on.

    Raises:
        RecoveryError: A database of that name exists and is no leftover of ours. Nothing was made.
        DatabaseError: It cannot be made.
    """
    with unfinished_database(control, into=into, like=like, source=f"backup {backup.id}", private=private):
        _drop_what_was_not_saved(access, backup, into)
        yield


@contextmanager
def unfinished_database(
    control: Connection, *, into: str, like: DatabaseProperties, source: str, private: bool
) -> Iterator[None]:
    """An empty database to be filled in the block, marked as ours, and if it is private open to nobody else.

    Whatever goes wrong in the block, half a database does not stay, and the first error stays the error. Who fills it
    takes the mark away: another comment, or none.

    Args:
        control: A session in another database of the same cluster.
        into: Its name; one that a run left which died is dropped first.
        like: Encoding, locale and tablespace to use.
        source: What it is filled from, for the mark.
        private: Whether nobody but the account and superusers may get in, from its first instant on.

    Raises:
        RecoveryError: A database of that name exists and is no leftover of ours. Nothing was made.
        DatabaseError: It cannot be made.
    """
    _drop_leftover(control, into)
    # A comment comes a moment later, and until then a limit that nobody sets by hand says whose it is.
    owner = owner_to_be(control, like.owner)
    create = create_like(like, into) + sql.SQL(" CONNECTION LIMIT {}").format(sql.Literal(_LIMIT_AS_MARK))
    if owner is not None:
        create += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
    if private:
        create += sql.SQL(" ALLOW_CONNECTIONS false")
    _execute(control, create, doing=f"create {into}")
    try:
        _mark(control, into, source)
        if private:
            open_to_us_alone(control, into)
        yield
    except BaseException as exc:
        try:
            drop_database(control, into)
        except SquizzleError as second:
            exc.add_note(f"Also, {into} could not be dropped: {second.message}")
        raise


# template0 has them, and a dump does not say that they were dropped.
_IN_TEMPLATE = (("extension", "plpgsql"), ("schema", "public"))


def _drop_what_was_not_saved(access: ServerAccess, backup: Backup, into: str) -> None:
    saved = {(one.kind, one.name) for one in backup.fingerprint.schema.objects}
    gone = [(kind, name) for kind, name in _IN_TEMPLATE if (kind, name) not in saved]
    if not gone:
        return
    with connect(access, into, purpose="restore") as connection:
        for kind, name in gone:
            command = sql.SQL("DROP {} {}").format(sql.SQL(kind), sql.Identifier(name))
            _execute(connection, command, doing=f"drop {kind} {name} of {into}")


def _mark(control: Connection, into: str, source: str) -> None:
    name, comment = sql.Identifier(into), sql.Literal(f"{_MARK} from {source}")
    try:
        with control.transaction():
            control.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, comment))
            control.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(name))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"mark {into}") from exc


def is_taken(control: Connection, name: str) -> bool:
    """Whether there is a database of this name that is no leftover of a restore. Nothing is changed."""
    return _is_marked(control, name) is False


def _is_marked(control: Connection, name: str) -> bool | None:
    """Whether a database is a leftover of a restore; None where there is none of this name."""
    try:
        row = control.execute(
            f"SELECT {_IS_MARKED} FROM pg_database WHERE datname = %s".encode(),  # noqa: S608
            (_MARK, _LIMIT_AS_MARK, name),
        ).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"see whether {name} exists") from exc
    return None if row is None else bool(row[0])


def _drop_leftover(control: Connection, name: str) -> None:
    is_marked = _is_marked(control, name)
    if is_marked is None:
        return
    if not is_marked:
        raise RecoveryError(
            f"a database {name!r} exists already and was not made by a restore", hint="restore under another name"
        )
    drop_database(control, name)


def drop_unfinished(control: Connection, prefix: str) -> tuple[str, ...]:
    """Drop databases that were being restored when their run died. The caller knows that no such run lives.

    Args:
        control: A session in another database of the same cluster.
        prefix: Only those whose names begin like this.

    Returns:
        Their names.
    """
    rows = control.execute(
        f"SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND {_IS_MARKED}".encode(),  # noqa: S608
        (prefix, _MARK, _LIMIT_AS_MARK),
    ).fetchall()
    for (name,) in rows:
        drop_database(control, name)
    return tuple(name for (name,) in rows)


def revoke_command(name: str) -> sql.Composed:
    """Takes everybody's right to connect to a new database; a new one has no other rights (manual, "Privileges")."""
    return sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))


def open_to_us_alone(control: Connection, name: str) -> None:
    """Let the account itself into a new database that lets nobody in yet, and nobody else but superusers.

    Raises:
        DatabaseError: Not its owner; it lets nobody in.
    """
    try:
        with control.transaction():
            control.execute(revoke_command(name))
            control.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"let nobody else into {name}") from exc


def drop_database(control: Connection, name: str) -> None:
    """Drop a database together with the sessions in it; nothing happens when there is none."""
    database = sql.Identifier(name)
    with translated(doing=f"drop {name}"):
        query = "SELECT FROM pg_database WHERE datname = %s AND datistemplate"
        if control.execute(query, (name,)).fetchone() is not None:  # else it cannot go
            control.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(database))
        control.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))


def _execute(connection: Connection, command: sql.SQL | sql.Composed, *, doing: str) -> None:
    try:
        connection.execute(command)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing) from exc
