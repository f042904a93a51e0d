"""What a rule is: a record that is shown, documented and tested, and a pure function that looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from squizzle.analysis.actions import Action, SetParameter
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName, RelationSet
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
        created: Relations that the script made; nobody else can use them yet.
        held: The strongest lock on each relation that the same transaction took and holds until its end.
        earlier: The statements before it in the same transaction.
        before: Every statement of the script before it.
        settings: The last value of each parameter that the script set.
    """

    created: RelationSet = field(default_factory=RelationSet)
    held: dict[RelationName, LockMode] = field(default_factory=dict)
    earlier: list[Summary] = field(default_factory=list)
    before: list[Summary] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    def remember(self, summary: Summary) -> None:
        """Take in a statement after it was looked at."""
        self.before.append(summary)
        self.settings |= {one.name: one.value for one in summary.actions if isinstance(one, SetParameter)}
        if summary.statement.transactional and summary.statement.control is None:
            self.earlier.append(summary)
            for lock in summary.forecast.without(self.created).locks:
                strongest = max(self.held.get(lock.relation, lock.mode), lock.mode, key=lambda mode: mode.strength)
                self.held[lock.relation] = strongest
        else:
            self.held.clear()
            self.earlier.clear()
        self.created.update(summary.forecast.creates)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a rule may know besides the action itself.

    Attributes:
        summary: The statement that the action is part of.
        where: Whether the action stands in the script itself, in a DO block, or in a routine that is called later.
        way: Up or down script.
        in_transaction: Whether the statement runs in a transaction with others.
        state: What the script did before.
        major: The oldest server version that the script has to run on.
    """

    summary: Summary
    where: Where = Where.SCRIPT
    way: Way = Way.UP
    in_transaction: bool = True
    state: ScriptState
    major: int = 15

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


Check = Callable[[Action, Context], Iterable[Hit]]


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
