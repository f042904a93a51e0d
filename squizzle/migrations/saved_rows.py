"""What travels about saved rows: which statements saved some, and where (`squizzle_history.saved_rows`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from squizzle.later_keys import known_keys


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsOfTable:
    """The rows of one table that one statement touched.

    Attributes:
        number: The statement's number in its script, counted from 1.
        line: Where it begins in the script, counted from 1.
        table: Whose rows, quoted as the statement names it.
        name: Where they are, quoted: `squizzle_undo."0007_42_3_orders"`.
        rows: How many.
    """

    number: int
    line: int
    table: str
    name: str
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedRows:
    """All saved rows of one version.

    Attributes:
        save_as: What the names of their tables begin with: the version and the number of the run that began it, so
            that a version that is applied a second time never meets the rows of the first.
        tables: In the order in which they were saved.
    """

    save_as: str
    tables: tuple[RowsOfTable, ...] = ()

    @property
    def numbers(self) -> frozenset[int]:
        """The statements whose rows are saved."""
        return frozenset(one.number for one in self.tables)

    def with_rows(self, new: RowsOfTable) -> SavedRows:
        """The same with more rows; those of an earlier batch of the same statement are counted together with them."""
        before = next((one for one in self.tables if one.name == new.name), None)
        if before is None:
            return replace(self, tables=(*self.tables, new))
        both = replace(new, rows=before.rows + new.rows)
        return replace(self, tables=tuple(both if one is before else one for one in self.tables))

    def to_json(self) -> dict[str, Any]:
        """For the database."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> SavedRows | None:
        """From the database; None for a version that saved none."""
        if document is None:
            return None
        tables = tuple(RowsOfTable(**known_keys(one, RowsOfTable)) for one in document["tables"])
        return cls(save_as=document["save_as"], tables=tables)
