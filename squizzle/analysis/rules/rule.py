"""What a rule is: a record that is shown, documented and tested, and a pure function that looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from squizzle.analysis.actions import Action, AddConstraint, SetParameter, ValidateConstraint
from squizzle.analysis.findings import Severity
from squizzle.analysis.known import Known, Table
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect, RelationName, RelationSet
from squizzle.analysis.records import Control, Statement
from squizzle.analysis.summary import Summary


class Where(StrEnum):
    """Where an action stands."""

    SCRIPT = "script"
    DO = "do"
    ROUTINE = "routine"


class Way(StrEnum):
    """Which way the script goes."""

    UP = "up"
    DOWN = "down"


@dataclass(kw_only=True, slots=True)
class ScriptState:
    """What a script did before the statement that is looked at; it grows while the script is walked.

    Attributes:
        controls: Whether the script says BEGIN or COMMIT itself, so that what stands outside them runs by itself.
        known: What this and earlier scripts told about tables.
        whole: What the whole script, its end included, tells about tables.
        learns: Whether what the script does is true for the scripts behind it, which for a down script it is not.
        created: Relations that the script made; nobody else can use them yet.
        begun: Whether a BEGIN waits for its COMMIT.
        open_begin: The line of the BEGIN that no COMMIT follows; 0 for none.
        is_in_pieces: Whether a statement came before that shares no transaction.
        held: The strongest lock on each table, its indexes included, that the transaction took and holds to its end.
        shut: The first table that the transaction keeps everybody out of; None for none.
        first_strong: The tables that the first statement of the transaction kept writers out of that did so at all.
        is_crossed: Whether a later one kept writers out of another table.
        earlier: The statements before it in the same transaction.
        added: The constraints that the same transaction added, by their tables.
        proven: Tables of which the script validated a constraint that no script told about.
        settings: The last value of each parameter that the script set.
    """

    controls: bool = False
    known: Known = field(default_factory=Known)
    whole: Known = field(default_factory=Known)
    learns: bool = True
    created: RelationSet = field(default_factory=RelationSet)
    begun: bool = False
    open_begin: int = 0
    is_in_pieces: bool = False
    held: dict[RelationName, LockMode] = field(default_factory=dict)
    shut: RelationName | None = None
    first_strong: frozenset[RelationName] = frozenset()
    is_crossed: bool = False
    earlier: list[Summary] = field(default_factory=list)
    added: set[tuple[RelationName, str]] = field(default_factory=set)
    proven: set[RelationName] = field(default_factory=set)
    settings: dict[str, str] = field(default_factory=dict)

    def is_together(self, statement: Statement) -> bool:
        """Whether a statement shares its transaction with others."""
        return not statement.is_alone and statement.control is None and (self.begun or not self.controls)

    def added_just_now(self, table: RelationName, constraint: str) -> bool:
        """Whether the same transaction added a constraint."""
        return (table, constraint) in self.added

    def remember(self, summary: Summary) -> None:
        """Take in a statement after it was looked at."""
        self.settings |= {one.name: one.value for one in summary.actions if isinstance(one, SetParameter)}
        if self.is_together(summary.statement):
            self.earlier.append(summary)
            self.added.update((one.table, one.constraint.name) for one in _of(AddConstraint, summary))
            self._hold(summary)
        elif summary.statement.control is not Control.BEGIN or not self.begun:
            self._let_go()
        validated = _of(ValidateConstraint, summary)
        self.proven.update(one.table for one in validated if one.name not in self.known.table(one.table).constraints)
        self.is_in_pieces = self.is_in_pieces or summary.statement.is_alone
        if summary.statement.control is not None:
            self.begun = summary.statement.control is Control.BEGIN
        self.created.update(summary.forecast.creates)
        if self.learns:
            self.known.learn(summary.actions)

    def _hold(self, summary: Summary) -> None:
        strong = set()
        for lock in summary.forecast.without(self.created).locks:
            table = self.known.table_of(lock.relation)
            self.held[table] = max(self.held.get(table, lock.mode), lock.mode, key=lambda mode: mode.strength)
            if lock.mode.blocks_reads and self.shut is None:
                self.shut = table
            if lock.mode.blocks_writes:
                strong.add(table)
        self.is_crossed = self.is_crossed or (bool(self.first_strong) and not strong <= self.first_strong)
        self.first_strong = self.first_strong or frozenset(strong)

    def _let_go(self) -> None:
        self.held.clear()
        self.earlier.clear()
        self.added.clear()
        self.shut, self.first_strong, self.is_crossed = None, frozenset(), False


_Kind = TypeVar("_Kind", bound=Action)


def _of(kind: type[_Kind], summary: Summary) -> Iterator[_Kind]:
    return (one for one in summary.actions if isinstance(one, kind))


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a rule may know besides the action itself.

    Attributes:
        summary: The statement that the action is part of.
        where: Whether the action stands in the script itself, in a DO block, or in a routine that is called later.
        way: Up or down script.
        in_transaction: Whether the statement shares its transaction with others.
        state: What the script did before.
        major: The oldest server version that the script has to run on.
    """

    summary: Summary
    where: Where = Where.SCRIPT
    way: Way = Way.UP
    in_transaction: bool = True
    state: ScriptState
    major: int = 15

    def known(self, relation: RelationName) -> Table:
        """What this and earlier scripts told about a table."""
        return self.state.known.table(relation)

    def is_new(self, relation: RelationName | None) -> bool:
        """Whether the script made the relation itself, so that no client can be held up."""
        return relation is not None and relation in self.state.created


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One place where a rule's condition holds.

    Attributes:
        message: What the statement does, with its own names.
        hint: What to do instead, with its own names; empty for the rule's general advice.
        relation: What it is about.
        mode: The lock that it is about.
        location: Where in the statement, in bytes.
        severity: Instead of the rule's.
    """

    message: str
    hint: str = ""
    relation: RelationName | None = None
    mode: LockMode | None = None
    location: int = 0
    severity: Severity | None = None


# Each looks at the actions of its rule's `on` and at no others.
Check = Callable[[Any, Context], Iterable[Hit]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        code: Letter and number: L locks, D data, C clients that run the old code, T types, X transactions, S safety of
            server and rights, U what cannot be judged.
        name: In words with hyphens.
        severity: Where no database says how big the table is.
        condition: When it fires, one sentence.
        effect: What that does to clients or data, one sentence.
        safe_way: What to do instead, in general.
        bad: A script on which it fires. Its tables are those of `tests/support/rule_schema.sql`.
        good: A script that gets the same done, on which it is silent.
        source: Where the fact comes from.
        on: The kinds of actions it looks at.
        check: The look.
        places: Where the action may stand.
        ways: In which scripts it looks.
        severity_down: In down scripts, whose job it is to drop; None for the same as in up scripts.
        does: What the bad example's statement does with the table while it is locked; measured by a test.
        needs_history: Whether only earlier scripts can tell that the condition holds.
        refused: SQLSTATE with which PostgreSQL refuses the bad example; empty when it runs.
        not_run: Why the tests do not run the examples; empty when they do.
    """

    code: str
    name: str
    severity: Severity
    condition: str
    effect: str
    safe_way: str
    bad: str
    good: str
    source: str
    on: tuple[type[Action], ...]
    check: Check
    places: frozenset[Where] = field(default_factory=lambda: frozenset({Where.SCRIPT, Where.DO}))
    ways: frozenset[Way] = field(default_factory=lambda: frozenset(Way))
    severity_down: Severity | None = None
    does: Effect | None = None
    needs_history: bool = False
    refused: str = ""
    not_run: str = ""

    def severity_of(self, hit: Hit, way: Way) -> Severity:
        """How much a hit matters in a script of this way, where no database says how big the table is."""
        usual = hit.severity or self.severity
        if way is Way.UP or self.severity_down is None:
            return usual
        order = tuple(Severity)
        return max(usual, self.severity_down, key=order.index)


UP_ONLY = frozenset({Way.UP})
EVERYWHERE = frozenset(Where)
