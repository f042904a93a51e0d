"""Waivers: `-- squizzle: allow L101 until=2027-01-31 reason="the table is empty"` before a statement.

A waiver that is wrong is an error itself: one that nobody can follow, or that has had its day, must not keep a warning
quiet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from squizzle.analysis.annotations import Annotation
from squizzle.analysis.findings import Finding, Severity, Waiver

BAD_WAIVER = ("U110", "bad-waiver")
UNUSED_WAIVER = ("U111", "unused-waiver")
_SETTINGS = frozenset({"reason", "until"})
_EXAMPLE = '-- squizzle: allow L101 until=2027-01-31 reason="the table is empty"'


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """One waiver, and the codes and names that it allows."""

    allows: frozenset[str]
    waiver: Waiver


def waive(
    findings: Sequence[Finding], notes: Sequence[Annotation], *, file: str, known: Collection[str], today: date
) -> Iterator[Finding]:
    """The findings of one statement, those that are allowed marked so, and what is wrong with the waivers.

    Args:
        findings: Of the statement.
        notes: What the script says about the statement.
        file: The script's name.
        known: The codes and names of all rules.
        today: A waiver holds up to its last day.
    """
    waivers = []
    for note in notes:
        if note.word == "allow":
            problem, read = _read(note, known, today)
            if problem:
                yield _about(note, file, BAD_WAIVER, Severity.ERROR, problem)
            else:
                waivers.append((note, read))
    used = set()
    for finding in findings:
        match = next((one for _, one in waivers if one.allows & {finding.rule, finding.name}), None)
        if match is not None:
            used.add(match.waiver.line)
        yield replace(finding, waiver=match.waiver) if match else finding
    for note, read in waivers:
        if read.waiver.line not in used:
            codes = ", ".join(sorted(read.allows))
            yield _about(
                note, file, UNUSED_WAIVER, Severity.INFO, f"nothing of {codes} is found here: remove the waiver"
            )


def _read(note: Annotation, known: Collection[str], today: date) -> tuple[str, _Read]:
    """What is wrong with a waiver, or nothing; and what it says."""
    reason = _unquoted(note.settings, "reason")
    until = _unquoted(note.settings, "until")
    read = _Read(allows=frozenset(note.arguments), waiver=Waiver(reason=reason, until=until, line=note.line))
    return _problem(note, reason, until, known, today), read


def _problem(note: Annotation, reason: str, until: str, known: Collection[str], today: date) -> str:
    unknown = sorted(set(note.arguments) - set(known))
    settings = sorted(set(note.settings) - _SETTINGS)
    if not note.arguments:
        return "the waiver names no rule"
    if unknown:
        return f"there is no rule {', '.join(unknown)}"
    if settings:
        return f"a waiver has no setting {', '.join(settings)}"
    if not reason:
        return "the waiver gives no reason"
    try:
        last = date.fromisoformat(until) if until else today
    except ValueError:
        return f"until={until} is no date"
    return f"the waiver held until {until}" if last < today else ""


def _unquoted(settings: Mapping[str, str], name: str) -> str:
    text = settings.get(name, "").strip()
    is_quoted = len(text) > 1 and text.startswith('"') and text.endswith('"')
    return (text[1:-1].replace('""', '"') if is_quoted else text).strip()


def _about(note: Annotation, file: str, rule: tuple[str, str], severity: Severity, message: str) -> Finding:
    return Finding(
        file=file,
        line=note.line,
        column=1,
        rule=rule[0],
        name=rule[1],
        severity=severity,
        message=message,
        effect="A waiver that is wrong keeps nothing quiet." if rule is BAD_WAIVER else "",
        hint=f"write it like this: {_EXAMPLE}" if rule is BAD_WAIVER else "",
    )
