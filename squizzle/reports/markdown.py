"""Pieces that every report is made of, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from squizzle.durations import words
from squizzle.proof.records import Comparison, DatabaseDigest, SchemaMatch
from squizzle.recovery.evidence import Step, StepState

# A report is read by a person; past this many lines a list is counted, not shown.
_MOST_LINES = 40
_A_MINUTE = timedelta(minutes=1)
_STATES = {StepState.FAILED: "FAILED", StepState.RUNNING: "not finished"}


def bullets(lines: Sequence[str]) -> str:
    """A list; the end of a long one is only counted."""
    shown = [f"- {line}" for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(f"- … and {len(lines) - _MOST_LINES} more")
    return "\n".join(shown)


def more(links: Mapping[str, str]) -> str:
    """Where more is to be read.

    Args:
        links: What it is, and its address; at least one.
    """
    return "More: " + ", ".join(f"[{what}]({address})" for what, address in links.items())


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a cell keeps to its line whatever it holds."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    # A backslash before the bar would take away the meaning of ours.
    return re.sub(r"(?<=\\)\|", " |", " ".join(re.split(r"[\r\n]+", text))).replace("|", "\\|")


# Code, in which nothing has a meaning: between fences, or between as many backticks as it began with in one cell of one
# line. Rather too little is taken for code than too much.
_CODE = re.compile(
    r"^(?P<fence>`{3,})[^`\n]*\n(?:.*\n)*? {0,3}(?P=fence)`*[ \t]*$"
    r"|(?<![`\\])(?P<ticks>`+)(?!`)(?:\\\||[^|\n])+?(?<!`)(?P=ticks)(?!`)",
    re.MULTILINE,
)
_TAG = re.compile(r"<(?!https?://[^\s<>]*>)")


def without_html(markdown: str) -> str:
    """The same without tags: our reports have none, so one that is there came with a name or a message.

    Code stays as it is, for nothing in it is taken for a tag; addresses in angle brackets do, too.
    """
    done, place = [], 0
    markdown = markdown.replace("\r\n", "\n").replace("\r", "\n")
    for code in _CODE.finditer(markdown):
        done += [_TAG.sub("&lt;", markdown[place : code.start()]), code[0]]
        place = code.end()
    return "".join([*done, _TAG.sub("&lt;", markdown[place:])])


def seconds(duration: timedelta | None) -> str:
    """How long something took: hundredths of a second below a minute, words above it."""
    if duration is None:
        return "not measured"
    return f"{duration.total_seconds():.2f} s" if duration < _A_MINUTE else words(duration)


def number(value: int | None) -> str:
    """How many; of a table that is missing, that it is."""
    return "not there" if value is None else f"{value:,}"


def timeline(steps: Sequence[Step]) -> str:
    """What was done, in order, at UTC. No table: on an artifact's page the ends of its lines would be cut off."""
    return "\n".join(f"- {step.started_at:%H:%M:%S} {_step(step)}" for step in steps)


def _step(step: Step) -> str:
    state = "" if step.state is StepState.DONE else f", **{_STATES[step.state]}**"
    detail = " ".join(step.detail.split())
    return f"**{step.title}**{state}, {seconds(step.duration)}{f': {detail}' if detail else ''}"


_SCHEMAS = {
    SchemaMatch.EXACT: "Definitions: **the same**.",
    SchemaMatch.LOGICAL: "Definitions: **the same in meaning**; spelling or order of columns differs, as after a dump.",
    SchemaMatch.DIFFERENT: "Definitions: **DIFFERENT**.",
}


def schema_words(match: SchemaMatch) -> str:
    """How far two schemas are the same, in a sentence."""
    return _SCHEMAS[match]


def compared(comparison: Comparison, saved: DatabaseDigest) -> Iterator[str]:
    """A comparison with what was saved, table by table, and every difference."""
    digests = {one.table: one.digest for one in saved.tables}
    yield schema_words(comparison.schema)
    yield table(
        ("table", "rows saved", "rows found", "fingerprint saved", "equal"),
        [
            (
                f"`{one.table}`",
                number(one.expected_rows),
                number(one.found_rows),
                f"`{digests.get(one.table, '')}`",
                "yes" if one.equal else "**NO**",
            )
            for one in comparison.tables
        ],
    )
    yield bullets(comparison.sentences())
