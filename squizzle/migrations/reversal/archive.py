"""The table of contents of a dump: the definition of every object of a database, in an order in which they can be made.

`pg_dump` has known for decades how each kind of object is written down, companions included, so nobody should write
that a second time. The custom format says with each definition which catalogue row it belongs to and what it needs.
The format is that of PostgreSQL's pg_backup_archiver.c, versions 1.14 to 1.16 (PostgreSQL 12 to 18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from squizzle.errors import InvalidInputError

_MAGIC = b"PGDMP"
_CUSTOM = 1
_OLDEST, _WITH_ALGORITHM, _WITH_KIND = (1, 14), (1, 15), (1, 16)
_NEWEST = (1, 16)
_PARTS_OF_A_TIME = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One definition.

    Attributes:
        id: Its number in the dump.
        catalogue: Oid of the catalogue that its row is in; 0 for what has none (comments, privileges).
        oid: Oid of the row.
        kind: Such as TABLE, FK CONSTRAINT, ACL.
        tag: Its name, for people.
        definition: SQL that makes it; may be several statements.
        drop: SQL that drops it; may be empty.
        schema: Its schema, unquoted; may be empty.
        owner: Its owner, unquoted; may be empty.
        method: The table's access method; empty for none.
        needs: Numbers of the entries that it needs.
    """

    id: int
    catalogue: int = 0
    oid: int = 0
    kind: str
    tag: str = ""
    definition: str = ""
    drop: str = ""
    schema: str = ""
    owner: str = ""
    method: str = ""
    needs: frozenset[int] = field(default_factory=frozenset)


def read_archive(content: bytes) -> tuple[Entry, ...]:
    """The entries of a dump in custom format, in the order in which they can be made.

    Raises:
        InvalidInputError: It is no such dump, or of a version that is not known. Nothing was changed.
    """
    reader = _Reader(content)
    try:
        reader.read_header()
        return tuple(reader.read_entry() for _ in range(reader.number()))
    except IndexError as exc:
        raise InvalidInputError("the dump ends in the middle", hint="run the same again") from exc


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._version = (0, 0)
        self._number_bytes = 4
        self._offset_bytes = 8

    def read_header(self) -> None:
        if self._take(len(_MAGIC)) != _MAGIC:
            raise InvalidInputError("not a dump in custom format", hint="take it with pg_dump --format=custom")
        major, minor, _, self._number_bytes, self._offset_bytes, form = (self._byte() for _ in range(6))
        self._version = (major, minor)
        if not _OLDEST <= self._version <= _NEWEST or form != _CUSTOM:
            raise InvalidInputError(
                f"a dump of archive version {major}.{minor} cannot be read",
                hint="use the client programs of PostgreSQL 12 to 18 ([postgres] programs)",
            )
        if self._version >= _WITH_ALGORITHM:
            self._byte()
        else:
            self.number()
        for _ in range(_PARTS_OF_A_TIME):
            self.number()
        for _ in ("database", "server version", "program version"):
            self._text()

    def read_entry(self) -> Entry:
        dump_id, _ = self.number(), self.number()
        catalogue, oid, tag, kind = self._text(), self._text(), self._text(), self._text()
        self.number()  # section
        definition, drop, _, schema, _, method = (self._text() for _ in range(6))
        if self._version >= _WITH_KIND:
            self.number()
        owner, _ = self._text(), self._text()
        needs = frozenset(self._needs())
        self._take(1 + self._offset_bytes)
        return Entry(
            id=dump_id,
            catalogue=int(catalogue or 0),
            oid=int(oid or 0),
            kind=kind,
            tag=tag,
            definition=definition,
            drop=drop,
            schema=schema,
            owner=owner,
            method=method,
            needs=needs,
        )

    def number(self) -> int:
        sign = self._byte()
        value = int.from_bytes(self._take(self._number_bytes), "little")
        return -value if sign else value

    def _needs(self) -> Sequence[int]:
        found = []
        while text := self._text():
            found.append(int(text))
        return found

    def _text(self) -> str:
        length = self.number()
        return self._take(length).decode() if length > 0 else ""

    def _byte(self) -> int:
        value = self._content[self._at]
        self._at += 1
        return value

    def _take(self, length: int) -> bytes:
        if self._at + length > len(self._content):
            raise IndexError(self._at)
        self._at += length
        return self._content[self._at - length : self._at]
