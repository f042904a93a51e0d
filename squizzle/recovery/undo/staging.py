"""From the log to a plan: which rows changed, what they were before, what they are, and what speaks against it.

A row's changes are added up rather than walked through: every change takes one state of the row away and brings one,
and what is left over of an unbroken chain is its first state and its last one. So it does not matter that triggers that
write to their own table make the log's order within one statement the wrong way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from psycopg import sql

from squizzle.backups.change_log.changes import ChangeLogMark
from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import Connection
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.shapes import Group, Subject
from squizzle.recovery.undo.text import COMMA, columns_of, key_names, row_of, same_key

TRANSACTIONS = sql.Identifier("pg_temp", "squizzle_undone")
_OWN = sql.Identifier("pg_temp", "squizzle_own")

# What types print must not depend on the session: states of rows are compared as text.
READING_SETTINGS: Mapping[str, str] = {
    "extra_float_digits": "3",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "timezone": "UTC",
    "row_security": "off",
}
OUR_PATH = "pg_catalog, pg_temp"


def stage(connection: Connection, group: Group, request: UndoRequest) -> None:
    """Make the temporary tables of the undo; they go with the transaction. Nothing else is changed.

    Raises:
        CouldNotVerifyError: The log has rows of a partition that is none any more.
        psycopg.Error: As the server says.
    """
    for name, value in READING_SETTINGS.items():
        connection.execute("SELECT set_config(%s, %s, true)", (name, value))
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.SQL(OUR_PATH)))
    _choose_transactions(connection, group, request)
    for subject in group.subjects:
        connection.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} r WITH NO DATA").format(
                subject.row, columns_of(sql.Identifier("r"), subject.shape.columns), subject.shape.place
            )
        )
        read_changes(connection, subject, transactions=TRANSACTIONS, into=subject.seen)
        connection.execute(_plan(subject))
        connection.execute(sql.SQL("ANALYZE {}").format(subject.plan))


def stage_own_changes(connection: Connection, group: Group, *, after: int) -> None:
    """What this very transaction changed, as the log has it: one temporary table a table.

    Args:
        connection: The session that writes.
        group: The tables.
        after: The last number in the log before it wrote.
    """
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE {} ON COMMIT DROP AS"
            " SELECT pg_current_xact_id() AS xid, now() AS began_at, true AS undone, {}::bigint AS first"
        ).format(_OWN, sql.Literal(after + 1))
    )
    for subject in group.subjects:
        read_changes(connection, subject, transactions=_OWN, into=subject.own)


def _choose_transactions(connection: Connection, group: Group, request: UndoRequest) -> None:
    """`TRANSACTIONS`: those that changed these tables since then, and of each whether it is undone."""
    since: ChangeLogMark | datetime = request.since
    connection.execute(
        sql.SQL(
            """
            CREATE TEMP TABLE {} ON COMMIT DROP AS
            SELECT c.xid, c.began_at, min(c.id) AS first,
                   ({xids}::bigint[] = '{{}}' OR c.xid::text::bigint = ANY ({xids}::bigint[]))
                   AND ({roles}::text[] = '{{}}'
                        OR bool_or(c.role_name = ANY ({roles}) OR c.session_user_name = ANY ({roles})))
                   AND ({applications}::text[] = '{{}}' OR bool_or(c.application = ANY ({applications}))) AS undone
            FROM squizzle_log.change c WHERE c.logged = ANY ({logged}::integer[])
            GROUP BY c.xid, c.began_at
            HAVING CASE WHEN {snapshot}::pg_snapshot IS NULL THEN max(c.logged_at) >= {at}::timestamptz
                   ELSE NOT pg_visible_in_snapshot(c.xid, {snapshot}::pg_snapshot)
                       AND (c.xid < pg_snapshot_xmax({snapshot}::pg_snapshot) OR max(c.id) > {position}::bigint) END
            """
        ).format(
            TRANSACTIONS,
            xids=sql.Literal(list(request.transactions)),
            roles=sql.Literal(list(request.roles)),
            applications=sql.Literal(list(request.applications)),
            logged=sql.Literal([one.logged.id for one in group.subjects]),
            snapshot=sql.Literal(since.snapshot if isinstance(since, ChangeLogMark) else None),
            position=sql.Literal(since.position if isinstance(since, ChangeLogMark) else None),
            at=sql.Literal(None if isinstance(since, ChangeLogMark) else since),
        )
    )


def read_changes(
    connection: Connection, subject: Subject, *, transactions: sql.Identifier, into: sql.Identifier
) -> None:
    """Take the changes of one table in these transactions out of the log, each as what it did to one key.

    Columns: the log's `id`, `undone`, `key` as text, the key's columns, `was` and `became` as text (NULL: no row).
    An UPDATE that changed the key did something to two keys.
    """
    names = key_names(subject)
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT 0::bigint AS id, true AS undone, ''::text AS key, {},"
            " ''::text AS was, ''::text AS became FROM {} r WITH NO DATA"
        ).format(
            into,
            COMMA.join(
                sql.SQL("r.{} AS {}").format(sql.Identifier(column), sql.Identifier(name))
                for column, name in zip(subject.shape.key_columns, names, strict=True)
            ),
            subject.row,
        )
    )
    row = connection.execute(sql.SQL("SELECT coalesce(min(first), 0) FROM {}").format(transactions)).fetchone()
    # The log has no index but that of its numbers; what is older than all of this need not be read.
    first = row[0] if row else 0
    for place in _places(connection, subject, transactions, first):
        connection.execute(_reading(subject, place, transactions, into, first))
    connection.execute(sql.SQL("ANALYZE {}").format(into))


def _places(
    connection: Connection, subject: Subject, transactions: sql.Identifier, first: int
) -> list[tuple[str, str]]:
    """Where the rows were: the table, or its partitions."""
    found = connection.execute(
        sql.SQL(
            "SELECT DISTINCT c.on_schema, c.on_table,"
            " to_regclass(format('%I.%I', c.on_schema, c.on_table))::oid::bigint"
            " FROM squizzle_log.change c JOIN {} t USING (xid, began_at) WHERE c.logged = {} AND c.id >= {}"
        ).format(transactions, sql.Literal(subject.logged.id), sql.Literal(first))
    ).fetchall()
    lost = sorted(f"{schema}.{table}" for schema, table, oid in found if oid not in subject.shape.members)
    if lost:
        raise CouldNotVerifyError(
            f"the log has rows of {', '.join(lost)}, no longer a partition of {subject.logged.name}",
            hint="attach it again, or undo since a time after it was detached; nothing was changed",
        )
    return [(schema, table) for schema, table, _ in found]


def _reading(
    subject: Subject, place: tuple[str, str], transactions: sql.Identifier, into: sql.Identifier, first: int
) -> sql.Composed:
    keys = subject.shape.key_columns
    old, new = sql.SQL("(raw.o)"), sql.SQL("(raw.n)")
    return sql.SQL(
        """
        INSERT INTO {into}
        SELECT raw.id, raw.undone, side.*
        FROM (SELECT c.id, t.undone, c.old IS NOT NULL AS had, c.new IS NOT NULL AS has,
                     {old_image} AS o, {new_image} AS n
              FROM squizzle_log.change c JOIN {transactions} t USING (xid, began_at)
              WHERE c.id >= {first} AND c.logged = {logged} AND c.on_schema = {schema} AND c.on_table = {table}
              OFFSET 0) raw
        CROSS JOIN LATERAL (
            SELECT {old_key}::text, {old_columns}, raw.o::text,
                   CASE WHEN raw.has AND {new_key}::text = {old_key}::text THEN raw.n::text END
            WHERE raw.had
            UNION ALL
            SELECT {new_key}::text, {new_columns}, NULL, raw.n::text
            WHERE raw.has AND (NOT raw.had OR {new_key}::text <> {old_key}::text)
        ) side
        """
    ).format(
        into=into,
        first=sql.Literal(first),
        transactions=transactions,
        logged=sql.Literal(subject.logged.id),
        schema=sql.Literal(place[0]),
        table=sql.Literal(place[1]),
        old_image=_image(subject, place, "old"),
        new_image=_image(subject, place, "new"),
        old_key=row_of(old, keys),
        new_key=row_of(new, keys),
        old_columns=columns_of(old, keys),
        new_columns=columns_of(new, keys),
    )


def _image(subject: Subject, place: tuple[str, str], which: str) -> sql.Composed:
    """One image of a logged row as a value of the row's type; NULL where there was no row."""
    image = sql.SQL("c.{}").format(sql.Identifier(which))
    from_json = sql.SQL("CASE WHEN {} IS NOT NULL THEN json_populate_record(NULL::{}, {}) END").format(
        image, subject.row, image
    )
    if not subject.logged.exact:
        return from_json
    exact = sql.SQL("c.{}").format(sql.Identifier(f"{which}_exact"))
    # The text has the columns of the place where the row was, which are in another order in some partitions.
    return sql.SQL(
        "CASE WHEN {exact} IS NOT NULL THEN (SELECT {values}::{row} FROM (SELECT {exact}::{place} AS r OFFSET 0) x)"
        " ELSE {from_json} END"
    ).format(
        exact=exact,
        values=row_of(sql.SQL("(x.r)"), subject.shape.columns),
        row=subject.row,
        place=sql.Identifier(*place),
        from_json=from_json,
    )


