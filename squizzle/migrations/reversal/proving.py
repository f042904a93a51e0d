"""The proof: a script is executed on a scratch copy, then its ways back, and after each the schema is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg

from squizzle.analysis.grammar import parse_statement
from squizzle.analysis.records import Statement
from squizzle.errors import MigrationFailedError
from squizzle.migrations.reversal.catalogue import Catalogue
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.records import Match, Reverse, ReversedStatement, Reversibility
from squizzle.migrations.reversal.statements import reverse_statement
from squizzle.migrations.session import work_in_schema
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import server_words
from squizzle.proof.comparison import differing_objects
from squizzle.proof.digests import digest_own_changes, digest_schema
from squizzle.proof.records import SchemaDigest

_Key = tuple[str, str]
# They only read and write rows, of which a scratch copy has none: that they fail there says nothing about the schema.
_ROWS_ONLY = frozenset({"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt", "select_stmt"})
# Only of use inside a transaction, and here each statement has its own, so that a dump can see what came before it.
_PASSED_OVER = frozenset({"transaction_stmt", "lock_stmt", "constraints_set_stmt"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What the execution on a scratch copy showed.

    Attributes:
        statements: With their ways back, each labelled by what it left.
        start: The schema before the script.
        after: The one schema that was asked for, as the script left it.
        end: The schema that the ways back left.
    """

    statements: tuple[ReversedStatement, ...]
    start: SchemaDigest
    after: SchemaDigest
    end: SchemaDigest

    @property
    def match(self) -> Match:
        """What the whole way back left."""
        if self.start.strict == self.end.strict:
            return Match.STRICT
        return Match.LOGICAL if self.start.logical == self.end.logical else Match.DIFFERENT


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    statement: Statement
    reverse: Reverse
    before: SchemaDigest


def prove(
    connection: Connection,
    catalogue: Catalogue,
    statements: Sequence[Statement],
    *,
    context: Context,
    schema: str | None = None,
) -> Proof:
    """Run a script and its ways back on a scratch copy.

    Args:
        connection: A session in the scratch copy, which is in the state before the script; it is changed.
        catalogue: Reads the same copy.
        statements: Of the script.
        context: What holds before the first one.
        schema: The one that `Proof.after` is about; None for the whole database.

    Raises:
        MigrationFailedError: A statement of the script itself failed there; the scratch copy is left as it is then.
    """
    start = digest_own_changes(connection)
    steps: list[_Step] = []
    now = start
    for statement in statements:
        reverse, context = reverse_statement(statement.sql, catalogue, context)
        changes_schema = run_forward(connection, statement, reverse)
        catalogue.forget()
        steps.append(_Step(statement=statement, reverse=reverse, before=now))
        now = digest_own_changes(connection) if changes_schema else now
    after = digest_schema(connection, schema=schema)
    _begin_again(connection, schema)
    proven, end = _go_back(connection, steps, now)
    return Proof(statements=proven, start=start, after=after, end=end)


def _begin_again(connection: Connection, schema: str | None) -> None:
    """A way back runs in a session of its own: nothing that the script set, and none of its temporary tables."""
    connection.execute("DISCARD ALL")
    work_in_schema(connection, schema or "public")


def run_forward(connection: Connection, statement: Statement, reverse: Reverse) -> bool:
    """Run one statement of the script on a scratch copy, and around it what saves its rows.

    Returns:
        Whether it may have changed a definition.

    Raises:
        MigrationFailedError: It fails, and not only for want of rows.
    """
    tree = parse_statement(statement.sql)
    kind = tree.WhichOneof("node") if tree is not None else ""
    if kind in _PASSED_OVER:
        return False
    try:
        if reverse.save:
            with connection.transaction():
                _run_texts(connection, reverse.save.before)
                run_statement(connection, statement)
                _run_texts(connection, reverse.save.after)
        else:
            run_statement(connection, statement)
    except psycopg.Error as exc:
        if kind in _ROWS_ONLY and not connection.closed:
            return False
        raise MigrationFailedError(
            f"line {statement.line} fails on a scratch copy: {server_words(exc)}",
            sqlstate=exc.sqlstate or "",
            hint="the way back of a script that does not run cannot be proved: if it only lacks rows, of which a"
            " scratch copy has none, write its down script by hand; else `squizzle apply` would fail as well",
        ) from exc
    # A function that SELECT calls may do anything, and so may a trigger.
    return True


def _run_texts(connection: Connection, statements: Sequence[str]) -> None:
    for text in statements:
        connection.execute(text.encode())


