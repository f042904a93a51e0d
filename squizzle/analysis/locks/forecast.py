"""Which locks a statement, or a script, is expected to take. Pure: the text decides, no database is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable

from squizzle.analysis.grammar import parse_statement
from squizzle.analysis.locks.lock_map import LockMap, lock_map
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.readers import locks_of_tree
from squizzle.analysis.locks.records import Effect, Forecast, RelationLock, RelationName, RelationSet
from squizzle.analysis.locks.shapes import Role, Shape
from squizzle.analysis.records import Statement


def predict_locks(statement: Statement, measured: LockMap | None = None) -> Forecast:
    """What one statement is expected to lock.

    Rows that are written one statement at a time are told by their first words: parsing 100 MB of INSERT costs half a
    minute and tells no more.

    Args:
        statement: The statement.
        measured: The map of the server's version; the newest when nobody knows the server.
    """
    rows = _LOADS_ROWS.match(statement.sql)
    if rows is not None:
        mode = (measured or lock_map()).mode(Shape.INSERT, Role.TABLE)
        return Forecast(locks=(RelationLock(relation=_plain_name(rows), mode=mode),) if mode else ())
    return locks_of_tree(parse_statement(statement.sql), measured)


def forecast_locks(statements: Iterable[Statement], measured: LockMap | None = None) -> Forecast:
    """What a whole script is expected to lock: the strongest on each relation that was there before the script."""
    strongest: dict[RelationName, LockMode] = {}
    effects: list[tuple[RelationName, Effect]] = []
    known_as: dict[RelationName, RelationName] = {}
    created = RelationSet()
    creates: list[RelationName] = []
    complete = True
    for statement in statements:
        one = predict_locks(statement, measured).without(created)
        complete = complete and one.complete
        for lock in one.locks:
            before = known_as.get(lock.relation, lock.relation)
            strongest[before] = max(strongest.get(before, lock.mode), lock.mode, key=lambda mode: mode.strength)
        effects += one.effects
        created.update(one.creates)
        creates += one.creates
        known_as |= {new: known_as.get(old, old) for old, new in one.renames}
    locks = tuple(RelationLock(relation=relation, mode=mode) for relation, mode in sorted(strongest.items()))
    return Forecast(
        locks=locks, effects=tuple(dict.fromkeys(effects)), complete=complete, creates=tuple(dict.fromkeys(creates))
    )


# INSERT INTO name [(columns)] VALUES, and COPY name [(columns)] FROM; everything else is parsed.
_NAME = r'(?:[A-Za-z_][A-Za-z0-9_$]*|"(?:[^"]|"")+")'
_LOADS_ROWS = re.compile(
    rf"(?:INSERT\s+INTO|COPY)\s+(?:(?P<schema>{_NAME})\s*\.\s*)?(?P<name>{_NAME})\s*(?:\([^()]*\)\s*)?(?:VALUES|FROM)\b",
    re.IGNORECASE,
)


def _plain_name(match: re.Match[str]) -> RelationName:
    return RelationName(schema=_unquoted(match["schema"] or ""), name=_unquoted(match["name"]))


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def hazards_of(forecast: Forecast) -> tuple[str, ...]:
    """What a forecast means for clients and data, a sentence each; nothing for what holds nobody up."""
    sentences = []
    for lock in forecast.locks:
        if lock.mode.blocks_reads:
            sentences.append(f"blocks reads and writes of {lock.relation}")
        elif lock.mode.blocks_writes:
            sentences.append(f"blocks writes of {lock.relation}")
    sentences += [f"{effect} {relation}" for relation, effect in forecast.effects]
    if not forecast.complete:
        sentences.append("may lock more than its text says")
    return tuple(sentences)
