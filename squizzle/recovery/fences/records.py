"""What a fence is, who holds it, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from squizzle.errors import FencingFailedError
from squizzle.later_keys import known_keys


class FenceKind(StrEnum):
    """What is shut."""

    KUBERNETES = "kubernetes"
    PGBOUNCER = "pgbouncer"
    COMMAND = "command"
    DATABASE = "database"


class FenceState(StrEnum):
    """Whether anybody gets through; `unknown` where a command of the user's was interrupted."""

    OPEN = "open"
    FENCED = "fenced"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """One reason why a thing is shut. It opens when the last hold of it has gone.

    Attributes:
        holder: The name under which it is held and let go; a re-run gives the same one.
        by: Account and host.
        reason: For whoever wonders later.
        run: The run that fenced; empty outside one.
        at: When, with a zone.
    """

    holder: str
    by: str
    reason: str
    run: str
    at: datetime

    def __str__(self) -> str:
        run = f", {self.run}" if self.run else ""
        return f"{self.holder!r} since {self.at:%Y-%m-%d %H:%M:%S %Z} ({self.by}{run}: {self.reason})"


@dataclass(frozen=True, kw_only=True, slots=True)
class FenceStatus:
    """What one fence is like now.

    Attributes:
        kind: What is shut.
        name: Which one, such as `database shop`.
        state: Whether anybody gets through.
        holds: Who keeps it shut, the first one first.
        detail: What came of it, in a few words; empty when there is nothing to say.
    """

    kind: FenceKind
    name: str
    state: FenceState
    holds: tuple[Hold, ...] = ()
    detail: str = ""


class Fence(Protocol):
    """One thing that can be shut and opened again. Everything is safe to repeat, also after `kill -9` at any point.

    What a fence finds is noted before anything is shut, so taking it down puts back exactly that: what was shut before
    the first hold stays shut.
    """

    @property
    def kind(self) -> FenceKind:
        """What is shut."""
        ...

    @property
    def name(self) -> str:
        """Which one, for people and for the notes; never a secret."""
        ...

    def look(self) -> FenceStatus:
        """What it is like now. Nothing is changed."""
        ...

    def put_up(self, hold: Hold) -> FenceStatus:
        """Shut it, or add a hold to what is shut.

        Raises:
            FencingFailedError, DatabaseError: The message says how it was left.
        """
        ...

    def take_down(self, holder: str | None) -> FenceStatus:
        """Let go of a hold, and open what nobody holds any more.

        Args:
            holder: Whose hold; None for everybody's, and then it is opened whatever it was before.

        Raises:
            FencingFailedError, DatabaseError: The message says how it was left.
        """
        ...


def are_shut(statuses: Sequence[FenceStatus], *, is_sure: bool) -> bool:
    """Whether anything keeps clients out.

    Args:
        statuses: What each fence is like.
        is_sure: Whether they were put up and not taken down: then one that cannot be asked counts as shut.
    """
    shut = {FenceState.FENCED, FenceState.UNKNOWN} if is_sure else {FenceState.FENCED}
    return any(one.state in shut or one.holds for one in statuses)


def with_hold(holds: Sequence[Hold], hold: Hold) -> tuple[Hold, ...]:
    """The holds with one more; who holds already goes on from when it began."""
    if any(one.holder == hold.holder for one in holds):
        return tuple(holds)
    return (*holds, hold)


def without_hold(holds: Sequence[Hold], holder: str | None) -> tuple[Hold, ...]:
    """The holds without one; without all for None."""
    return () if holder is None else tuple(one for one in holds if one.holder != holder)


def holds_text(holds: Sequence[Hold]) -> str:
    """The holds as JSON, for wherever they are noted."""
    return json.dumps([asdict(one) | {"at": one.at.isoformat()} for one in holds], ensure_ascii=False)


def read_holds(text: str, *, where: str) -> tuple[Hold, ...]:
    """The holds from JSON.

    Args:
        text: What `holds_text` wrote.
        where: For the message.

    Raises:
        FencingFailedError: Somebody has changed it by hand; nothing was changed.
    """
    try:
        found = [known_keys(one, Hold) for one in json.loads(text)]
        return tuple(Hold(**one | {"at": datetime.fromisoformat(one["at"])}) for one in found)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise FencingFailedError(
            f"who holds {where} cannot be read: {type(exc).__name__}",
            hint="it was changed by hand; write [] in its place, then run the same again",
        ) from exc
