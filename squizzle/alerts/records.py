"""What travels about alerts: rules, and what looking at one found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from squizzle.severity import Severity


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertRule:
    """When somebody has to be told.

    Attributes:
        name: What it is called; unique among all rules that are read together.
        condition: One SELECT of one boolean, without a semicolon; the rule fires where it is true.
        severity: How bad that is.
        notify: Names of the channels by which people are told; empty for those of the severity.
        hold: How long the condition has to be true before it fires (`for`).
        place: File and line, for messages.
    """

    name: str
    condition: str
    severity: Severity
    notify: tuple[str, ...] = ()
    hold: timedelta = timedelta()
    place: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertResult:
    """What looking at one rule in one database found.

    Attributes:
        rule: Which.
        is_true: Whether its condition is; None when that could not be found out, which is never as good as false.
        why: Why it could not; empty otherwise.
    """

    rule: AlertRule
    is_true: bool | None
    why: str = ""
