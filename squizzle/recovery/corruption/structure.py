"""Which relations the damaged pages belong to, and what amcheck says about everything between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg.rows import class_row

from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import is_connection_loss, server_words
from squizzle.recovery.corruption.advice import advice_for
from squizzle.recovery.corruption.asking import Asker
from squizzle.recovery.corruption.copying import DamagedCopy
from squizzle.recovery.corruption.records import DamagedPage, DamagedRelation, Finding, Role
from squizzle.recovery.corruption.scanning import fork_of, main_file

_HEAP = "heap"
_BTREE = "btree"
_MOST_FINDINGS = 100
_MISMATCH = (
    "without checksums nobody knows whether the index is wrong or the rows are: compare the rows with a backup's before"
    " it is made anew"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """One relation with a file, as the catalogue has it.

    Attributes:
        oid: Its number.
        name: Qualified and quoted.
        schema: Unquoted.
        bare_name: Unquoted.
        kind: `r` table, `i` index, `t` long values, `m` materialized view, `S` sequence.
        persistence: `p`, `u` unlogged, `t` temporary.
        method: Such as `heap`, `btree`.
        file: Within the data folder.
        table_name: Whose index or long values it is; its own name for a table.
        table_kind: That table's kind.
        is_catalogue: Whether that table is the server's own.
        is_toast_index: Whether it is the index of long values.
        pages: How many its rows fill.
        pages_once: How many they filled when VACUUM or ANALYZE last looked.
    """

    oid: int
    name: str
    schema: str
    bare_name: str
    kind: str
    persistence: str
    method: str
    file: str
    table_name: str
    table_kind: str
    is_catalogue: bool
    is_toast_index: bool | None
    pages: int
    pages_once: int

    @property
    def role(self) -> Role:
        """What it is for an examination."""
        if self.is_catalogue:
            return Role.CATALOGUE
        if self.table_kind == "m":
            return Role.VIEW
        if self.kind == "i":
            return Role.TOAST_INDEX if self.is_toast_index else Role.INDEX
        return {"t": Role.TOAST, "S": Role.SEQUENCE}.get(self.kind, Role.TABLE)


def read_relations(connection: Connection) -> tuple[Relation, ...]:
    """Every relation of the copy's database that has a file.

    Raises:
        CouldNotVerifyError: The catalogue itself cannot be read.
    """
    try:
        with connection.cursor(row_factory=class_row(Relation)) as cursor:
            return tuple(cursor.execute(load_sql("squizzle.recovery.corruption", "relations")).fetchall())
    except psycopg.Error as exc:
        raise CouldNotVerifyError(
            f"the server's own catalogue cannot be read: {server_words(exc)}",
            hint="restore the whole cluster from a backup; the damaged pages are in the evidence folder",
        ) from exc


def name_damage(
    relations: Sequence[Relation],
    pages: Iterable[DamagedPage],
    findings: Iterable[Finding],
    databases: dict[int, str],
    here: int,
    *,
    checksums: bool = True,
) -> tuple[DamagedRelation, ...]:
    """Say whose every damaged page is, and what to do about it. Decides only.

    Args:
        relations: Of the database that matters.
        pages: The damaged ones of the whole cluster.
        findings: Of amcheck.
        databases: Name by number.
        here: The number of the database that matters.
        checksums: Whether the cluster has checksums.
    """
    by_file = {one.file: one for one in relations}
    by_name = {one.name: one for one in relations}
    groups: dict[tuple[str, Role, str], list[DamagedPage]] = {}
    for page in pages:
        groups.setdefault(_whose(page, by_file, databases, here), []).append(page)
    said: dict[tuple[str, Role, str], list[Finding]] = {}
    for finding in findings:
        relation = by_name[finding.relation]
        said.setdefault((relation.name, relation.role, relation.table_name), []).append(finding)
    keys = sorted({*groups, *said})
    broken = {table for _, role, table in keys if role in {Role.TABLE, Role.TOAST}}
    return tuple(
        DamagedRelation(
            name=name,
            role=role,
            table=table,
            pages=tuple(groups.get((name, role, table), ())),
            findings=tuple(said.get((name, role, table), ())),
            advice=_MISMATCH
            if role is Role.INDEX and not (checksums or table in broken or (name, role, table) in groups)
            else advice_for(role, name, table, broken),
        )
        for name, role, table in keys
    )


def _whose(
    page: DamagedPage, by_file: dict[str, Relation], databases: dict[int, str], here: int
) -> tuple[str, Role, str]:
    relation = by_file.get(main_file(page.file))
    if relation is not None:
        role = Role.MAP if fork_of(page.file) in {"fsm", "vm"} else relation.role
        return relation.name, role, relation.table_name
    number = _database_of(page.file)
    if number is None:  # shared by all databases
        return page.file, Role.CATALOGUE, page.file
    if number != here:
        return f"{databases.get(number, number)}: {main_file(page.file)}", Role.ELSEWHERE, ""
    return page.file, Role.UNKNOWN, ""


# Objects of the server itself have smaller numbers, and so have the files that initdb made for them.
_FIRST_OF_USERS = 16384


def name_by_file(pages: Iterable[DamagedPage]) -> tuple[DamagedRelation, ...]:
    """Say of damaged pages what their files' names say, where the catalogue cannot be read. Decides only."""
    groups: dict[str, list[DamagedPage]] = {}
    for page in pages:
        groups.setdefault(main_file(page.file), []).append(page)
    relations = []
    for file, found in sorted(groups.items()):
        own = file.startswith("global/") or int(file.rpartition("/")[2]) < _FIRST_OF_USERS
        advice = advice_for(Role.CATALOGUE, file, "", ()) if own else "whose it is cannot be told without the catalogue"
        role = Role.CATALOGUE if own else Role.UNKNOWN
        relations.append(DamagedRelation(name=file, role=role, table="", pages=tuple(found), advice=advice))
    return tuple(relations)


