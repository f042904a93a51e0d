"""What the ways back of ALTER TABLE's subcommands are made of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Address, Definitions, Relation
from squizzle.migrations.reversal.records import Reverse, Reversibility, Saving


class Phase(IntEnum):
    """In which order the parts of one way back run, however the statement ordered them."""

    TAKE_AWAY = 0
    TYPE = 1
    BRING_BACK = 2
    SET = 3
    LAST = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The way back of one subcommand.

    Attributes:
        statements: What to run.
        phase: When.
        reversibility: How much comes back.
        reason: Why; empty when there is nothing to say.
        certain: Whether the text alone decides.
        save: What keeps the rows that the statement touches.
    """

    statements: tuple[str, ...] = ()
    phase: Phase = Phase.SET
    reversibility: Reversibility = Reversibility.EXACT
    reason: str = ""
    certain: bool = False
    save: Saving = Saving()  # noqa: RUF009 - frozen


@dataclass(frozen=True, kw_only=True, slots=True)
class Altered:
    """One ALTER TABLE: what it is about, and what is known of it.

    Attributes:
        name: The relation as the statement names it, quoted.
        word: TABLE, VIEW, INDEX …
        address: Where to look it up.
        relation: How it was before.
        definitions: Of the database before.
        context: Of the script.
    """

    name: str
    word: str
    address: Address
    relation: Relation
    definitions: Definitions
    context: Context

    def alter(self, action: str) -> str:
        """One ALTER statement."""
        return f"ALTER {self.word} {self.name} {action}"


Handler = Callable[[Tree, Altered], Iterable[Part]]


def joined(parts: Sequence[Part]) -> Reverse:
    """Later subcommands are turned round first, but nothing is brought back before its place is free."""
    ordered = list(reversed(parts))
    ordered.sort(key=lambda one: one.phase)
    statements = dict.fromkeys(text for part in ordered for text in part.statements)
    worst = max((part.reversibility for part in parts), key=lambda one: one.rank, default=Reversibility.EXACT)
    reasons = [part.reason for part in parts if part.reason and part.reversibility is worst]
    return Reverse(
        statements=tuple(statements),
        reversibility=worst,
        reason="; ".join(dict.fromkeys(reasons)) or "every setting becomes what it was",
        certain=bool(parts) and all(part.certain for part in parts),
        save=sum((part.save for part in parts), Saving()),
    )
