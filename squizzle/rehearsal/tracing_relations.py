"""Which relations were there before a script, and what has become of them: by name and file, never by OID alone.

A wider varchar gives its index a new OID with the same file; REINDEX CONCURRENTLY and ALTER TYPE give a new OID and a
new file. So a relation that takes a name in the statement in which another one lost it is taken for the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from squizzle.analysis.locks.modes import LockMode, lock_mode
from squizzle.analysis.locks.records import RelationName
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.rehearsal.records import RelationKind

_KINDS = {
    "r": RelationKind.TABLE,
    "p": RelationKind.PARTITIONED_TABLE,
    "i": RelationKind.INDEX,
    "I": RelationKind.INDEX,
    "v": RelationKind.VIEW,
    "m": RelationKind.MATERIALIZED_VIEW,
    "S": RelationKind.SEQUENCE,
    "t": RelationKind.TOAST,
}
_INDEXES = ("i", "I")
_TOAST_SCHEMA = "pg_toast"


@dataclass(frozen=True, kw_only=True, slots=True)
class Traced:
    """One relation that was there before the script.

    Attributes:
        relation: What it was called then. A TOAST table, or its index, goes by the name of its table: its own name
            holds an OID, which means something else in another database.
        kind: What it is.
        schema: Where it is now.
        name: What it is called now.
        file: Its relfilenode now; 0 for what has none.
    """

    relation: RelationName
    kind: RelationKind
    schema: str
    name: str
    file: int

    @property
    def key(self) -> tuple[RelationName, RelationKind]:
        """What locks are told by."""
        return self.relation, self.kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What was read of one relation, and changed in it, in rows and since the server's counters began."""

    scanned: int = 0
    changed: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(scanned=self.scanned + other.scanned, changed=self.changed + other.changed)

    def since(self, before: Counted) -> Counted:
        """The difference; counters go back when what they count is dropped or truncated."""
        return Counted(scanned=max(0, self.scanned - before.scanned), changed=max(0, self.changed - before.changed))