def present_row(subject: Subject) -> sql.Composed:
    """The row `r` of the table as text of the row's type; NULL where an outer join found none."""
    alias = sql.Identifier("r")
    first = sql.SQL("r.{}").format(sql.Identifier(subject.shape.key_columns[0]))
    return sql.SQL("CASE WHEN {} IS NOT NULL THEN {}::{}::text END").format(
        first, row_of(alias, subject.shape.columns), subject.row
    )


def joined_row(subject: Subject, plan: str) -> sql.Composed:
    """The condition that joins the table's row `r` to a row of a plan."""
    alias = sql.Identifier("r")
    return sql.SQL("{} AND {}::text = {}.key").format(
        same_key(subject, sql.Identifier(plan), alias), row_of(alias, subject.shape.key_columns), sql.Identifier(plan)
    )


def _plan(subject: Subject) -> sql.Composed:
    names = columns_of(sql.Identifier("k"), key_names(subject))
    return sql.SQL(
        """
        CREATE TEMP TABLE {plan} ON COMMIT DROP AS
        WITH net AS (
            SELECT key, image, sum(n) AS n
            FROM (SELECT key, was AS image, 1 AS n FROM {seen} WHERE undone
                  UNION ALL SELECT key, became, -1 FROM {seen} WHERE undone) x
            GROUP BY key, image HAVING sum(n) <> 0
        ), ends AS (
            SELECT key, max(image COLLATE "C") FILTER (WHERE n > 0) AS after,
                   max(image COLLATE "C") FILTER (WHERE n < 0) AS logged, sum(abs(n)) AS ends
            FROM net GROUP BY key
        ), kept AS (
            SELECT key, min(id) FILTER (WHERE undone) AS first, max(id) FILTER (WHERE NOT undone) AS last
            FROM {seen} GROUP BY key
        ), k AS (
            SELECT DISTINCT ON (key) * FROM {seen} ORDER BY key
        ), found AS (
            SELECT k.key, {names}, ends.after, ends.logged, ends.ends, kept.first, kept.last, {present} AS before
            FROM ends JOIN kept USING (key) JOIN k USING (key) LEFT JOIN {place} r ON {joined}
        )
        SELECT f.*, CASE WHEN f.last > f.first THEN 'changed_later'
                         WHEN f.ends <> 2 OR f.before IS DISTINCT FROM f.logged THEN 'not_explained' END AS conflict,
               ''::text AS detail
        FROM found f
        """
    ).format(
        plan=subject.plan,
        seen=subject.seen,
        names=names,
        present=present_row(subject),
        place=subject.shape.place,
        joined=joined_row(subject, "k"),
    )
