"""What a statement does to rows; see `actions`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from squizzle.analysis.actions import Action, TableAction
from squizzle.analysis.locks.records import RelationName


class Verb(StrEnum):
    """What is done to rows."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    MERGE = "MERGE"


class Reach(StrEnum):
    """Which rows a statement can reach."""

    ALL = "all"
    ALL_BY_A_CONSTANT = "all, by a condition that always holds"
    SOME = "some"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeRows(TableAction):
    """INSERT, UPDATE, DELETE or MERGE; `columns` are those that are set, `sets_parts` when not wholly (`a[1]`)."""

    verb: Verb
    reach: Reach = Reach.SOME
    columns: tuple[str, ...] = ()
    sets_parts: bool = False
    from_query: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncate(Action):
    """TRUNCATE."""

    tables: tuple[RelationName, ...]
    cascade: bool = False
    restart_identity: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy(Action):
    """COPY; `table` is None for a query."""

    table: RelationName | None
    is_from: bool
    is_program: bool = False
    is_file: bool = False