def _database_of(file: str) -> int | None:
    parts = file.split("/")
    folder = parts[-2] if parts[0] != "global" else ""
    return int(folder) if folder.isdecimal() else None


# What amcheck says


def prepare_amcheck(connection: Connection) -> str:
    """Make the copy able to check itself; returns why it cannot, or nothing."""
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA pg_catalog")
        row = connection.execute("SELECT to_regproc('verify_heapam') IS NOT NULL").fetchone()
    except psycopg.Error as exc:
        return f"tables and indexes: amcheck cannot be used here ({server_words(exc)})"
    return "" if row == (True,) else "tables: this server's amcheck knows only indexes"


def sound_runs(pages: int, damaged: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The blocks between damaged ones, as (first, last).

    Args:
        pages: How many blocks there are.
        damaged: Which are not to be read.
    """
    first = 0
    for block in sorted({one for one in damaged if one < pages}):
        if first < block:
            yield first, block - 1
        first = block + 1
    if first < pages:
        yield first, pages - 1


def check_relations(
    copy: DamagedCopy, database: str, relations: Sequence[Relation], damaged: dict[str, set[int]]
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Look through tables between their damaged pages, and through indexes; every row against every index.

    Args:
        copy: A running copy, with amcheck in its database.
        database: Which.
        relations: What to look at.
        damaged: Blocks that cannot be read, by the relation's name.

    Returns:
        What is wrong, and what could not be looked at.
    """
    checked = [one for one in relations if one.persistence == "p" and one.pages]
    broken = {one.table_name for one in checked if one.kind in "rtm" and damaged.get(one.name)}
    findings: list[Finding] = []
    doubts: list[str] = []
    with closing(Asker(copy, database)) as asker:
        for one in (one for one in checked if one.kind in "rtm" and one.method == _HEAP):
            said = _look(asker, one, partial(_check_heap, one, damaged.get(one.name, set()), broken), doubts)
            findings += said
            # An index is not at fault for not knowing rows that are none.
            broken |= {one.table_name} if said else set()
        for one in (one for one in checked if one.kind == "i" and one.method == _BTREE and not damaged.get(one.name)):
            findings += _look(asker, one, partial(_check_btree, one, one.table_name not in broken), doubts)
    return tuple(findings), tuple(doubts)


def _look(
    asker: Asker, one: Relation, check: Callable[[Connection], list[Finding]], doubts: list[str]
) -> list[Finding]:
    try:
        return asker.ask(check)
    except psycopg.Error as exc:
        if is_connection_loss(exc):
            return [Finding(relation=one.name, message="the server crashes when it looks at it")]
        doubts.append(f"{one.name}: {server_words(exc)}")
        return []


def _check_heap(one: Relation, blocks: set[int], broken: set[str], connection: Connection) -> list[Finding]:
    findings = []
    for first, last in sound_runs(one.pages, blocks):
        rows = connection.execute(
            "SELECT blkno, offnum, msg FROM verify_heapam(%s::regclass, check_toast => %s, startblock => %s,"
            " endblock => %s) LIMIT %s",
            (one.oid, one.table_name not in broken, first, last, _MOST_FINDINGS),
        ).fetchall()
        findings += [Finding(relation=one.name, message=words, block=block, line=line) for block, line, words in rows]
    return findings


def _check_btree(one: Relation, against_rows: bool, connection: Connection) -> list[Finding]:  # noqa: FBT001 - of `partial`
    row = connection.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s", (one.oid,)).fetchone()
    if row != (True,):
        return [Finding(relation=one.name, message="it is not valid: it was never finished")]
    try:
        connection.execute("SELECT bt_index_parent_check(%s::regclass, %s)", (one.oid, against_rows))
    except (psycopg.errors.IndexCorrupted, psycopg.errors.DataCorrupted, psycopg.errors.InternalError_) as exc:
        return [Finding(relation=one.name, message=server_words(exc))]
    return []


def is_sound_index(connection: Connection, oid: int) -> bool:
    """Whether the structure of an index can be trusted, whatever its table is like."""
    try:
        connection.execute("SELECT bt_index_check(%s::regclass, false)", (oid,))
    except psycopg.Error as exc:
        if connection.closed or is_connection_loss(exc):
            raise
        return False
    return True
