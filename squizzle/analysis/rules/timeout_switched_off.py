"""A script lifts the limits that protect clients from it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from squizzle.analysis.actions import SetParameter
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_UNITS = {"": 1, "us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_VALUE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d|)\s*")
# A client that waits longer sees its own timeout; the settings of web servers are between 2 and 60 s.
_LONGEST_LOCK_WAIT_MS = 5_000


def _check(action: SetParameter, _context: Context) -> Iterator[Hit]:
    if action.name not in {"lock_timeout", "statement_timeout"}:
        return
    found = _VALUE.fullmatch(action.value)
    if not found:
        return
    limit = float(found[1]) * _UNITS[found[2]]
    is_lock = action.name == "lock_timeout"
    if limit == 0:
        yield Hit(
            message=f"switches {action.name} off",
            hint=f"SET LOCAL {action.name} = '{'1s' if is_lock else '1h'}';",
            severity=Severity.ERROR if is_lock else None,
        )
    elif is_lock and limit > _LONGEST_LOCK_WAIT_MS:
        yield Hit(message=f"waits up to {action.value} for a lock", hint="SET LOCAL lock_timeout = '1s';")


RULE = Rule(
    code="L133",
    name="timeout-switched-off",
    severity=Severity.WARNING,
    condition="lock_timeout or statement_timeout is set to 0, or lock_timeout to more than 5 seconds.",
    effect="DDL that waits for a lock makes every later query of the table wait behind it, for as long as the limit"
    " allows.",
    safe_way="Leave the limits to Squizzle: short tries with pauses; or a short one of your own with SET LOCAL.",
    bad="SET lock_timeout = 0;",
    good="SET LOCAL lock_timeout = '500ms';",
    source="PostgreSQL manual, lock_timeout",
    on=(SetParameter,),
    check=_check,
)
