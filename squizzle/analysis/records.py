"""What travels: statements of a script."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from squizzle.analysis.annotations import Annotation


class Control(StrEnum):
    """How a statement controls the transaction."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    PREPARE = "prepare"


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOptions:
    """How a statement is run in ranges of a key; what is None is taken from `[batches]` in squizzle.toml.

    Attributes:
        key: The columns that the ranges are of, folded as PostgreSQL folds names.
        qualifier: What the mark wrote before the columns (`src` in `src.id`); empty for nothing.
        size: Rows of the first range.
        pause: Between two ranges.
        target: How long one range should take.
        max_replication_lag: A standby that is further behind is waited for.
        reads_own_table: The author says that the statement may read the table that it writes.
        line: The line of the mark in the script, counted from 1.
        automatic: Nobody marked it: the policy in squizzle.toml decided.
    """

    key: tuple[str, ...]
    qualifier: str = ""
    size: int | None = None
    pause: timedelta | None = None
    target: timedelta | None = None
    max_replication_lag: timedelta | None = None
    reads_own_table: bool = False
    line: int = 0
    automatic: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One statement of a script.

    Attributes:
        sql: Its text without the semicolon, from its first to its last token.
        line: The line of the script that it begins on, counted from 1.
        words: Its first words in capitals, comments left out, `'…'` for literals; for telling what kind it is.
        transactional: False when PostgreSQL refuses it inside a transaction block.
        control: Set for BEGIN, COMMIT, ROLLBACK …, which would take the transaction out of our hands.
        data: Rows for COPY … FROM stdin, as they stand in the script; None for any other statement.
        adds_enum_value: The value that ALTER TYPE … ADD VALUE adds; the value cannot be used before the commit.
        batch: How it is run in ranges of a key (`-- squizzle: batch …`); None to run it whole.
        save_rows: Whether the rows that it touches shall be saved (`-- squizzle: save_rows`); None: nothing was said.
        saves: Its number in the script, counted from 1, when they will be; 0 when not.
        notes: All that the script says to us about it (`-- squizzle: …`).
    """

    sql: str
    line: int
    words: tuple[str, ...]
    transactional: bool
    control: Control | None = None
    data: str | None = None
    adds_enum_value: str | None = None
    batch: BatchOptions | None = None
    save_rows: bool | None = None
    saves: int = 0
    notes: tuple[Annotation, ...] = ()

    @property
    def requires(self) -> tuple[Annotation, ...]:
        """What must hold before it runs (`-- squizzle: require SELECT …`)."""
        return tuple(note for note in self.notes if note.word == "require")

    @property
    def is_alone(self) -> bool:
        """Whether it shares no transaction: PostgreSQL refuses that, or its batches are transactions themselves."""
        return not self.transactional or self.batch is not None

    @property
    def ends_transaction(self) -> bool:
        """Whether it would take the transaction out of our hands."""
        return self.control is not None
