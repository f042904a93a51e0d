"""Carrying a plan out: rows go, get old values, and come back; then the promise is compared with what is there."""

from __future__ import annotations

from psycopg import sql

from squizzle.errors import RecoveryError
from squizzle.postgres.access import Connection
from squizzle.recovery.undo.shapes import ForeignKey, Group, Subject
from squizzle.recovery.undo.staging import OUR_PATH, joined_row, present_row, stage_own_changes
from squizzle.recovery.undo.text import COMMA, each, key_names, row_of, same_key

_R, _X = sql.Identifier("r"), sql.Identifier("x")
_ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


def carry_out(connection: Connection, group: Group, *, path: str) -> tuple[str, ...]:
    """Change the rows as the plans say, and verify that nothing else was changed. Inside the caller's transaction.

    Foreign keys are checked at the end; those between tables of the group are made deferrable for so long. Triggers of
    the user's that would change or add something are off; those that check stay on. Needs the rights of the owner.

    Args:
        connection: The session, with the plans staged and the tables locked.
        group: The tables.
        path: The `search_path` that the session had, for functions that constraints call.

    Returns:
        Sequences that were raised above the values that came back.

    Raises:
        RecoveryError: What is there is not what was promised; the caller rolls back.
        psycopg.Error: As the server says.
    """
    inside = [key for key in group.foreign_keys if group.of(key.child_id) and group.of(key.parent_id)]
    strict = [key for key in inside if not key.is_deferrable]
    for trigger in group.quiet_triggers:
        _switch(connection, sql.Identifier(trigger.schema, trigger.name), "DISABLE", trigger.trigger)
    for key in strict:
        _defer(connection, key, "DEFERRABLE INITIALLY DEFERRED")
    position = _position(connection)
    connection.execute("SET CONSTRAINTS ALL DEFERRED")
    connection.execute("SELECT set_config('search_path', %s, true)", (path,))
    # First what ties rows together, or ON DELETE would take rows along that only have to be tied elsewhere again.
    for key in inside:
        _tie_again(connection, group, key)
    for subject in _children_first(group, inside):
        connection.execute(_removing(subject))
    for subject in group.subjects:
        if reverting := _reverting(subject):
            connection.execute(reverting)
    for subject in group.subjects:
        connection.execute(_restoring(subject))
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.SQL(OUR_PATH)))
    _verify(connection, group, after=position)
    for key in strict:
        _defer(connection, key, "NOT DEFERRABLE")
    for trigger in group.quiet_triggers:
        place = sql.Identifier(trigger.schema, trigger.name)
        _switch(connection, place, _ENABLE[trigger.enabled], trigger.trigger)
    return tuple(name for subject in group.subjects for name in _raise_sequences(connection, subject))


def _switch(connection: Connection, place: sql.Identifier, how: str, trigger: str) -> None:
    # ONLY: partitions have triggers of their own, each with its own state.
    connection.execute(sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}").format(place, _WORDS[how], sql.Identifier(trigger)))


_WORDS = {
    "DISABLE": sql.SQL("DISABLE"),
    "ENABLE": sql.SQL("ENABLE"),
    "ENABLE ALWAYS": sql.SQL("ENABLE ALWAYS"),
    "ENABLE REPLICA": sql.SQL("ENABLE REPLICA"),
}
_DEFERRING = {
    "DEFERRABLE INITIALLY DEFERRED": sql.SQL("DEFERRABLE INITIALLY DEFERRED"),
    "NOT DEFERRABLE": sql.SQL("NOT DEFERRABLE"),
}


def _defer(connection: Connection, key: ForeignKey, how: str) -> None:
    connection.execute(
        sql.SQL("ALTER TABLE {} ALTER CONSTRAINT {} {}").format(
            sql.Identifier(key.child_schema, key.child_name), sql.Identifier(key.name), _DEFERRING[how]
        )
    )


def _children_first(group: Group, inside: list[ForeignKey]) -> list[Subject]:
    """The tables, each before those that its rows refer to; in a circle any order is as good."""
    parents: dict[int, set[int]] = {subject.shape.id: set() for subject in group.subjects}
    for key in inside:
        child, parent = group.of(key.child_id), group.of(key.parent_id)
        if child and parent and child is not parent:
            parents[child.shape.id].add(parent.shape.id)
    ordered: list[Subject] = []
    left = list(group.subjects)
    while left:
        named = {parent for subject in left for parent in parents[subject.shape.id] if subject.shape.id != parent}
        free = [subject for subject in left if subject.shape.id not in named] or left[:1]
        ordered += free
        left = [subject for subject in left if subject not in free]
    return ordered


def _rows(subject: Subject, condition: str) -> sql.Composed:
    """Rows of the plan that change: the key's columns, `key`, and `one`, the row as it will be."""
    conditions = {
        "restore": sql.SQL("p.before IS NULL AND p.after IS NOT NULL"),
        "revert": sql.SQL("p.before IS NOT NULL AND p.after IS NOT NULL"),
        "remove": sql.SQL("p.before IS NOT NULL AND p.after IS NULL"),
    }
    return sql.SQL(
        "(SELECT p.key, {}, p.after::{} AS one FROM {} p WHERE p.conflict IS NULL AND {} OFFSET 0) x"
    ).format(
        COMMA.join(each(sql.Identifier("p"), key_names(subject))),
        subject.row,
        subject.plan,
        conditions[condition],
    )


