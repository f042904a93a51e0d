"""Switching off triggers for a while: which ones there are, which are meant, and what it means. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.durations import words
from squizzle.errors import InvalidInputError, RefusedError

# A trigger that is off for longer is no emergency any more: it wants a migration that somebody reviews.
LONGEST = timedelta(hours=24)


class Mode(StrEnum):
    """When a trigger fires, as `pg_trigger.tgenabled` has it."""

    ON = "O"
    ALWAYS = "A"
    REPLICA = "R"
    OFF = "D"

    @property
    def words(self) -> str:
        """The mode in words."""
        return _MODES[self]


_MODES = {Mode.ON: "on", Mode.ALWAYS: "always", Mode.REPLICA: "for replication only", Mode.OFF: "off"}


class Kind(StrEnum):
    """What a trigger is there for."""

    USER = "user"
    CONSTRAINT = "constraint"
    FOREIGN_KEY = "foreign key"
    CHANGE_LOG = "change log"
    INTERNAL = "internal"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignKey:
    """A foreign key, the topmost one where partitions have theirs from it.

    Attributes:
        id: Its number in pg_constraint.
        name: Its name.
        schema: Schema of the table that refers.
        table: The table that refers.
        key_schema: Schema of the table that is referred to.
        key_table: The table that is referred to.
        is_valid: Whether every row was compared once; else it is NOT VALID.
        is_full: MATCH FULL: a row with some columns null breaks it. Otherwise such a row refers to nothing.
        has_period: Whether it refers to a period (PostgreSQL 18).
        on_delete: `pg_constraint.confdeltype`.
        on_update: `pg_constraint.confupdtype`.
        is_partitioned: Whether the table that refers is.
        key_is_partitioned: Whether the other one is.
        columns: Columns that refer.
        key_columns: The columns that each refers to.
        operators: What compares each pair, as SQL.
        collations: What each pair is compared by, as SQL; empty where that needs no saying.
    """

    id: int
    name: str
    schema: str
    table: str
    key_schema: str
    key_table: str
    is_valid: bool
    is_full: bool
    has_period: bool
    on_delete: str
    on_update: str
    is_partitioned: bool
    key_is_partitioned: bool
    columns: Sequence[str]
    key_columns: Sequence[str]
    operators: Sequence[str]
    collations: Sequence[str]

    def __str__(self) -> str:
        both = f"{self.schema}.{self.table} to {self.key_schema}.{self.key_table}"
        return f"{self.name} from {both}{'' if self.is_valid else ' (NOT VALID)'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """One trigger of one table.

    Attributes:
        schema: The table's schema.
        table: The table.
        table_id: Its number.
        id: The trigger's number.
        name: Its name; of a foreign key's the constraint's name and table.
        server_name: What the server calls it.
        mode: When it fires.
        kind: What it is there for.
        function: What it calls.
        definition: As the server would write it; empty for those that it made itself.
        key: The foreign key that it enforces.
    """

    schema: str
    table: str
    table_id: int
    id: int
    name: str
    server_name: str
    mode: Mode
    kind: Kind
    function: str
    definition: str = ""
    key: ForeignKey | None = None

    def __str__(self) -> str:
        return f"{self.name} on {self.schema}.{self.table}"

    @property
    def checks_references(self) -> bool:
        """Whether it looks after rows that refer; the other two of a foreign key look after rows referred to."""
        return self.function.startswith("pg_catalog.RI_FKey_check")

    def consequences(self) -> tuple[str, ...]:
        """What it means that it is off, a sentence each."""
        if self.key is not None:
            return self._key_consequences(self.key)
        found = [f"{self.function}() is not called for what is written meanwhile, and is not called later for it"]
        if self.kind is Kind.CONSTRAINT:
            found.append("it is a constraint trigger: rows that break its rule get in, and no comparison finds them")
        if self.mode is Mode.REPLICA:
            found.append("it fires for rows that a subscription applies only; writes of clients become no faster")
        if self.mode is Mode.ALWAYS:
            found.append("it is there for rows that a subscription applies, too, and those pass it as well")
        return tuple(found)

    def _key_consequences(self, key: ForeignKey) -> tuple[str, ...]:
        refers, referred = f"{key.schema}.{key.table}", f"{key.key_schema}.{key.key_table}"
        if self.checks_references:
            found = [f"the foreign key {key} is not enforced: {refers} may refer to rows that {referred} does not have"]
        elif self.function.endswith("_del"):
            found = [f"the foreign key {key} is not enforced: rows of {referred} may go that {refers} refers to"]
            if key.on_delete in _ACTIONS:
                found.append(f"ON DELETE {_ACTIONS[key.on_delete]} is not carried out in {refers}")
        else:
            found = [f"the foreign key {key} is not enforced: keys of {referred} may change that {refers} refers to"]
            if key.on_update in _ACTIONS:
                found.append(f"ON UPDATE {_ACTIONS[key.on_update]} is not carried out in {refers}")
        if not key.is_valid:
            found.append("it is NOT VALID: rows from before may break it, and are not told from those of the pause")
        return tuple(found)


_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PausePlan:
    """What is to be switched off, for how long.

    Attributes:
        schema: The table's schema.
        table: The table.
        table_id: Its number.
        triggers: What to switch off: of the table and its partitions.
        already_off: What was meant and is off; where we switched it off, the time is set anew.
        duration: How long at the most.
        why: The reason that is noted.
    """

    schema: str
    table: str
    table_id: int
    triggers: tuple[Trigger, ...]
    already_off: tuple[Trigger, ...]
    duration: timedelta
    why: str

    def __str__(self) -> str:
        what = f"{len(self.triggers)} triggers of {self.schema}.{self.table}"
        return f"switch off {what} for {words(self.duration)}"

    def key(self, database: str) -> tuple[str, ...]:
        """What was decided."""
        both = (*self.triggers, *self.already_off)
        return (database, str(self.duration), *sorted(f"{one} {one.function} {one.mode}" for one in both))


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """A trigger that was switched off, as it was noted.

    Attributes:
        id: Number of the note.
        trigger_id: Number of the trigger when it was switched off.
        trigger: What it is now; None when it is gone.
        name: As it was called, with its table.
        former_mode: What to put back.
        paused_at: When.
        paused_by: By whom.
        why: Why.
        until: For how long.
        is_overdue: Whether that has passed, by the server's clock.
    """

    id: int
    trigger_id: int
    trigger: Trigger | None
    name: str
    former_mode: Mode
    paused_at: datetime
    paused_by: str
    why: str
    until: datetime
    is_overdue: bool

    def sentence(self) -> str:
        """What was switched off by whom, when, why, until when."""
        late = ", which has passed" if self.is_overdue else ""
        return (
            f"{self.name}: switched off by {self.paused_by} at {self.paused_at:%Y-%m-%d %H:%M:%S %Z}"
            f" until {self.until:%Y-%m-%d %H:%M:%S %Z}{late}: {self.why}; it was {self.former_mode.words}"
        )


def plan_pause(
    triggers: Sequence[Trigger],
    table: tuple[str, str, int],
    names: Sequence[str],
    *,
    foreign_keys: bool,
    duration: timedelta,
    why: str,
    is_superuser: bool,
) -> PausePlan:
    """Decide what to switch off: the triggers that were named, and the foreign keys only when asked for. Pure.

    Args:
        triggers: Those of the table and its partitions.
        table: Schema, name and number of the table.
        names: Which ones, by name.
        foreign_keys: Whether the foreign keys of the table, from it and to it, are switched off, too.
        duration: For how long, at the most `LONGEST`.
        why: The reason.
        is_superuser: Whether we are one.

    Raises:
        InvalidInputError: No such trigger, none named, no reason, or too long.
        RefusedError: One that is never switched off, or that takes a superuser.
    """
    place = f"{table[0]}.{table[1]}"
    _refuse_terms(why, duration)
    if not names and not foreign_keys:
        raise InvalidInputError("no trigger was named", hint=f"`squizzle triggers {place}` lists them")
    for name in names:
        _refuse_name(name, [one for one in triggers if name in {one.name, one.server_name}], triggers, place)
    wanted = [
        one
        for one in triggers
        if (one.kind in {Kind.USER, Kind.CONSTRAINT} and one.name in names)
        or (foreign_keys and one.kind is Kind.FOREIGN_KEY)
    ]
    keys = [one.key for one in wanted if one.key is not None]
    if foreign_keys and not keys:
        raise InvalidInputError(f"{place} has no foreign key", hint="leave --foreign-keys (Foreign keys) out")
    for key in keys:
        if key.has_period:
            raise RefusedError(
                f"the foreign key {key} is about periods, and rows that break it would not be found afterwards",
                hint="name the other triggers one by one",
            )
    if keys and not is_superuser:
        raise RefusedError(f"to switch off the foreign keys of {place} takes a superuser", hint="connect as one")
    return PausePlan(
        schema=table[0],
        table=table[1],
        table_id=table[2],
        triggers=tuple(one for one in wanted if one.mode is not Mode.OFF),
        already_off=tuple(one for one in wanted if one.mode is Mode.OFF),
        duration=duration,
        why=why.strip(),
    )


def _refuse_terms(why: str, duration: timedelta) -> None:
    if not why.strip():
        raise InvalidInputError("no reason was given", hint="say why: it is noted, and somebody will read it")
    if not timedelta() < duration <= LONGEST:
        raise InvalidInputError(
            f"{words(duration)} is not between 0 and {words(LONGEST)}", hint="give 30m, for example"
        )


def _refuse_name(name: str, found: Sequence[Trigger], triggers: Sequence[Trigger], place: str) -> None:
    kinds = {one.kind for one in found}
    if kinds & {Kind.USER, Kind.CONSTRAINT}:
        return
    if Kind.CHANGE_LOG in kinds:
        raise RefusedError(
            f"{name} of {place} writes the change log: without it changes are missing, and nothing can be undone",
            hint=f"`squizzle changelog disable --table {place}` ends the log, and notes since when",
        )
    if Kind.FOREIGN_KEY in kinds or any(one.key and one.key.name == name for one in triggers):
        raise RefusedError(
            f"{name} is a foreign key of {place}", hint="say --foreign-keys (Foreign keys), with all that it means"
        )
    if Kind.INTERNAL in kinds:
        raise RefusedError(f"{name} of {place} is a part of a unique or exclusion constraint", hint="leave it on")
    known = sorted({one.name for one in triggers if one.kind in {Kind.USER, Kind.CONSTRAINT}})
    raise InvalidInputError(
        f"{place} has no trigger {name}", hint=f"it has: {', '.join(known)}" if known else "it has none of its own"
    )