@dataclass(kw_only=True, slots=True)
class Reading:
    """What one statement did.

    Attributes:
        locks: The strongest mode of each relation.
        rewrites: Relations that have another file.
        scanned: Rows read.
        changed: Rows changed.
    """

    locks: dict[tuple[RelationName, RelationKind], LockMode] = field(default_factory=dict)
    rewrites: list[RelationName] = field(default_factory=list)
    scanned: int = 0
    changed: int = 0

    def count(self, found: Counted) -> None:
        """Add what was counted of one relation."""
        self.scanned += found.scanned
        self.changed += found.changed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One relation as a query found it; without a name when the open transaction dropped it."""

    oid: int
    schema: str
    name: str
    kind: str
    file: int
    counted: Counted
    mode: LockMode | None = None
    is_partition: bool = False
    table: int = 0
    toast: int = 0

    @property
    def is_counted(self) -> bool:
        """Whether rows of it are rows that somebody knows."""
        return bool(self.name) and self.schema != _TOAST_SCHEMA


@dataclass(kw_only=True, slots=True)
class _Made:
    """What the open transaction made; its locks hold nobody up, so only its rows are counted.

    Attributes:
        after: OIDs grow, so what it made lies behind this one; where they began anew it is only asked about each time.
        up_to: What lies between is known to be made by it, but for `followed`.
        followed: What took the name of something that was there before.
        oids: All of it.
        tables: What of it has rows.
        indexes: Its indexes.
        counted: What was counted of both so far.
    """

    after: int
    up_to: int = 0
    followed: list[int] = field(default_factory=list)
    oids: set[int] = field(default_factory=set)
    tables: list[int] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    counted: Counted = field(default_factory=Counted)

    def add(self, row: _Row) -> None:
        """One more; the transient table of a rewrite has no name any more."""
        self.up_to = max(self.up_to, row.oid)
        if row.oid in self.oids:
            return
        self.oids.add(row.oid)
        if row.is_counted and row.oid > self.after:
            (self.indexes if row.kind in _INDEXES else self.tables).append(row.oid)
            self.counted += row.counted


class TracedRelations:
    """The relations of one database while one script runs.

    Args:
        connection: The session that runs it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[int, Traced] = {}
        self._committed: dict[int, Traced] = {}
        self._counted: dict[int, Counted] = {}
        # What the catalogue said last, by OID, and what is locked in the transaction that is open, by OID and mode:
        # to compare rows costs less than to look into each of thousands.
        self._catalogue: dict[int, Sequence[Any]] = {}
        self._as_before: dict[tuple[int, str], Sequence[Any]] = {}
        self._made = _Made(after=0)

    def begin(self) -> None:
        """Everything that is there now was there before the script."""
        self._catalogue = {}
        rows = self._read_changed()[0]
        owners = {row.toast: row for row in rows.values() if row.toast}
        self._known = {
            row.oid: _traced(row, _owner(row, owners)) for row in rows.values() if not _is_astray(row, owners)
        }
        self._counted = {row.oid: row.counted for row in rows.values()}
        self._begin_transaction()

    def commit(self) -> None:
        """What became of the relations stays; outside a transaction."""
        if self._made.oids:
            self._counted |= {row[0]: _row(*row).counted for row in self._read(sorted(self._made.oids))}
        self._begin_transaction()

    def roll_back(self) -> None:
        """The relations are again what they were after the last commit; rows that were read stay counted."""
        self._known = dict(self._committed)
        self._counted |= {oid: row.counted for oid, row in self._read_changed()[0].items()}
        self._begin_transaction()

    def _begin_transaction(self) -> None:
        self._committed = dict(self._known)
        self._as_before = {}
        self._made = _Made(after=max(self._counted, default=0))

    def named(self, oid: int) -> Traced | None:
        """The relation with this OID; None when the script made it, or it is the system's or ours."""
        return self._known.get(oid)

    # After a statement

    @property
    def made(self) -> dict[str, Any]:
        """OIDs of what the open transaction made: the parameters of `traced_locks.sql` and `traced_made.sql`."""
        return {
            "after": self._made.after,
            "up_to": self._made.up_to,
            "followed": self._made.followed,
            "tables": self._made.tables,
            "indexes": self._made.indexes,
        }

    def read_held(self, rows: Iterable[Sequence[Any]], made: Sequence[Any]) -> Reading:
        """What a statement did whose transaction is still open: everything that it used is locked.

        Args:
            rows: Of `traced_locks.sql`.
            made: The row of `traced_made.sql`.

        Returns:
            Of the locks, those that are new.
        """
        held = []
        for columns in rows:
            if self._as_before.get((columns[0], columns[1])) != columns:
                self._as_before[columns[0], columns[1]] = columns
                held.append(_held(*columns))
        by_oid = {row.oid: row for row in held}
        gone = {oid: self._known[oid] for oid, row in by_oid.items() if not row.name and oid in self._known}
        reading = Reading(rewrites=self._follow(by_oid, gone=gone))
        for row in held:
            known = self._known.get(row.oid) or gone.get(row.oid)
            if known is not None and row.mode is not None:
                mode = reading.locks.get(known.key, row.mode)
                reading.locks[known.key] = max(mode, row.mode, key=lambda one: one.strength)
        counted = Counted(scanned=made[0], changed=made[1])
        reading.count(counted.since(self._made.counted))
        self._made.counted = counted
        for row in by_oid.values():
            self._count(row, reading)
            if row.oid not in self._known and row.oid not in gone:
                self._made.add(row)
        return reading

    def read_all(self) -> Reading:
        """What a statement did that ran outside transactions: whatever is not as it was."""
        rows, gone = self._read_changed()
        reading = Reading(rewrites=self._follow(rows, gone=gone))
        for row in rows.values():
            self._count(row, reading)
        self._begin_transaction()
        return reading

    def _follow(self, rows: Mapping[int, _Row], gone: Iterable[int]) -> list[RelationName]:
        """Take over names and files; gives the relations that have another file."""
        left = {(one.schema, one.name): one for oid in gone if (one := self._known.pop(oid, None)) is not None}
        rewritten = []
        for oid, row in rows.items():
            known = self._known.get(oid) or left.get((row.schema, row.name))
            if known is None or not row.name:
                continue
            if oid not in self._known:
                self._made.followed.append(oid)
            if row.file != known.file and known.kind is not RelationKind.TOAST:
                rewritten.append(known.relation)
            self._known[oid] = replace(known, schema=row.schema, name=row.name, file=row.file)
        return sorted(rewritten)

    def _count(self, row: _Row, reading: Reading) -> None:
        if row.is_counted:
            reading.count(row.counted.since(self._counted.get(row.oid, Counted())))
            self._counted[row.oid] = row.counted

    def _read_changed(self) -> tuple[dict[int, _Row], list[int]]:
        """The relations that are not as the catalogue had them last, and the known ones that it has no more."""
        found = {columns[0]: columns for columns in self._read()}
        before, self._catalogue = self._catalogue, found
        changed = {oid: _row(*columns) for oid, columns in found.items() if before.get(oid) != columns}
        return changed, [oid for oid in self._known if oid not in found]

    def _read(self, only: Sequence[int] | None = None) -> list[Any]:
        query = load_sql("squizzle.rehearsal", "traced_relations")
        return self._connection.execute(query, {"only": only}).fetchall()


