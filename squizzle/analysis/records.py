"""What travels: statements of a script."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Control(StrEnum):
    """How a statement controls the transaction."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    PREPARE = "prepare"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One statement of a script.

    Attributes:
        sql: Its text without the semicolon, from its first to its last token.
        line: The line of the script that it begins on, counted from 1.
        words: Its first words in capitals, comments left out; for telling what kind it is.
        transactional: False when PostgreSQL refuses it inside a transaction block.
        control: Set for BEGIN, COMMIT, ROLLBACK …, which would take the transaction out of our hands.
        data: Rows for COPY … FROM stdin, as they stand in the script; None for any other statement.
        adds_enum_value: The value that ALTER TYPE … ADD VALUE adds; the value cannot be used before the commit.
    """

    sql: str
    line: int
    words: tuple[str, ...]
    transactional: bool
    control: Control | None = None
    data: str | None = None
    adds_enum_value: str | None = None

    @property
    def ends_transaction(self) -> bool:
        """Whether it would take the transaction out of our hands."""
        return self.control is not None
