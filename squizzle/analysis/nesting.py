"""How deeply a statement may nest, without parsing it."""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.analysis.scanner import UnreadableError, words_of

# Behind these nothing nests in what stood before them; `a AND b AND c` is one level, ORs too.
_FLAT_WORDS = frozenset({",", "AND", "OR", ";", "THEN", "WHEN", "ELSE"})
# Each nests all that stood before it, commas or not: SELECT a, b UNION SELECT c, d.
_CHAINING = frozenset({"UNION", "INTERSECT", "EXCEPT", "JOIN"})
_OPENING = frozenset({"(", "[", "CASE"})
_CLOSING = frozenset({")", "]", "END"})


def levels_of(text: str) -> int:
    """At least as many levels as the tree of a statement has, told from its tokens: no nesting ends this process.

    Brackets count, and signs and words between two commas; a plain CREATE TABLE has about ten. A level is at the most
    four messages of the tree, and a statement has about eight besides (a property test compares them).

    Args:
        text: One statement of moderate length; all of its tokens are in memory at once.
    """
    try:
        words = words_of(text)
    except UnreadableError:
        return 0  # the grammar cannot read it either
    brackets = [_Bracket(word="", base=0)]
    level = 0
    for word in words:
        # A name or a literal is no level of its own.
        if not word:
            continue
        inmost = brackets[-1]
        if word in _OPENING:
            level += 1
            brackets.append(_Bracket(word=word, base=level))
        elif word in _CLOSING:
            # All that is in a bracket may be the first term of a chain that goes on behind it.
            level = max(level, _close(brackets, word))
        elif word == "AND" and inmost.betweens > 0:
            inmost.betweens -= 1
        elif word in _FLAT_WORDS:
            level = inmost.base
        elif word in _CHAINING:
            level = inmost.base = inmost.deepest + 1
        else:
            inmost.betweens += word == "BETWEEN"
            level += 1
        brackets[-1].deepest = max(brackets[-1].deepest, level)
    return max(bracket.deepest for bracket in brackets)


@dataclass(slots=True)
class _Bracket:
    """What is open, the level behind it and behind each of its commas, and the deepest one in it."""

    word: str
    base: int
    deepest: int = 0
    betweens: int = 0


def _close(brackets: list[_Bracket], word: str) -> int:
    """Leave the bracket that a word closes; the deepest level in what was left. END may also be a name."""
    deepest = 0
    while len(brackets) > 1 and (word != "END" or brackets[-1].word == "CASE"):
        closed = brackets.pop()
        deepest = max(deepest, closed.deepest)
        if word == "END" or closed.word != "CASE":
            break
    return deepest
