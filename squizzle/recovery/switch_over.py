"""Putting a restored database in the damaged one's place: two renames in one transaction, nothing dropped.

As two statements the same renames ended without any database of the name in 9 of 25 crashes; in one transaction in
none of 25 (measured). Clients see three errors for some milliseconds: 57P01, 55000 and 3D000.

The one that is kept says in its comment whose place it had and what took it, written in the same transaction. So a
switch-over can be repeated and undone by whoever comes next, with no other record of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from squizzle.errors import DatabaseState, InvalidInputError, RecoveryError
from squizzle.postgres.access import Connection
from squizzle.postgres.database_properties import DatabaseProperties, apply_commands, read_properties
from squizzle.postgres.names_in_queries import LONGEST_NAME_BYTES
from squizzle.postgres.translation import is_connection_loss, translate_error
from squizzle.recovery.fence import fence, server_time
from squizzle.recovery.new_database import drop_database
from squizzle.recovery.recovery import recovery_names

_MARK = "squizzle: kept "


@dataclass(frozen=True, kw_only=True, slots=True)
class SwitchOver:
    """What a switch-over left.

    Attributes:
        database: The name that clients use; it is the restored database now, still fenced.
        kept_as: The damaged database, fenced; nothing was dropped.
        slots: Replication slots that stayed with the damaged database: their consumers go on reading there.
    """

    database: str
    kept_as: str
    slots: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptDatabase:
    """A database whose place another one has taken.

    Attributes:
        name: What it is called now.
        of: The name that it had, which clients use.
        replaced_by: The name that the one in its place had before.
        kept_at: When they changed places, by the server's clock.
        is_undone: Whether that undid a switch-over: then this is the one that had been swapped in.
    """

    name: str
    of: str
    replaced_by: str
    kept_at: datetime
    is_undone: bool = False


def switch_over(
    control: Connection,
    *,
    database: str,
    restored: str,
    keep_as: str,
    properties: DatabaseProperties,
    is_undo: bool = False,
) -> SwitchOver:
    """Swap the restored database in. Safe to repeat: a finished switch-over is recognised by the names.

    Both databases are fenced first and stay so: the caller verifies, then lets clients in.

    Args:
        control: A session in another database of the same cluster.
        database: The damaged database's name, which the restored one gets.
        restored: The restored database.
        keep_as: The name that the damaged one is kept under.
        properties: Owner, privileges, settings and comment for the restored one.
        is_undo: Whether this brings a database back that was kept.

    Raises:
        RecoveryError: Prepared transactions are in the way, or a name is missing or taken; nothing was renamed.
        DatabaseError: Not allowed, or the session was lost; either both renames happened or none.
    """
    there = _existing(control, (database, restored, keep_as))
    if there == {database, keep_as}:
        return _done_before(control, database, keep_as)
    if there != {database, restored}:
        raise RecoveryError(
            f"cannot switch {database} to {restored}: of {database}, {restored} and {keep_as} only"
            f" {', '.join(sorted(there)) or 'none'} exist",
            hint="`psql -l` lists the databases; restore again, or choose another name to keep the old one under",
        )
    refuse_prepared(control, (database, restored))
    slots = _slots(control, database)
    kept = KeptDatabase(
        name=keep_as, of=database, replaced_by=restored, kept_at=server_time(control), is_undone=is_undo
    )
    fence(control, restored)
    fence(control, database)
    _rename(control, kept, properties)
    return SwitchOver(database=database, kept_as=keep_as, slots=slots)


def _done_before(control: Connection, database: str, keep_as: str) -> SwitchOver:
    """What a finished switch-over left; who was killed while reading from the one that is kept left its door open."""
    fence(control, keep_as)
    return SwitchOver(database=database, kept_as=keep_as, slots=_slots(control, keep_as))


def unused_name(control: Connection, keep_as: str, restored: str) -> str:
    """A name to keep the damaged one under: this one, or with a number where an earlier switch-over took it.

    Nothing is changed. While the restored one still has its own name, this switch-over cannot have taken it.

    Args:
        control: A session beside the databases.
        keep_as: The name that is wanted.
        restored: The database that is to be put in.
    """
    if _existing(control, (restored, keep_as)) != {restored, keep_as}:
        return keep_as
    base = keep_as.encode()[: LONGEST_NAME_BYTES - len("_99")].decode(errors="ignore")
    numbered = (f"{base}_{number}" for number in range(2, 100))
    return next(one for one in numbered if not _existing(control, (one,)))


def _existing(control: Connection, names: tuple[str, ...]) -> set[str]:
    rows = _rows(control, "SELECT datname FROM pg_database WHERE datname = ANY(%s)", list(names))
    return {row[0] for row in rows}


def refuse_prepared(control: Connection, names: tuple[str, ...]) -> None:
    """Refuse a rename that prepared transactions would be in the way of. Nothing is changed.

    Raises:
        RecoveryError: Names them, with the databases that they are in.
    """
    rows = _rows(control, "SELECT gid, database FROM pg_prepared_xacts WHERE database = ANY(%s)", list(names))
    prepared = ", ".join(f"{gid} in {database}" for gid, database in rows)
    if prepared:
        raise RecoveryError(
            f"prepared transactions are in the way of a rename: {prepared}",
            hint="COMMIT PREPARED or ROLLBACK PREPARED each of them, then run the same again",
        )


def _rename(control: Connection, kept: KeptDatabase, properties: DatabaseProperties) -> None:
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    commands = (
        rename.format(sql.Identifier(kept.of), sql.Identifier(kept.name)),
        rename.format(sql.Identifier(kept.replaced_by), sql.Identifier(kept.of)),
        *apply_commands(properties, kept.of),
        _comment(kept, properties.comment),
    )
    try:
        # One message is one transaction (manual, "Multiple Statements in a Simple Query"), and one turn: among clients
        # that are refused and come back at once, each turn costs milliseconds.
        control.execute(sql.SQL("; ").join(commands))
    except psycopg.Error as exc:
        # A session that is lost at COMMIT does not learn whether the renames happened.
        state = DatabaseState.UNKNOWN if is_connection_loss(exc) else DatabaseState.UNTOUCHED
        doing = f"switch {kept.of} over to {kept.replaced_by}"
        raise translate_error(exc, doing=doing, database_state=state) from exc


def _comment(kept: KeptDatabase, before: str | None) -> sql.Composed:
    document = {
        "of": kept.of,
        "replaced_by": kept.replaced_by,
        "kept_at": kept.kept_at.isoformat(),
        "is_undone": kept.is_undone,
        "comment": before,
    }
    text = sql.Literal(_MARK + json.dumps(document, ensure_ascii=False))
    return sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(kept.name), text)


def list_kept(control: Connection, database: str) -> tuple[KeptDatabase, ...]:
    """The databases that were exchanged for another one under this name and are kept, the last first.

    Raises:
        DatabaseError: The session was lost.
    """
    query: LiteralString = (
        "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"
        " WHERE starts_with(shobj_description(oid, 'pg_database'), %s)"
    )
    # One that somebody renamed back by hand says so still, and is in service.
    found = (_read(name, comment) for name, comment in _rows(control, query, _MARK) if name != database)
    return tuple(
        sorted((one for one in found if one and one.of == database), key=lambda one: one.kept_at, reverse=True)
    )


def _read(name: str, comment: str) -> KeptDatabase | None:
    try:
        document = json.loads(comment.removeprefix(_MARK))
        return KeptDatabase(
            name=name,
            of=document["of"],
            replaced_by=document["replaced_by"],
            kept_at=datetime.fromisoformat(document["kept_at"]),
            is_undone=document["is_undone"],
        )
    except (ValueError, KeyError, TypeError):  # somebody's own comment that begins like ours
        return None


def switch_over_to(control: Connection, *, database: str, restored: str) -> SwitchOver:
    """Swap a database in, and choose the name under which the other one is kept. Safe to repeat.

    What was done is found by the comment of the one that is kept, not by a name that a second call would not know.

    Args:
        control: A session in another database of the same cluster.
        database: The name that clients use.
        restored: The database that gets it.

    Raises:
        RecoveryError, DatabaseError: As for `switch_over`.
    """
    if not _existing(control, (restored,)):
        last = next(iter(list_kept(control, database)), None)
        if last is not None and last.replaced_by == restored:
            return _done_before(control, database, last.name)
    return switch_over(
        control,
        database=database,
        restored=restored,
        keep_as=recovery_names(database, server_time(control)).kept,
        properties=read_properties(control, database),
    )


def undo_switch_over(control: Connection, *, database: str, kept: str | None = None) -> SwitchOver:
    """Bring back the database that the last switch-over put aside; the other one is kept. Safe to repeat.

    Args:
        control: A session in another database of the same cluster.
        database: The name that clients use.
        kept: The one that is meant to come back; None for whichever it is.

    Returns:
        As for `switch_over`: `kept_as` is the one that had been swapped in, under the name that it had before.

    Raises:
        RecoveryError: There was no switch-over, or the last one kept another; nothing was renamed.
        DatabaseError: As for `switch_over`.
    """
    known = list_kept(control, database)
    last = next(iter(known), None)
    back = None if last is None else last.replaced_by if last.is_undone else last.name
    if last is None or (kept is not None and kept != back):
        raise RecoveryError(
            f"no switch-over of {database} put a database aside"
            if last is None
            else f"the last switch-over of {database} put {back} aside, not {kept}",
            hint=f"`squizzle copies list` lists what is kept; `squizzle switch-over {database} --to NAME` swaps it in",
        )
    if last.is_undone:
        return _done_before(control, database, last.name)
    is_taken = bool(_existing(control, (last.replaced_by,)))
    return switch_over(
        control,
        database=database,
        restored=last.name,
        keep_as=recovery_names(database, server_time(control)).kept if is_taken else last.replaced_by,
        properties=read_properties(control, database),
        is_undo=True,
    )


def drop_kept(control: Connection, database: str, name: str) -> None:
    """Drop one database that a switch-over kept; never anything else.

    Raises:
        InvalidInputError: No switch-over of this database kept it; nothing was dropped.
        DatabaseError: Not its owner, or a replication slot is in it; nothing was dropped.
    """
    known = [one.name for one in list_kept(control, database)]
    if name not in known:
        raise InvalidInputError(
            f"{name} was not kept by a switch-over of {database}", hint=f"kept are: {', '.join(known) or 'none'}"
        )
    drop_database(control, name)


def _slots(control: Connection, database: str) -> tuple[str, ...]:
    rows = _rows(control, "SELECT slot_name FROM pg_replication_slots WHERE database = %s ORDER BY 1", database)
    return tuple(row[0] for row in rows)


def _rows(control: Connection, query: LiteralString, parameter: str | list[str]) -> list[TupleRow]:
    try:
        return control.execute(query, (parameter,)).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see which databases there are") from exc


def changed_properties(control: Connection, database: str, expected: DatabaseProperties) -> tuple[str, ...]:
    """In which properties a database differs from what is expected; empty when in none."""
    found = read_properties(control, database)
    return tuple(
        f"{name}: {getattr(found, name)}, expected {getattr(expected, name)}"
        for name in expected.__slots__
        if getattr(found, name) != getattr(expected, name)
    )
