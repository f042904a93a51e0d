"""What travels: statements of a script."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One statement of a script.

    Attributes:
        sql: Its text without the semicolon, from its first to its last token.
        line: The line of the script that it begins on, counted from 1.
        transactional: False when PostgreSQL refuses it inside a transaction block.
        ends_transaction: True for BEGIN, COMMIT, ROLLBACK … which would take the transaction out of our hands.
    """

    sql: str
    line: int
    transactional: bool
    ends_transaction: bool
