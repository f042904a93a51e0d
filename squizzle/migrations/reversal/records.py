"""What travels: the reverse of a statement, of a script, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from squizzle.proof.records import SchemaDigest


class Reversibility(StrEnum):
    """How much of what was there before comes back."""

    EXACT = "exact"
    LOSSY = "lossy"
    NONE = "none"

    @property
    def rank(self) -> int:
        """The higher, the worse."""
        return (Reversibility.EXACT, Reversibility.LOSSY, Reversibility.NONE).index(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedTable:
    """A table of saved rows.

    Attributes:
        table: Whose rows (or whose position, for a sequence), quoted as the statement names it.
        name: Where they are, quoted: `squizzle_undo."0007_3_orders"`.
    """

    table: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What keeps the rows that a statement touches; all of it runs in one transaction with the statement.

    Attributes:
        before: What to run right before it.
        after: What to run right behind it.
        tables: What is filled, that of the statement's own table first.
        counted: Whether the first of these must hold as many rows as the statement says that it touched.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tables: tuple[SavedTable, ...] = ()
    counted: bool = False

    def __bool__(self) -> bool:
        return bool(self.tables)

    def __add__(self, other: Saving) -> Saving:
        return Saving(
            before=(*self.before, *other.before),
            after=(*self.after, *other.after),
            tables=(*self.tables, *other.tables),
            counted=self.counted or other.counted,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reverse:
    """The way back of one statement, as its text and the catalogue before it tell.

    Attributes:
        statements: What to run, in order, each without a semicolon; empty when nothing has to be done, or can be.
        reversibility: How much comes back.
        reason: Why, in a sentence; for what is lost also where it will come from.
        certain: Whether the text alone decides: true of what is made new or given another name. Anything else is
            exact only when it was executed and compared.
        save: What keeps the rows that the statement touches, so that they can come back.
        alone: Whether the statements must run outside a transaction.
        otherwise: A heavier way that is taken when this one does not lead back.
    """

    statements: tuple[str, ...] = ()
    reversibility: Reversibility = Reversibility.EXACT
    reason: str = ""
    certain: bool = False
    save: Saving = Saving()
    alone: bool = False
    otherwise: Reverse | None = None

    def or_try(self, other: Reverse) -> Reverse:
        """The same with a heavier way behind it, unless that leads nowhere."""
        return self if other.reversibility is Reversibility.NONE else replace(self, otherwise=other)

    def with_save(self, save: Saving) -> Reverse:
        """The same with what keeps the rows."""
        return replace(self, save=save)

    def under(self, path: str) -> Reverse:
        """The same with this statement, which sets the search_path, in front of every way."""
        if not path:
            return self
        statements = (path, *self.statements) if self.statements else ()
        return replace(self, statements=statements, otherwise=self.otherwise and self.otherwise.under(path))

    @property
    def surest(self) -> Reverse:
        """The last of the ways: heavier, but it does not depend on what the statement did."""
        return self.otherwise.surest if self.otherwise else self


def exact(*statements: str, reason: str = "", certain: bool = False) -> Reverse:
    """A way back that brings everything back."""
    return Reverse(statements=statements, reason=reason or "the same as before", certain=certain)


def lossy(*statements: str, reason: str) -> Reverse:
    """A way back that leaves something out."""
    return Reverse(statements=statements, reversibility=Reversibility.LOSSY, reason=reason)


def irreversible(reason: str) -> Reverse:
    """No way back, and why."""
    return Reverse(reversibility=Reversibility.NONE, reason=reason)


def nothing_to_do(reason: str, *, certain: bool = True) -> Reverse:
    """A statement that leaves nothing behind."""
    return Reverse(reason=reason, certain=certain)


class Match(StrEnum):
    """What the executed reverse left, compared with what was there before."""

    STRICT = "strict"
    LOGICAL = "logical"
    DIFFERENT = "different"
    UNPROVEN = "unproven"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReversedStatement:
    """One statement of a script with its way back.

    Attributes:
        sql: The statement.
        line: Where it begins in the script, counted from 1.
        reverse: Its way back, after the proof.
        match: What its execution on a scratch copy left; `UNPROVEN` when there was none.
        claim: What its text and the catalogue promised before the proof; None when there was none.
    """

    sql: str
    line: int
    reverse: Reverse
    match: Match = Match.UNPROVEN
    claim: Reverse | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reversal:
    """The way back of a whole script.

    Attributes:
        source: What messages call the script.
        statements: In the order of the script; the ways back run in the opposite order.
        match: What the whole reverse left on a scratch copy, compared with the schema before the script.
        whole: A reverse of the whole script that replaces those of the statements; made by comparing the schema after
            it with the schema before it, where those of the statements did not lead back. None otherwise.
        proof: How it was proved, or why it was not, in a sentence.
        differences: What differs after the way back from the schema before the script.
        after: What the script left, on the scratch copy, of the schema that scripts work in; None without a proof.
        drift: What differs in the real database from what the script left on the scratch copy.
    """

    source: str
    statements: tuple[ReversedStatement, ...]
    match: Match = Match.UNPROVEN
    whole: Reverse | None = None
    proof: str = ""
    differences: tuple[str, ...] = ()
    after: SchemaDigest | None = None
    drift: tuple[str, ...] = ()

    @property
    def reversibility(self) -> Reversibility:
        """That of the worst statement; never exact where the proof found another schema.

        Where the schema was seen to come back, rows that do not are a loss, and no reason to call it none.
        """
        ways = [self.whole] if self.whole else [one.reverse for one in self.statements]
        worst = max((way.reversibility for way in ways), key=lambda one: one.rank, default=Reversibility.EXACT)
        comes_back = self.match in {Match.STRICT, Match.LOGICAL}
        if worst is Reversibility.NONE and comes_back and any(way.statements for way in ways):
            return Reversibility.LOSSY
        if worst is Reversibility.EXACT and (self.match in {Match.DIFFERENT, Match.LOGICAL} or self.drift):
            return Reversibility.LOSSY
        return worst
