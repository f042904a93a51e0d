"""Saving what is readable of the damaged tables of a copy into files, and listing what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from squizzle.errors import ToolError
from squizzle.postgres.access import Connection, conninfo_database
from squizzle.postgres.client_run import run_client
from squizzle.postgres.translation import is_connection_loss, server_words
from squizzle.recovery.corruption.copying import DamagedCopy
from squizzle.recovery.corruption.lost_keys import Missing, hollow_out, missing_keys
from squizzle.recovery.corruption.reading import Reading, Shape, TableReader, hash_of, read_shape
from squizzle.recovery.corruption.records import DamagedRelation, LostValue, Role, SavedTable
from squizzle.recovery.corruption.structure import Relation, is_sound_index
from squizzle.recovery.growing import growing_folder

ROWS_FOLDER = "rows"
DUMP_FOLDER = "rest"
_TIMEOUT = timedelta(hours=24)
# The second may begin in the moment between a crash and the server's noticing it.
_DUMPS = 3
_OF_TABLES = frozenset({Role.TABLE, Role.TOAST, Role.TOAST_INDEX})


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """One table to be salvaged.

    Attributes:
        shape: How it is read.
        damage: What is wrong with it, with its long values, and with the index of these.
        pages: Blocks of its rows that cannot be read for certain.
        lines: Single rows that amcheck complained about, by block.
    """

    shape: Shape
    damage: tuple[DamagedRelation, ...]
    pages: frozenset[int]
    lines: Mapping[int, frozenset[int]]


@dataclass(kw_only=True, slots=True)
class _Progress:
    sound: Reading = field(default_factory=Reading)
    doubtful: Reading = field(default_factory=Reading)
    missing: Missing = field(default_factory=lambda: Missing(keys=None, why_not="it was not looked at"))


class Salvage:
    """Saves the tables of one database of a copy. The steps are in this order, because each spoils the one before.

    Args:
        copy: A running copy.
        database: Whose tables.
        folder: The evidence folder.
        checksums: Whether the cluster has page checksums.
        say: Told what happens.
    """

    def __init__(
        self, copy: DamagedCopy, database: str, folder: Path, *, checksums: bool, say: Callable[[str], None]
    ) -> None:
        self._copy = copy
        self._database = database
        self._folder = folder
        self._checksums = checksums
        self._say = say
        self._progress: dict[str, _Progress] = {}

    def run(
        self, patients: Sequence[Patient], leave_out: Sequence[str], *, with_rest: bool
    ) -> tuple[tuple[SavedTable, ...], str, tuple[str, ...]]:
        """Save everything that can be read.

        Args:
            patients: The damaged tables.
            leave_out: Qualified names whose rows the dump of the rest must not contain.
            with_rest: Whether the rest of the database is saved, too.

        Returns:
            What was saved of each; the folder of the rest within the evidence, empty without one; what could not be
            done.
        """
        (self._folder / ROWS_FOLDER).mkdir(parents=True, exist_ok=True)
        for one in patients:
            self._say(f"reading {one.shape.relation.name} around {len(one.pages)} damaged pages")
            self._progress[one.shape.relation.name] = _Progress(sound=self._read(one, ignore=False))
        rest, doubts = self._dump_rest(leave_out) if with_rest else ("", ())
        for one in patients:
            # From here on the server takes damaged pages for good ones.
            self._progress[one.shape.relation.name].doubtful = self._read(one, ignore=True)
        self._find_lost_keys(patients)
        return tuple(self._outcome(one) for one in patients), rest, doubts

    def _read(self, one: Patient, *, ignore: bool) -> Reading:
        with self._file(one, doubtful=ignore).open("w+b") as output:
            reader = TableReader(self._copy, self._database, one.shape, output, ignore=ignore)
            try:
                if not ignore:
                    reader.read_around({*one.pages, *one.lines})
                for block, lines in sorted(one.lines.items()):
                    if block not in one.pages:
                        reader.read_page(block, **({"only": lines} if ignore else {"but": lines}))
                for block in sorted(one.pages) if ignore else ():
                    reader.read_page(block)
            finally:
                reader.close()
            return reader.found

    def _file(self, one: Patient, *, doubtful: bool) -> Path:
        relation = one.shape.relation
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{relation.schema}.{relation.bare_name}")
        return self._folder / ROWS_FOLDER / f"{safe}-{relation.oid}{'-doubtful' if doubtful else ''}.copy"

    def _dump_rest(self, leave_out: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        self._say("saving the rest of the database")
        try:
            self._dump_beside_a_witness(leave_out)
        except ToolError as exc:
            return "", (f"the rest of the database could not be saved: {exc.message}",)
        return DUMP_FOLDER, ()

    def _dump_beside_a_witness(self, leave_out: Sequence[str]) -> None:
        """Again where the server began anew meanwhile: another session's crash takes all with it."""
        for attempt in range(_DUMPS):
            # Waits for it too, if reading the damaged tables has just made it begin anew.
            with closing(self._copy.connect_again(self._database)) as witness:
                try:
                    return self._run_dump(leave_out)
                except ToolError:
                    if attempt == _DUMPS - 1 or _answers(witness):
                        raise
            self._say("the copy's server began anew: saving the rest of the database again")
            shutil.rmtree(self._folder / DUMP_FOLDER, ignore_errors=True)
        return None

    def _run_dump(self, leave_out: Sequence[str]) -> None:
        with growing_folder("saving the rest of the database", self._folder / DUMP_FOLDER) as look:
            run_client(
                self._copy.programs.path("pg_dump"),
                [
                    "--format=directory",
                    "--jobs=2",
                    "--no-password",
                    "--no-sync",
                    f"--file={self._folder / DUMP_FOLDER}",
                    *(f"--exclude-table-data={name}" for name in leave_out),
                    f"--dbname={conninfo_database(self._database)}",
                ],
                access=self._copy.plain_access(),
                database=self._database,
                doing=f"save the rest of {self._database}",
                timeout=_TIMEOUT,
                on_wait=look,
            )

    def _find_lost_keys(self, patients: Sequence[Patient]) -> None:
        pages = [
            page
            for one in patients
            for relation in one.damage
            if relation.role is Role.TABLE
            for page in relation.pages
        ]
        self._say("asking the indexes which rows there were")
        hollow_out(self._copy, pages, checksums=self._checksums)
        for one in patients:
            self._progress[one.shape.relation.name].missing = missing_keys(
                self._copy, self._database, one.shape, {*one.pages, *one.lines}
            )

    def _outcome(self, one: Patient) -> SavedTable:
        progress = self._progress[one.shape.relation.name]
        sound, doubtful, missing = progress.sound, progress.doubtful, progress.missing
        rows, beside = self._file(one, doubtful=False), self._file(one, doubtful=True)
        if not doubtful.rows:
            beside.unlink()
        found_again = {*doubtful.keys, *sound.keys}
        return SavedTable(
            table=one.shape.relation.name,
            schema=one.shape.relation.schema,
            name=one.shape.relation.bare_name,
            columns=tuple(column.name for column in one.shape.columns),
            rows=sound.rows,
            rows_file=str(rows.relative_to(self._folder)),
            rows_sha256=hash_of(rows),
            doubtful=doubtful.rows,
            doubtful_file=str(beside.relative_to(self._folder)) if doubtful.rows else "",
            unreadable_pages=tuple(sorted({*sound.unreadable_pages, *doubtful.unreadable_pages})),
            unreadable_rows=(*sound.unreadable_rows, *doubtful.unreadable_rows),
            lost_values=tuple(
                LostValue(table=one.shape.relation.name, row=key or place, column=column, why=why)
                for place, key, column, why in (*sound.lost_values, *doubtful.lost_values)
            ),
            key=one.shape.key,
            lost=None if missing.keys is None else tuple(key for key in missing.keys if key not in found_again),
            lost_unknown=missing.why_not,
        )


