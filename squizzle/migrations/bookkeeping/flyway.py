"""Flyway's books: a row for every script that was run, each way.

Facts from Flyway's sources (`PostgreSQLDatabase`, `JdbcTableSchemaHistory`, `SchemaHistory`, `ChecksumCalculator`,
`SqlMigrationResolver`, `BaseAppliedMigration`) and its documentation; its program was not at hand. The checksum is the
CRC-32 of the script's lines without their ends and without a byte order mark; that of a repeatable migration is taken
after placeholders were put in, and that of the text as it is written fits, too. An undo script adds a row of type
UNDO_SQL with the undone version; `flyway repair` marks removed ones by rows of type DELETE; a row of type BASELINE says
that everything up to its version is there.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg import sql
from psycopg.rows import class_row

from squizzle.errors import VersionConflictError
from squizzle.migrations.bookkeeping.tool_books import Entry, ToolBooks
from squizzle.migrations.layouts.files import read_present
from squizzle.migrations.records import Migration, Outcome
from squizzle.postgres.access import Connection

_TYPE = "SQL"
_UNDO_TYPE = "UNDO_SQL"
# Rows that say whether a script's work is in the database; steps in Java are none of ours.
_TOLD = frozenset({_TYPE, _UNDO_TYPE, "DELETE"})
_BASELINE = "BASELINE"


def flyway_checksum(text: str) -> int:
    """CRC-32 of the lines of a script, as the signed number that Flyway writes."""
    lines = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
    unsigned = zlib.crc32("".join(lines).encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    version: str | None
    description: str
    type: str
    script: str
    checksum: int | None
    installed_on: datetime
    success: bool

    @property
    def key(self) -> str:
        return _description_key(self.description) if self.version is None else _version_key(self.version)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Script:
    """What Flyway writes about one script; `others` are checksums that it accepts for the same text."""

    description: str
    path: str
    checksum: int
    others: frozenset[int] = frozenset()


def _version_key(version: str) -> str:
    numbers = [str(int(number)) for number in re.split(r"[._]", version)]
    while len(numbers) > 1 and numbers[-1] == "0":  # 1.0 is the same version as 1
        numbers.pop()
    return ".".join(numbers)


def _description_key(description: str) -> str:
    return f"R {description}"


def _numbers(key: str) -> tuple[int, ...]:
    return tuple(int(number) for number in key.split("."))


class FlywayBooks(ToolBooks):
    """`flyway_schema_history`."""

    tool = "flyway"
    table = "flyway_schema_history"
    columns = (
        "installed_rank",
        "version",
        "description",
        "type",
        "script",
        "checksum",
        "installed_by",
        "installed_on",
        "execution_time",
        "success",
    )
    rights = ("SELECT", "INSERT")

    def __init__(self, folder: Path, migrations: Sequence[Migration]) -> None:
        super().__init__(folder, migrations)
        self._ups = {one.version: self._script(one.labels.up, one) for one in migrations}
        self._downs = {one.version: self._script(one.labels.down) for one in migrations if one.labels.down}

    def _script(self, path: str, repeatable: Migration | None = None) -> _Script:
        written = flyway_checksum(read_present(self.folder / path, root=self.folder.resolve()))
        is_repeatable = repeatable is not None and repeatable.repeatable
        checksum = flyway_checksum(repeatable.up_sql) if repeatable is not None and is_repeatable else written
        _, _, description = Path(path).stem.partition("__")
        return _Script(
            description=description.replace("_", " "), path=path, checksum=checksum, others=frozenset({written})
        )

    def key(self, migration: Migration) -> str:
        """The version, or the description where there is none."""
        if migration.repeatable:
            return _description_key(self._ups[migration.version].description)
        return _version_key(migration.version)

    def _read(self, connection: Connection, schema: str) -> tuple[Entry, ...]:
        query = sql.SQL(
            "SELECT version, description, type, script, checksum, installed_on::timestamptz, success FROM {table}"
            " ORDER BY installed_rank"
        )
        with connection.cursor(row_factory=class_row(_Row)) as cursor:
            rows = cursor.execute(query.format(table=self.name(schema))).fetchall()
        self._refuse_failed(rows, schema)
        newest = {row.key: row for row in rows if row.type in _TOLD}
        found = {entry.key: entry for entry in self._below_baseline(rows)}
        found |= {key: self._entry(row) for key, row in newest.items() if row.type == _TYPE}
        return tuple(found.values())

    def _refuse_failed(self, rows: Iterable[_Row], schema: str) -> None:
        failed = [row.script for row in rows if not row.success]
        if failed:
            raise VersionConflictError(
                f"{self.place(schema)} says that {', '.join(failed)} failed half-way",
                hint="put the schema right and remove the mark with the tool itself (`flyway repair`), then go on here",
            )

    def _below_baseline(self, rows: Iterable[_Row]) -> Iterator[Entry]:
        for row in rows:
            if row.type == _BASELINE:
                for migration in self.migrations:
                    key = self.key(migration)
                    if not migration.repeatable and _numbers(key) <= _numbers(row.key):
                        yield Entry(key=key, label=migration.labels.up, applied_at=row.installed_on)

    def _entry(self, row: _Row) -> Entry:
        on_disk = next((one for one in self.migrations if self.key(one) == row.key), None)
        differs = False
        if on_disk is not None and row.checksum is not None:
            script = self._ups[on_disk.version]
            differs = row.checksum not in {script.checksum, *script.others}
        return Entry(
            key=row.key,
            label=row.script,
            applied_at=row.installed_on,
            outdated=differs and row.version is None,
            changed=differs and row.version is not None,
        )

    def _create(self, connection: Connection, schema: str) -> None:
        names = {"table": self.name(schema)}
        connection.execute(
            sql.SQL(
                "CREATE TABLE {table} (installed_rank int NOT NULL, version varchar(50),"
                " description varchar(200) NOT NULL, type varchar(20) NOT NULL, script varchar(1000) NOT NULL,"
                " checksum integer, installed_by varchar(100) NOT NULL, installed_on timestamp NOT NULL DEFAULT now(),"
                " execution_time integer NOT NULL, success boolean NOT NULL,"
                " CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank))"
            ).format(**names)
        )
        connection.execute(sql.SQL("CREATE INDEX flyway_schema_history_s_idx ON {table} (success)").format(**names))

    def add(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:
        """Add the row of a script that was run."""
        self._insert(connection, schema, migration, _TYPE, self._ups[migration.version], outcome)

    def remove(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:
        """Add the row of an undo script; none when the version was never noted as applied."""
        if self.key(migration) in {entry.key for entry in self._read(connection, schema)}:
            self._insert(connection, schema, migration, _UNDO_TYPE, self._downs[migration.version], outcome)

    def _insert(
        self,
        connection: Connection,
        schema: str,
        migration: Migration,
        kind: str,
        script: _Script,
        outcome: Outcome,
    ) -> None:
        query = sql.SQL(
            "INSERT INTO {table} (installed_rank, version, description, type, script, checksum, installed_by,"
            " execution_time, success) SELECT coalesce(max(installed_rank), 0) + 1, %s, %s, %s, %s, %s, current_user,"
            " %s, true FROM {table}"
        )
        values = (
            None if migration.repeatable else migration.version,
            _shortened(script.description, 200, at_the_end=True),
            kind,
            _shortened(script.path, 1000, at_the_end=False),
            script.checksum,
            round(outcome.duration.total_seconds() * 1000),
        )
        connection.execute(query.format(table=self.name(schema)), values)


def _shortened(text: str, length: int, *, at_the_end: bool) -> str:
    """As `AbbreviationUtils` does it: descriptions lose their end, paths their beginning."""
    if len(text) <= length:
        return text
    return f"{text[: length - 3]}..." if at_the_end else f"...{text[3:length]}"
