"""How a script is divided into pieces that each happen wholly or not at all. Pure.

Most scripts are one piece: everything in one transaction. Others cannot be:

- a statement that PostgreSQL refuses inside a transaction is a piece of its own;
- a value that ALTER TYPE … ADD VALUE adds cannot be used before the commit (SQLSTATE 55P04), so when a later statement
  names it the transaction is committed in between;
- a statement that is marked for running in batches is a piece of its own, of many transactions;
- a script that says BEGIN and COMMIT itself is run as it says, each of its transactions a piece;
- an author who declared "no transaction" gets each statement by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from squizzle.analysis.records import Control, Statement
from squizzle.errors import InvalidInputError


class UnitKind(StrEnum):
    """How a piece of a script is run."""

    TRANSACTION = "transaction"
    ALONE = "alone"
    PROGRAM = "program"
    BATCHES = "batches"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One piece of a script.

    Attributes:
        kind: In one transaction together with its note in the history, a single statement outside any, a single
            statement in many transactions, each for a range of a key, or a whole program, which decides itself.
        statements: What runs, in order.
        options: What the script said behind BEGIN (`ISOLATION LEVEL SERIALIZABLE`); empty for nothing.
        ends_at: How many of the script's statements are finished when this piece is.
        begun: Whether the script itself said BEGIN and COMMIT around it.
    """

    kind: UnitKind
    statements: tuple[Statement, ...]
    ends_at: int
    options: str = ""
    begun: bool = False

    @property
    def transactional(self) -> bool:
        """Whether it happens wholly or not at all."""
        return self.kind is UnitKind.TRANSACTION

    def number_of(self, place: int) -> int:
        """The place in the script, from 1, of the statement at this place in the piece, from 0."""
        return self.ends_at - len(self.statements) + place + 1


# The one piece of a program: its statements are known when it has run, and it begins anew each time.
PROGRAM = Unit(kind=UnitKind.PROGRAM, statements=(), ends_at=0)


def divide(statements: Sequence[Statement], *, declared: bool | None, source: str) -> tuple[Unit, ...]:
    """Divide a script into its pieces, in order.

    Args:
        statements: Of the whole script.
        declared: What the author declared: in a transaction, not in one, or nothing.
        source: The script's name, for messages.

    Raises:
        InvalidInputError: ROLLBACK, PREPARE TRANSACTION, BEGIN without COMMIT, a statement between BEGIN and
            COMMIT that PostgreSQL refuses there or that runs in batches, or batches that need what ends with the
            transaction before them. Nothing was run.
    """
    _refuse_unusable_control(statements, source)
    _refuse_lost_state(statements, source)
    if any(statement.control for statement in statements):
        pieces = list(_as_the_script_says(statements, source))
    elif declared is False:
        pieces = [((statement,), None) for statement in statements]
    else:
        pieces = [(piece, None) for piece in _by_need(statements)]
    return tuple(_number(pieces))


def remaining(units: Sequence[Unit], done: int) -> tuple[Unit, ...]:
    """What is left of a script when so many of its statements are finished.

    Args:
        units: All of its pieces.
        done: Statements that are finished; within a piece when the server wanted that piece divided further
            (`squizzle.migrations.refusals`).
    """
    left = (unit for unit in units if unit.ends_at > done)
    return tuple(replace(unit, statements=unit.statements[done - unit.ends_at :]) for unit in left)


# The statements, and what the script said behind its own BEGIN; None when it said none.
_Piece = tuple[tuple[Statement, ...], str | None]


def _number(pieces: Sequence[_Piece]) -> Iterator[Unit]:
    done = 0
    for statements, options in pieces:
        done += len(statements)
        yield Unit(
            kind=_kind(statements),
            statements=statements,
            ends_at=done,
            options=options or "",
            begun=options is not None,
        )


def _kind(statements: Sequence[Statement]) -> UnitKind:
    if statements[0].batch is not None:
        return UnitKind.BATCHES
    return UnitKind.TRANSACTION if all(statement.transactional for statement in statements) else UnitKind.ALONE


def lost_state(earlier: Sequence[Statement]) -> str:
    """Why a statement behind these cannot run in batches: in new transactions, after a kill in a new session.

    Returns:
        The statement whose effect would be lost, as a sentence; empty when there is none.
    """
    for statement in earlier:
        words = statement.words
        if _makes_temporary(statement):
            return f"line {statement.line} makes a temporary table, which a run that goes on after a kill does not have"
        if words[:2] in _LOST or words[:3] in _LOST:
            return f"line {statement.line} ({' '.join(words[:3])}) ends with the transaction before the batches"
        if words[:2] == ("SET", "LOCAL") and words[2:3] not in _HARMLESS:
            return f"line {statement.line} (SET LOCAL {words[2]}) ends with the transaction before the batches"
        if words[:1] == ("SELECT",) and _SET_CONFIG_LOCAL.search(statement.sql):
            return f"line {statement.line} (set_config, local) ends with the transaction before the batches"
    return ""


