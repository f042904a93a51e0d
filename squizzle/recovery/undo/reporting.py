"""Reading what a staged plan says: numbers, the first rows, what stays as it is and why."""

from __future__ import annotations

import hashlib
from typing import Any

from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.recovery.undo.records import Conflict, ConflictReason, RowAction, RowUndo, TableUndo, UndoReport
from squizzle.recovery.undo.shapes import Group, Subject
from squizzle.recovery.undo.staging import TRANSACTIONS
from squizzle.recovery.undo.text import COMMA, each, key_names

_P = sql.Identifier("p")


def read_report(connection: Connection, group: Group, *, limit: int, dry_run: bool) -> UndoReport:
    """What the staged plans say. Nothing is changed.

    Args:
        connection: The session that staged them.
        group: The tables.
        limit: So many rows of each table, and so many conflicts of each, are listed.
        dry_run: Whether they will be carried out.
    """
    tables = tuple(_table(connection, group, subject, limit) for subject in group.subjects)
    conflicts = tuple(one for subject in group.subjects for one in _conflicts(connection, subject, limit))
    undone, at = _one(
        connection, sql.SQL("SELECT count(*) FILTER (WHERE undone), clock_timestamp() FROM {}").format(TRANSACTIONS)
    )
    beyond = connection.execute(
        sql.SQL(
            "SELECT DISTINCT l.schema_name || '.' || l.table_name FROM squizzle_log.change c"
            " JOIN {} t USING (xid, began_at) JOIN squizzle_log.logged_table l ON l.id = c.logged"
            " WHERE t.undone AND c.logged <> ALL ({}) ORDER BY 1"
        ).format(TRANSACTIONS, sql.Literal([one.logged.id for one in group.subjects]))
    ).fetchall()
    return UndoReport(
        dry_run=dry_run,
        tables=tables,
        conflicts=conflicts,
        transactions=undone,
        beyond=tuple(name for (name,) in beyond),
        digest=_digest(connection, group),
        at=at,
    )


def _one(connection: Connection, query: sql.Composed) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    if row is None:
        raise AssertionError("an aggregate returned no row")
    return row


def _table(connection: Connection, group: Group, subject: Subject, limit: int) -> TableUndo:
    restored, reverted, removed, conflicts = _one(
        connection,
        sql.SQL(
            "SELECT count(*) FILTER (WHERE conflict IS NULL AND before IS NULL),"
            " count(*) FILTER (WHERE conflict IS NULL AND before IS NOT NULL AND after IS NOT NULL),"
            " count(*) FILTER (WHERE conflict IS NULL AND after IS NULL),"
            " count(*) FILTER (WHERE conflict IS NOT NULL) FROM {}"
        ).format(subject.plan),
    )
    rows = connection.execute(
        sql.SQL(
            "SELECT CASE WHEN p.before IS NULL THEN 'restore' WHEN p.after IS NULL THEN 'remove' ELSE 'revert' END,"
            " {}, row_to_json(p.before::{})::text, row_to_json(p.after::{})::text FROM {} p WHERE p.conflict IS NULL"
            " ORDER BY {} LIMIT {}"
        ).format(_key(subject), subject.row, subject.row, subject.plan, _order(subject), limit)
    ).fetchall()
    return TableUndo(
        name=subject.logged.name,
        restored=restored,
        reverted=reverted,
        removed=removed,
        conflicts=conflicts,
        rows=tuple(RowUndo(action=RowAction(action), key=key, now=now, then=then) for action, key, now, then in rows),
        quiet_triggers=tuple(
            dict.fromkeys(one.trigger for one in group.quiet_triggers if one.table_id in subject.shape.members)
        ),
    )


def _conflicts(connection: Connection, subject: Subject, limit: int) -> list[Conflict]:
    rows = connection.execute(
        sql.SQL(
            "SELECT {}, p.conflict, CASE WHEN p.conflict <> 'changed_later' THEN p.detail ELSE"
            " (SELECT format('transaction %s of %s (%s) at %s', c.xid, c.role_name, c.application, c.logged_at)"
            " FROM squizzle_log.change c WHERE c.id = p.last) END"
            " FROM {} p WHERE p.conflict IS NOT NULL ORDER BY {} LIMIT {}"
        ).format(_key(subject), subject.plan, _order(subject), limit)
    ).fetchall()
    return [
        Conflict(table=subject.logged.name, key=key, reason=ConflictReason(reason), detail=detail or "")
        for key, reason, detail in rows
    ]


def _key(subject: Subject) -> sql.Composed:
    pairs = zip(subject.shape.key_columns, key_names(subject), strict=True)
    return sql.SQL("json_build_object({})::text").format(
        COMMA.join(sql.SQL("{}, p.{}").format(sql.Literal(column), sql.Identifier(name)) for column, name in pairs)
    )


def _order(subject: Subject) -> sql.Composed:
    return COMMA.join(each(_P, key_names(subject)))


def _digest(connection: Connection, group: Group) -> str:
    """One hash over every row that changes; no order of rows or tables matters, for they are sorted."""
    whole = hashlib.sha256()
    for subject in group.subjects:
        (part,) = _one(
            connection,
            sql.SQL(
                "SELECT encode(sha256(convert_to(coalesce(string_agg(md5(ROW(key, before, after)::text), ''"
                " ORDER BY key COLLATE \"C\"), ''), 'UTF8')), 'hex') FROM {} WHERE conflict IS NULL"
            ).format(subject.plan),
        )
        whole.update(f"{subject.logged.name}\0{part}\n".encode())
    return whole.hexdigest()
