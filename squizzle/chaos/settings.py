"""How often chaos strikes, and how. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from squizzle.errors import InvalidInputError

VARIABLE = "SQUIZZLE_CHAOS"
"""The variable that switches it on."""

DEFAULT_RATE = 0.1
"""The guide's."""

BLOCK = "block:"
_LONGEST_DELAY = timedelta(seconds=2)
_NAME = re.compile(r"[a-z0-9-]+")


class ChaosKind(StrEnum):
    """What may happen."""

    RAISE = "raise"
    KILL = "kill"
    KILL_WORKER = "kill-worker"
    DELAY = "delay"
    TERMINATE = "terminate"
    CUT = "cut"
    DISK_FULL = "disk-full"
    S3 = "s3"
    RDS = "rds"
    KUBERNETES = "kubernetes"


ALL_KINDS = frozenset(ChaosKind)

SURVIVED_KINDS = ALL_KINDS - {ChaosKind.KILL, ChaosKind.KILL_WORKER}
"""Whoever is killed makes no report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChaosSettings:
    """What chaos does.

    Attributes:
        seed: The same one strikes at the same places again.
        rate: How often: of a hundred steps, sessions, files or requests, so many times a hundred (0 to 1).
        kinds: What may happen.
        longest_delay: A delay is shorter.
    """

    seed: int
    rate: float = DEFAULT_RATE
    kinds: frozenset[ChaosKind] = ALL_KINDS
    longest_delay: timedelta = _LONGEST_DELAY

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise InvalidInputError(f"a rate of chaos is between 0 and 1, not {self.rate:g}", hint="write rate=0.1")

    def as_text(self) -> str:
        """What `SQUIZZLE_CHAOS` has to be to play the same again."""
        kinds = "" if self.kinds == ALL_KINDS else f" kinds={','.join(sorted(self.kinds))}"
        return f"rate={self.rate:g} seed={self.seed}{kinds}"


def parse_chaos(text: str, *, new_seed: Callable[[], int]) -> ChaosSettings | None:
    """What the variable says. Nothing that could stand there by accident (`1`, `true`) switches chaos on.

    Args:
        text: `rate=0.1`, and if wanted `seed=42` and `kinds=raise,kill`; with spaces between.
        new_seed: Gives a seed where none is named.

    Returns:
        None where it is empty, or the rate is 0.

    Raises:
        InvalidInputError: It says something else.
    """
    if not text.strip():
        return None
    words = dict(_word(one) for one in text.split())
    if "rate" not in words or not words.keys() <= {"rate", "seed", "kinds"}:
        raise _unreadable(text)
    try:
        rate, seed = float(words["rate"]), int(words["seed"]) if "seed" in words else new_seed()
    except ValueError as exc:
        raise _unreadable(text) from exc
    kinds = parse_kinds(words["kinds"].split(",")) if "kinds" in words else ALL_KINDS
    return ChaosSettings(seed=seed, rate=rate, kinds=kinds) if rate else None


def parse_kinds(names: list[str]) -> frozenset[ChaosKind]:
    """Kinds by their names.

    Raises:
        InvalidInputError: There is no such kind.
    """
    unknown = sorted(set(names) - {one.value for one in ChaosKind})
    if unknown or not names:
        raise InvalidInputError(
            f"there is no such kind of chaos: {', '.join(unknown) or 'none was named'}",
            hint=f"there are {', '.join(one.value for one in ChaosKind)}",
        )
    return frozenset(map(ChaosKind, names))


def named_block(text: str) -> str | None:
    """The name of the block that the variable refers to as `block:NAME`; None where it does not."""
    name = text.strip().removeprefix(BLOCK)
    return name if text.strip().startswith(BLOCK) and _NAME.fullmatch(name) else None


def _word(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _unreadable(text: str) -> InvalidInputError:
    return InvalidInputError(
        f"{VARIABLE} is {text!r}, which says nothing of chaos that is understood; nothing was begun",
        hint=f"unset it, or write {VARIABLE}='rate={DEFAULT_RATE} seed=42 kinds=raise,cut' or '{BLOCK}NAME'",
    )