def _makes_temporary(statement: Statement) -> bool:
    words = statement.words
    kinds = words[2:3] if words[1:2] in {("LOCAL",), ("GLOBAL",)} else words[1:2]
    created = words[:1] == ("CREATE",) and kinds in {("TEMP",), ("TEMPORARY",)}
    return created or (words[:1] in {("SELECT",), ("WITH",)} and bool(_INTO_TEMPORARY.search(statement.sql)))


# In the text, because a statement's words end at its first literal. A false alarm costs a hint, a miss the rows.
_INTO_TEMPORARY = re.compile(r"\bINTO\s+(?:(?:LOCAL|GLOBAL)\s+)?TEMP(?:ORARY)?\b", re.IGNORECASE)
_SET_CONFIG_LOCAL = re.compile(r"\bset_config\s*\(.*\btrue\s*\)", re.IGNORECASE | re.DOTALL)


_LOST = frozenset(
    {("SET", "ROLE"), ("SET", "SESSION", "AUTHORIZATION"), ("SET", "CONSTRAINTS"), ("SET", "SESSION", "ROLE")}
)
# Each batch has timeouts of its own.
_HARMLESS = frozenset({("LOCK_TIMEOUT",), ("STATEMENT_TIMEOUT",), ("CLIENT_MIN_MESSAGES",)})


def _refuse_lost_state(statements: Sequence[Statement], source: str) -> None:
    for position, statement in enumerate(statements):
        if statement.batch is not None and (problem := lost_state(statements[:position])):
            raise InvalidInputError(
                f"{source}:{statement.line}: this statement cannot run in batches: {problem}",
                hint="put it behind the batched statement, or into another version; SET without LOCAL stays",
            )


def _refuse_unusable_control(statements: Sequence[Statement], source: str) -> None:
    for statement in statements:
        if statement.control in {Control.ROLLBACK, Control.PREPARE} or "CHAIN" in statement.words[:4]:
            said = " ".join(statement.sql.split()[:3])
            raise InvalidInputError(
                f"{source}:{statement.line}: {said} leaves open what of this script would be kept",
                hint="remove it: what fails is rolled back without being told to",
            )


def _as_the_script_says(statements: Sequence[Statement], source: str) -> Iterator[_Piece]:
    block: list[Statement] = []
    begun: Statement | None = None
    for statement in statements:
        if statement.control is Control.BEGIN:
            begun = begun or statement
        elif statement.control is Control.COMMIT:
            if block:
                yield tuple(block), _options(begun)
            block, begun = [], None
        elif begun is not None:
            _refuse_outsider(statement, source)
            block.append(statement)
        else:
            yield (statement,), None
    if begun is not None:
        raise InvalidInputError(
            f"{source}:{begun.line}: {begun.sql.split()[0].upper()} without a COMMIT",
            hint="end the script with COMMIT, or remove BEGIN: every script runs in one transaction already",
        )


def _refuse_outsider(statement: Statement, source: str) -> None:
    if not statement.transactional:
        raise InvalidInputError(
            f"{source}:{statement.line}: between BEGIN and COMMIT PostgreSQL refuses"
            f" {' '.join(statement.sql.split()[:3])}",
            hint="put it before BEGIN or behind COMMIT",
        )
    if statement.batch is not None:
        raise InvalidInputError(
            f"{source}:{statement.line}: between BEGIN and COMMIT a statement cannot run in batches, which are"
            " transactions of their own",
            hint="put it before BEGIN or behind COMMIT, or remove the mark",
        )


def _options(begun: Statement | None) -> str:
    if begun is None:
        return ""
    words = begun.words
    return " ".join(words[2:] if words[1:2] in {("WORK",), ("TRANSACTION",)} else words[1:])


def _by_need(statements: Sequence[Statement]) -> Iterator[tuple[Statement, ...]]:
    """As few pieces as PostgreSQL allows."""
    piece: list[Statement] = []
    for position, statement in enumerate(statements):
        if statement.is_alone:
            if piece:
                yield tuple(piece)
            yield (statement,)
            piece = []
            continue
        piece.append(statement)
        if statement.adds_enum_value is not None and _is_named(statement.adds_enum_value, statements[position + 1 :]):
            yield tuple(piece)
            piece = []
    if piece:
        yield tuple(piece)


def _is_named(value: str, later: Sequence[Statement]) -> bool:
    # As a literal, also within a function body; a false alarm costs a commit, a miss costs the migration.
    spelled = f"'{value.replace(chr(39), chr(39) * 2)}'"
    return any(spelled in other.sql for other in later if other.adds_enum_value != value)