def run_statement(connection: Connection, statement: Statement) -> None:
    """Run one statement by itself, with the rows of a COPY where it has some.

    Raises:
        psycopg.Error: The server refused it.
    """
    if statement.data is None:
        connection.execute(_for_the_session(statement.sql).encode())
        return
    with connection.cursor() as cursor, cursor.copy(statement.sql.encode()) as copy:
        copy.write(statement.data)


def _for_the_session(sql: str) -> str:
    """SET LOCAL would end with its statement."""
    words = sql.split(maxsplit=2)
    local = len(words) > 2 and words[0].upper() == "SET" and words[1].upper() == "LOCAL"  # noqa: PLR2004
    return f"SET {words[2]}" if local else sql


def _go_back(
    connection: Connection, steps: Sequence[_Step], now: SchemaDigest
) -> tuple[tuple[ReversedStatement, ...], SchemaDigest]:
    residue: frozenset[_Key] = frozenset()
    proven: list[ReversedStatement] = []
    for step in reversed(steps):
        reverse, match, now = _try_ways(connection, step, now, residue)
        residue = differing_objects(step.before, now)
        proven.append(
            ReversedStatement(
                sql=step.statement.sql,
                line=step.statement.line,
                reverse=reverse,
                match=match,
                claim=step.reverse,
            )
        )
    return tuple(reversed(proven)), now


def _try_ways(
    connection: Connection, step: _Step, now: SchemaDigest, residue: frozenset[_Key]
) -> tuple[Reverse, Match, SchemaDigest]:
    """The first way that leads back; else the last one that runs, with an honest label."""
    way: Reverse | None = step.reverse
    problems: list[str] = []
    best: Reverse | None = None
    while way is not None:
        found = _try_way(connection, way, step, residue, now)
        if isinstance(found, str):
            problems.append(found)
        elif found[1]:
            return _leads_back(replace(way, otherwise=None), step, found[0])
        else:
            best = best or way
            problems.append(
                f"it would leave another schema: {_names(differing_objects(step.before, found[0]) - residue)}"
            )
        way = way.otherwise
    return _not_back(connection, step, best, problems, now)


def _try_way(
    connection: Connection, way: Reverse, step: _Step, residue: frozenset[_Key], now: SchemaDigest
) -> tuple[SchemaDigest, bool] | str:
    """The schema that a way leaves and whether it leads back, in which case it is kept; why it failed otherwise."""
    if not way.statements:
        return now, differing_objects(step.before, now) <= residue
    try:
        if way.alone:
            for text in way.statements:
                connection.execute(text.encode())
            found = digest_own_changes(connection)
            return found, differing_objects(step.before, found) <= residue
        with connection.transaction() as transaction:
            for text in way.statements:
                connection.execute(text.encode())
            found = digest_own_changes(connection)
            leads_back = differing_objects(step.before, found) <= residue
            if not leads_back:
                raise psycopg.Rollback(transaction)
    except psycopg.Error as exc:
        if connection.closed:
            raise
        return f"it fails on a scratch copy: {server_words(exc)}"
    return found, leads_back


def _leads_back(way: Reverse, step: _Step, found: SchemaDigest) -> tuple[Reverse, Match, SchemaDigest]:
    if found.strict == step.before.strict:
        return way, Match.STRICT, found
    if way.reversibility is Reversibility.EXACT and way.statements:
        way = replace(way, reversibility=Reversibility.LOSSY, reason=f"{way.reason}; {COLUMN_ORDER}")
    return way, Match.LOGICAL, found


COLUMN_ORDER = "columns stand in another order than before, which only a query without column names can see"


def _not_back(
    connection: Connection, step: _Step, best: Reverse | None, problems: Sequence[str], now: SchemaDigest
) -> tuple[Reverse, Match, SchemaDigest]:
    promised = () if step.reverse.reversibility is Reversibility.EXACT else (step.reverse.reason,)
    reason = "; ".join([*promised, *problems])
    if best is None or not best.statements:
        return Reverse(reversibility=Reversibility.NONE, reason=reason), Match.DIFFERENT, now
    # What it does bring back is worth having, for the statements before it count on it.
    with connection.transaction():
        for text in best.statements:
            connection.execute(text.encode())
    worst = max(best.reversibility, Reversibility.LOSSY, key=lambda one: one.rank)
    kept = replace(best, otherwise=None, reversibility=worst, reason=reason)
    return kept, Match.DIFFERENT, digest_own_changes(connection)


def _names(objects: frozenset[_Key]) -> str:
    return ", ".join(f"{kind} {name}" for kind, name in sorted(objects))
