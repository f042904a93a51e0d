"""What was looked at, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from squizzle.errors import SquizzleError


class State(StrEnum):
    """How it is; each has one sign."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_LOOKED = "not looked"


SIGNS = {State.OK: "✓", State.WARNING: "!", State.PROBLEM: "✗", State.NOT_LOOKED: "-"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is, with the environment before it where it is one's own: `staging: clock`.
        state: How it is.
        detail: What was found.
        hint: What to do; empty where nothing has to be done.
    """

    name: str
    state: State = State.OK
    detail: str
    hint: str = ""


def looked(name: str, check: Callable[[], Iterable[Finding]]) -> tuple[Finding, ...]:
    """What a check finds; an error of ours is a finding, too, and nothing else of that check is known then.

    Args:
        name: Of the finding that an error becomes.
        check: Looks; what it found before an error counts.
    """
    found: list[Finding] = []
    try:
        for one in check():
            found.append(one)  # noqa: PERF402 - what came before an error stays
    except SquizzleError as exc:
        found.append(Finding(name=name, state=State.PROBLEM, detail=exc.message, hint=exc.hint))
    return tuple(found)


def is_ready(findings: Sequence[Finding]) -> bool:
    """Whether nothing is in the way; warnings are not, and what was not looked at is not known."""
    return not any(one.state is State.PROBLEM for one in findings)
