"""A way back as SQL that can be read and run. Pure; the same way back always gives the same text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from squizzle.migrations.reversal.records import Reversal, Reverse, ReversedStatement, Reversibility

_WIDTH = 110
_MARK = "-- "


def render(reversal: Reversal) -> str:
    """The whole way back: what is to be known first, then the statements, newest first."""
    blocks = ["\n".join(_head(reversal)), *_saves(reversal), *_ways(reversal)]
    return "\n\n".join(blocks) + "\n"


def _head(reversal: Reversal) -> Iterator[str]:
    yield f"-- The way back of {reversal.source}, generated from it. Reversibility: {reversal.reversibility}."
    yield from _comment(reversal.proof)
    if reversal.drift:
        yield from _comment(f"the database is not as the script left it: {', '.join(reversal.drift)}")
    if reversal.differences:
        yield from _comment(f"differs afterwards: {', '.join(reversal.differences)}")


def _comment(text: str) -> list[str]:
    if not text:
        return []
    return textwrap.wrap(
        text, _WIDTH, initial_indent=_MARK, subsequent_indent=_MARK, break_long_words=False, break_on_hyphens=False
    )


def _saves(reversal: Reversal) -> Iterator[str]:
    for one in reversal.statements:
        if one.reverse.save and not reversal.whole:
            line = f"line {one.line} of {reversal.source}"
            yield "\n".join(
                [
                    f"-- Right before {line} this must have been run, in one transaction with it:",
                    *_indented(one.reverse.save.before),
                    *([f"-- and right behind {line}:"] if one.reverse.save.after else []),
                    *_indented(one.reverse.save.after),
                ]
            )


def _indented(statements: Sequence[str]) -> Iterator[str]:
    for text in statements:
        yield from (f"--     {line}" for line in f"{text};".splitlines())


def _ways(reversal: Reversal) -> Iterator[str]:
    if reversal.whole is not None:
        yield "\n".join([*_comment(f"{reversal.whole.reversibility}: {reversal.whole.reason}"), _run(reversal.whole)])
        return
    yield from (_way(one) for one in reversed(reversal.statements))


def _way(one: ReversedStatement) -> str:
    first = " ".join(one.sql.split())
    shown = first if len(first) <= _WIDTH else f"{first[: _WIDTH - 4]} ..."
    lines = [f"-- Line {one.line}: {shown}", *_comment(_judgement(one.reverse))]
    if one.reverse.statements:
        lines.append(_run(one.reverse))
    return "\n".join(lines)


def _judgement(reverse: Reverse) -> str:
    if reverse.statements:
        return f"{reverse.reversibility}: {reverse.reason}"
    if reverse.reversibility is Reversibility.EXACT:
        return f"nothing to do: {reverse.reason}"
    return f"cannot be undone, because {reverse.reason}"


def _run(reverse: Reverse) -> str:
    return "\n".join(f"{text};" for text in reverse.statements)
