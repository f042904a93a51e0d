"""Findings for a person, a pipeline and a code host: text, JSON, SARIF, annotations of GitHub."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from squizzle import __version__
from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.lint import LintResult
from squizzle.analysis.locks.side import SideLock
from squizzle.analysis.rules.rule import Rule

# A table may have a thousand partitions.
_SIDE_LOCKS_SHOWN = 12


def as_document(result: LintResult) -> dict[str, object]:
    """The JSON document of the contract."""
    return {
        "findings": [_document(one) for one in result.findings],
        "summary": {
            "files": result.files,
            "statements": result.statements,
            **{severity.value: result.count(severity) for severity in Severity},
            "waived": sum(one.waiver is not None for one in result.findings),
        },
    }


def _document(one: Finding) -> dict[str, object]:
    return {
        "file": one.file,
        "line": one.line,
        "column": one.column,
        "rule": one.rule,
        "name": one.name,
        "severity": one.severity.value,
        "message": one.message,
        "effect": one.effect,
        "lock": one.lock or None,
        "relation": one.relation or None,
        "hint": one.hint,
        "also_locks": side_documents(one.also_locks),
        "waived": {"reason": one.waiver.reason, "until": one.waiver.until or None} if one.waiver else None,
    }


def side_documents(side: Iterable[SideLock]) -> list[dict[str, str]]:
    """Side locks as they stand in JSON documents."""
    return [{"relation": str(one.relation), "lock": one.mode.value, "because": one.because} for one in side]


def as_text(result: LintResult, sources: Mapping[str, str]) -> str:
    """Like a good compiler: the line, a caret, what it does, and what to write instead.

    Args:
        result: What was found.
        sources: The scripts by their names.
    """
    # Once a script, not once a finding: of a large one there may be thousands.
    lines = {file: sources.get(file, "").split("\n") for file in dict.fromkeys(one.file for one in result.findings)}
    parts = ["\n".join(_paragraph(one, lines[one.file])) for one in result.findings]
    return "\n\n".join([*parts, _sum(result)])


def _paragraph(one: Finding, lines: Sequence[str]) -> Iterator[str]:
    yield f"{'allowed ' if one.waiver else ''}{one.severity}[{one.rule}] {one.name}: {one.message}"
    yield f"  --> {one.file}:{one.line}:{one.column}"
    if one.line <= len(lines):
        shown, place = _excerpt(lines[one.line - 1], one.column - 1)
        gutter = " " * len(str(one.line))
        yield f"  {one.line} | {shown}"
        yield f"  {gutter} | {' ' * place}^"
    if one.lock:
        yield f"  lock:    {one.lock} on {one.relation}"
    yield from (f"  also locks: {line}" for line in side_lines(one.also_locks))
    if one.effect:
        yield f"  why:     {one.effect}"
    if one.hint:
        first, *rest = one.hint.split("\n")
        yield f"  instead: {first}"
        yield from (f"           {line}" for line in rest)
    if one.waiver:
        until = f" until {one.waiver.until}" if one.waiver.until else ""
        yield f"  waived:  {one.waiver.reason}{until}"


# Characters of a line: what fits on a wide screen; rows of an INSERT may stand on a line of a megabyte.
_WIDEST = 160
_BEFORE_PLACE = 60


def _excerpt(line: str, place: int) -> tuple[str, int]:
    """The part of a line around a place that is shown, and where the place is in it."""
    begin = max(0, place - _BEFORE_PLACE) if len(line) > _WIDEST else 0
    shown = line[begin : begin + _WIDEST]
    before = "…" if begin else ""
    after = "…" if begin + _WIDEST < len(line) else ""
    # A tab is as wide as the blank under it; other signs that move the cursor do not reach the terminal.
    printed = "".join(sign if sign.isprintable() else " " for sign in shown)
    return f"{before}{printed}{after}".rstrip(), place - begin + len(before)


def side_lines(side: Sequence[SideLock]) -> Iterator[str]:
    """Side locks for a person, the first of many."""
    yield from (one.sentence() for one in side[:_SIDE_LOCKS_SHOWN])
    if len(side) > _SIDE_LOCKS_SHOWN:
        yield f"and {len(side) - _SIDE_LOCKS_SHOWN} more (--json names all)"


def _sum(result: LintResult) -> str:
    counts = [f"{result.count(severity)} {severity}" for severity in Severity]
    waived = sum(one.waiver is not None for one in result.findings)
    where = f"{result.statements} statements in {result.files} scripts"
    return f"{', '.join(counts)}, {waived} waived; {where}"


_SARIF_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def as_sarif(result: LintResult, rules: Sequence[Rule]) -> str:
    """SARIF 2.1.0 (OASIS standard), which code hosts show beside the lines."""
    driver = {
        "name": "squizzle",
        "version": __version__,
        "rules": [*(_sarif_rule(rule) for rule in rules), *_foreign_rules(result)],
    }
    results = [_sarif_result(one) for one in result.findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, ensure_ascii=False)


def _sarif_rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.condition},
        "fullDescription": {"text": rule.effect},
        "help": {"text": rule.safe_way},
        "defaultConfiguration": {"level": _SARIF_LEVELS[rule.severity]},
    }


def _foreign_rules(result: LintResult) -> list[dict[str, object]]:
    """Rules of a second opinion, of which we know no more than the name."""
    names = dict.fromkeys((one.rule, one.name) for one in result.findings if one.rule.startswith("squawk:"))
    return [{"id": code, "name": name} for code, name in names]


def _also(one: Finding) -> str:
    return f" Also locks {', '.join(side_lines(one.also_locks))}." if one.also_locks else ""


def _sarif_result(one: Finding) -> dict[str, object]:
    place = {
        # A reference by RFC 3986, not a path.
        "artifactLocation": {"uri": quote(one.file.replace("\\", "/"))},
        "region": {"startLine": one.line, "startColumn": one.column},
    }
    found: dict[str, object] = {
        "ruleId": one.rule,
        "level": _SARIF_LEVELS[one.severity],
        "message": {"text": _sentences(one, " ")},
        "locations": [{"physicalLocation": place}],
    }
    if one.waiver:
        found["suppressions"] = [{"kind": "inSource", "justification": one.waiver.reason}]
    return found


def _sentences(one: Finding, before_hint: str) -> str:
    """What is found, why it matters and what to do instead, as far as they are known."""
    said = one.message if one.message.endswith(".") else f"{one.message}."
    hint = f"{before_hint}Instead: {one.hint}" if one.hint else ""
    return f"{said}{_also(one)} {one.effect}".rstrip() + hint


_GITHUB_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def as_github(result: LintResult) -> str:
    """Workflow commands of GitHub Actions, a line each; what is waived is left out."""
    return "\n".join(_github(one) for one in result.findings if one.waiver is None)


def _github(one: Finding) -> str:
    # Properties and messages are escaped as the toolkit of GitHub Actions does (packages/core/src/command.ts).
    title = _escape(f"{one.rule} {one.name}").replace(":", "%3A").replace(",", "%2C")
    file = _escape(one.file).replace(":", "%3A").replace(",", "%2C")
    message = _escape(_sentences(one, "\n"))
    return f"::{_GITHUB_LEVELS[one.severity]} file={file},line={one.line},col={one.column},title={title}::{message}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