def _answers(session: Connection) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.Error as exc:
        if is_connection_loss(exc):
            return False
        raise
    return True


# Before anything is read


def patients_of(
    connection: Connection, relations: Sequence[Relation], damaged: Iterable[DamagedRelation]
) -> tuple[tuple[Patient, ...], tuple[str, ...]]:
    """The tables that must be salvaged, after what can be mended in the copy was mended there.

    Returns:
        The tables; what was mended, a sentence each.
    """
    found = tuple(damaged)
    by_name = {one.name: one for one in relations}
    broken = {one.name for one in found}
    mended = tuple(
        one.name
        for one in found
        if one.role is Role.TOAST_INDEX and not _has_broken_values(one, found) and not _reindex(connection, one.name)
    )
    names = {one.oid: one.name for one in relations if one.kind == "i"}

    def is_sound(oid: int) -> bool:
        return names.get(oid) not in broken and is_sound_index(connection, oid)

    patients = []
    for table in sorted({one.table for one in found if one.role in _OF_TABLES and one.name not in mended}):
        damage = tuple(one for one in found if one.table == table and one.role in _OF_TABLES)
        own = [one for one in damage if one.role is Role.TABLE]
        patients.append(
            Patient(
                shape=read_shape(connection, by_name[table], is_sound),
                damage=damage,
                pages=frozenset(page.block for one in own for page in one.pages),
                lines=_lines(own),
            )
        )
    return tuple(patients), tuple(f"{name} was made anew in the copy" for name in mended)


def _lines(own: Sequence[DamagedRelation]) -> dict[int, frozenset[int]]:
    lines: dict[int, set[int]] = {}
    for finding in (finding for one in own for finding in one.findings):
        if finding.block is not None and finding.line is not None:
            lines.setdefault(finding.block, set()).add(finding.line)
    return {block: frozenset(numbers) for block, numbers in lines.items()}


def _has_broken_values(index: DamagedRelation, found: Sequence[DamagedRelation]) -> bool:
    return any(one.role is Role.TOAST and one.table == index.table for one in found)


def prove_reindex(connection: Connection, damaged: Iterable[DamagedRelation]) -> tuple[DamagedRelation, ...]:
    """Make damaged indexes of sound tables anew in the copy, and say in their advice whether that works."""
    found = tuple(damaged)
    tables = {one.table for one in found if one.role in _OF_TABLES}
    return tuple(
        replace(one, advice=f"{one.advice} ({_words_of(_reindex(connection, one.name))})")
        if one.role is Role.INDEX and one.table not in tables
        else one
        for one in found
    )


def _words_of(failure: str) -> str:
    return f"in the copy that FAILED: {failure}" if failure else "in the copy that worked"


def _reindex(connection: Connection, name: str) -> str:
    """Make an index of the copy anew; returns why that failed, or nothing."""
    try:
        row = connection.execute("SELECT parse_ident(%s)", (name,)).fetchone()
        connection.execute(sql.SQL("REINDEX INDEX {}").format(sql.Identifier(*(row[0] if row else ()))))
    except psycopg.Error as exc:
        if connection.closed or is_connection_loss(exc):
            raise
        return server_words(exc)
    return ""