def _row(  # noqa: PLR0913, PLR0917 - the columns of a row
    oid: int,
    schema: str,
    name: str,
    kind: str,
    is_partition: bool,  # noqa: FBT001
    file: int,
    table: int,
    toast: int,
    returned: int,
    fetched: int,
    changed: int,
) -> _Row:
    return _Row(
        oid=oid,
        schema=schema,
        name=name,
        kind=kind,
        is_partition=is_partition,
        file=file,
        table=table,
        toast=toast,
        counted=_counted(kind, returned, fetched, changed),
    )


def _held(  # noqa: PLR0913, PLR0917 - the columns of a row
    oid: int,
    mode: str,
    schema: str | None,
    name: str | None,
    kind: str | None,
    file: int | None,
    returned: int,
    fetched: int,
    changed: int,
) -> _Row:
    return _Row(
        oid=oid,
        schema=schema or "",
        name=name or "",
        kind=kind or "",
        file=file or 0,
        counted=_counted(kind or "", returned, fetched, changed),
        mode=lock_mode(mode),
    )


def _counted(kind: str, returned: int, fetched: int, changed: int) -> Counted:
    """As `pg_stat_all_tables` adds them: of an index, only the rows of the table that were fetched through it."""
    if kind in _INDEXES:
        return Counted(scanned=fetched)
    return Counted(scanned=returned + fetched, changed=changed)


def _owner(row: _Row, owners: Mapping[int, _Row]) -> _Row | None:
    """The table whose TOAST table, or index of it, a row is."""
    return owners.get(row.oid) or (owners.get(row.table) if row.kind in _INDEXES else None)


def _is_astray(row: _Row, owners: Mapping[int, _Row]) -> bool:
    """Whether it is the TOAST table of something that is not somebody's."""
    return row.schema == _TOAST_SCHEMA and _owner(row, owners) is None


def _traced(row: _Row, owner: _Row | None) -> Traced:
    kind = RelationKind.TOAST if owner else _KINDS.get(row.kind, RelationKind.OTHER)
    if kind is RelationKind.TABLE and row.is_partition:
        kind = RelationKind.PARTITION
    shown = owner or row
    return Traced(
        relation=RelationName(schema=shown.schema, name=shown.name),
        kind=kind,
        schema=row.schema,
        name=row.name,
        file=row.file,
    )
