"""What a run leaves to be done: statistics that the planner lacks, indexes and constraints that are half-made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import psycopg
from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import server_words

# Autovacuum's own measure of a table whose statistics are out of date (autovacuum_analyze_threshold and _scale_factor).
_CHANGED_ROWS = 50
_CHANGED_SHARE = 0.1
_ANALYZES_ONLY_SINCE = 180000


@dataclass(frozen=True, kw_only=True, slots=True)
class TableStatistics:
    """What the planner knows of one table.

    Attributes:
        schema: The table's schema.
        name: Its name.
        lacks: Whether a column, an expression or an extended statistic of it was never analysed.
        changed: Rows written since it was analysed last.
        rows: How many it has, as the planner believes.
        partitioned: Whether its rows are in partitions, which are tables of their own.
    """

    schema: str
    name: str
    lacks: bool
    changed: int
    rows: int
    partitioned: bool = False

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


class DefectKind(StrEnum):
    """What is half-made."""

    INVALID_INDEX = "index"
    NOT_VALIDATED = "constraint"


_MEANING = {
    DefectKind.INVALID_INDEX: "is invalid: every write keeps it up and no query uses it; {mend}, and make it anew",
    DefectKind.NOT_VALIDATED: "is not validated: rows from before may break it; {mend}",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """Something half-made that stays in the database.

    Attributes:
        kind: What it is.
        schema: Of the table.
        table: The table's name.
        name: Of the index or the constraint.
        mend: The statement that ends it.
    """

    kind: DefectKind
    schema: str
    table: str
    name: str
    mend: str

    def sentence(self) -> str:
        """What it is, what it means, and what to do."""
        meaning = _MEANING[self.kind].format(mend=self.mend)
        return f"{self.kind} {self.name} on {self.schema}.{self.table} {meaning}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Aftercare:
    """What was done after a run, and what is left to people.

    Attributes:
        analyzed: The tables that were analysed.
        problems: Tables that could not be analysed, a sentence each.
        defects: What is half-made in the database.
    """

    analyzed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = field(default_factory=tuple)


Statistics = Mapping[int, TableStatistics]


def read_statistics(connection: Connection) -> Statistics:
    """What the planner knows of every table that has rows, by its OID. Nothing is changed.

    Raises:
        psycopg.Error: The session was lost.
    """
    # Counts of written rows reach the others' view at the end of a transaction, at the latest when it is forced.
    connection.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
    rows = connection.execute(load_sql("squizzle.migrations", "statistics_gaps")).fetchall()
    with_others = [oid for oid, _, _, lacks, has_others, *_ in rows if has_others and not lacks]
    others = _lacking_others(connection, with_others) if with_others else frozenset()
    return {
        oid: TableStatistics(
            schema=schema,
            name=name,
            lacks=lacks or oid in others,
            changed=changed,
            rows=count,
            partitioned=partitioned,
        )
        for oid, schema, name, lacks, _, changed, count, partitioned in rows
    }


def _lacking_others(connection: Connection, tables: list[int]) -> frozenset[int]:
    rows = connection.execute(load_sql("squizzle.migrations", "statistics_of_others"), {"tables": tables})
    return frozenset(oid for (oid,) in rows)


def outdated(before: Statistics, after: Statistics) -> tuple[int, ...]:
    """The OIDs of tables whose statistics were invalidated between two looks. Pure.

    What lacked statistics before and was left alone is somebody's decision, or autovacuum's next work.
    """
    return tuple(oid for oid, now in after.items() if _is_outdated(before.get(oid), now))


def _is_outdated(was: TableStatistics | None, now: TableStatistics) -> bool:
    if now.lacks and not (was and was.lacks):
        return True
    written = now.changed - (was.changed if was else 0)
    return written > _CHANGED_ROWS + _CHANGED_SHARE * now.rows


def care(
    connection: Connection, before: Statistics, *, analyze: bool, schema: str, say: Callable[[str], None]
) -> Aftercare:
    """Analyse the tables whose statistics are out of date now, and report what is half-made.

    ANALYZE takes SHARE UPDATE EXCLUSIVE: reads and writes go on. A table that cannot be analysed is reported and stays
    as it is.

    Args:
        connection: The session that migrated, between transactions, its timeouts set.
        before: `read_statistics` from before the run.
        analyze: Whether to analyse at all.
        schema: Whose half-made objects are reported.
        say: Told which table is analysed.

    Raises:
        psycopg.Error: The session was lost.
    """
    analyzed: list[str] = []
    problems: list[str] = []
    after = read_statistics(connection) if analyze else {}
    for oid in outdated(before, after):
        table = after[oid]
        say(f"analyzing {table}, whose statistics the run invalidated")
        problem = _analyze(connection, table)
        if problem:
            problems.append(f"{table} could not be analyzed: {problem}; run ANALYZE {table} later")
        else:
            analyzed.append(str(table))
    passed_over = _passed_over(connection, before, analyzed)
    user = connection.info.user
    problems += [
        f"{one} was passed over by ANALYZE: {user} may not analyze it; let its owner do so" for one in passed_over
    ]
    return Aftercare(
        analyzed=tuple(one for one in analyzed if one not in passed_over),
        problems=tuple(problems),
        defects=tuple(defect for defect in find_defects(connection) if defect.schema == schema),
    )


def _analyze(connection: Connection, table: TableStatistics) -> str:
    """Analyse one table; what went wrong, or nothing."""
    # Partitions that want it have a turn of their own; without ONLY, the parent's analyses each of them once more.
    only = table.partitioned and connection.info.server_version >= _ANALYZES_ONLY_SINCE
    command = sql.SQL("ANALYZE ONLY {}") if only else sql.SQL("ANALYZE {}")
    try:
        connection.execute(command.format(sql.Identifier(table.schema, table.name)))
    except psycopg.Error as exc:
        if connection.closed:
            raise
        return server_words(exc)
    return ""


def _passed_over(connection: Connection, before: Statistics, analyzed: Sequence[str]) -> tuple[str, ...]:
    """Tables that are as outdated as before: ANALYZE only warns somebody who may not analyse them."""
    if not analyzed:
        return ()
    now = read_statistics(connection)
    return tuple(str(now[oid]) for oid in outdated(before, now) if str(now[oid]) in analyzed)


def find_defects(connection: Connection) -> tuple[Defect, ...]:
    """Invalid indexes and constraints that were not validated, in the whole database. Nothing is changed.

    Raises:
        psycopg.Error: The session was lost.
    """
    rows = connection.execute(load_sql("squizzle.migrations", "defects"), ()).fetchall()
    return tuple(
        Defect(kind=DefectKind(kind), schema=schema, table=table, name=name, mend=mend)
        for kind, schema, table, name, mend in rows
    )