def _tie_again(connection: Connection, group: Group, key: ForeignKey) -> None:
    subject = group.of(key.child_id)
    if subject is None:
        return
    columns = [one for one in key.child_columns if one not in subject.shape.key_columns]
    if not columns:
        return
    connection.execute(
        sql.SQL("UPDATE {} r SET {} FROM {} WHERE {} AND {}::text <> {}::text").format(
            subject.shape.place,
            _assignments(columns),
            _rows(subject, "revert"),
            same_key(subject, _X, _R),
            row_of(_R, columns),
            row_of(sql.SQL("(x.one)"), columns),
        )
    )


def _assignments(columns: list[str]) -> sql.Composed:
    return COMMA.join(sql.SQL("{0} = (x.one).{0}").format(sql.Identifier(one)) for one in columns)


def _removing(subject: Subject) -> sql.Composed:
    return sql.SQL("DELETE FROM {} r USING {} WHERE {}").format(
        subject.shape.place, _rows(subject, "remove"), same_key(subject, _X, _R)
    )


def _reverting(subject: Subject) -> sql.Composed | None:
    fixed = {*subject.shape.key_columns, *subject.shape.always_identity}
    columns = [one for one in subject.shape.columns if one not in fixed]
    if not columns:
        return None
    return sql.SQL("UPDATE {} r SET {} FROM {} WHERE {}").format(
        subject.shape.place, _assignments(columns), _rows(subject, "revert"), same_key(subject, _X, _R)
    )


def _restoring(subject: Subject) -> sql.Composed:
    names = COMMA.join(sql.Identifier(one) for one in subject.shape.columns)
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
        subject.shape.place,
        names,
        COMMA.join(each(sql.SQL("(x.one)"), subject.shape.columns)),
        _rows(subject, "restore"),
    )


def _position(connection: Connection) -> int:
    row = connection.execute("SELECT coalesce(pg_sequence_last_value('squizzle_log.change_id_seq'), 0)").fetchone()
    return row[0] if row else 0


def _verify(connection: Connection, group: Group, *, after: int) -> None:
    """Every row is as promised; of what this transaction changed, nothing was not promised. The log itself tells."""
    for subject in group.subjects:
        wrong = connection.execute(
            sql.SQL(
                "SELECT count(*), min(p.key) FROM {} p LEFT JOIN {} r ON {}"
                " WHERE p.conflict IS NULL AND {} IS DISTINCT FROM p.after"
            ).format(subject.plan, subject.shape.place, joined_row(subject, "p"), present_row(subject))
        ).fetchone()
        if wrong and wrong[0]:
            raise _broken(f"{wrong[0]} rows of {subject.logged.name} are not as they were, {wrong[1]} among them")
    strays = connection.execute(
        "SELECT DISTINCT l.schema_name || '.' || l.table_name"
        " FROM squizzle_log.change c JOIN squizzle_log.logged_table l ON l.id = c.logged"
        " WHERE c.id > %s AND c.xid = pg_current_xact_id() AND c.began_at = now() AND c.logged <> ALL (%s) ORDER BY 1",
        (after, [subject.logged.id for subject in group.subjects]),
    ).fetchall()
    if strays:
        raise _broken(f"rows of {', '.join(name for (name,) in strays)} would have been changed along with it")
    stage_own_changes(connection, group, after=after)
    for subject in group.subjects:
        more = connection.execute(
            sql.SQL(
                "SELECT count(DISTINCT o.key), min(o.key) FROM {} o"
                " WHERE NOT EXISTS (SELECT FROM {} p WHERE p.conflict IS NULL AND p.key = o.key)"
            ).format(subject.own, subject.plan)
        ).fetchone()
        if more and more[0]:
            raise _broken(f"{more[0]} more rows of {subject.logged.name} would have been changed, {more[1]} among them")


def _broken(what: str) -> RecoveryError:
    return RecoveryError(
        f"the undo was taken back: {what}",
        hint="a trigger, a rule or a foreign key did more than was asked; name the tables it touches, too, or restore"
        " a backup beside the database",
    )


def _raise_sequences(connection: Connection, subject: Subject) -> list[str]:
    """Sequences of columns that got values back which they would give out again."""
    owned = connection.execute(
        "SELECT a.attname, pg_get_serial_sequence(format('%%I.%%I', %s::text, %s::text), a.attname)"
        " FROM pg_attribute a WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped",
        (subject.shape.schema, subject.shape.name, subject.shape.id),
    ).fetchall()
    raised = []
    for column, sequence in owned:
        if sequence is None:
            continue
        row = connection.execute(
            sql.SQL(
                "SELECT setval({name}::text::regclass, top)"
                " FROM (SELECT max((x.one).{column})::bigint AS top FROM {rows}) t, pg_sequence s"
                " WHERE s.seqrelid = {name}::text::regclass AND s.seqincrement > 0 AND top <= s.seqmax"
                " AND top > coalesce(pg_sequence_last_value(s.seqrelid), 0)"
            ).format(name=sql.Literal(sequence), column=sql.Identifier(column), rows=_rows(subject, "restore"))
        ).fetchone()
        if row is not None:
            raised.append(str(sequence))
    return raised
