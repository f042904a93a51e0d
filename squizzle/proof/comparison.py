"""What differs between two digests; nothing is asked of a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from squizzle.proof.records import (
    Comparison,
    DatabaseDigest,
    SchemaDigest,
    SchemaMatch,
    SchemaObject,
    TableComparison,
    TableDigest,
)

# Further rows about an object that has a row of its own: they come and go with it.
_COMPANIONS = frozenset(
    {
        "constraint origin",
        "constraint state",
        "constraint triggers",
        "domain constraint state",
        "function state",
        "index state",
        "partition key",
        "policy check",
        "policy using",
        "publication filter",
        "rule state",
        "statistics state",
        "trigger state",
        "view definition",
    }
)

# pg_dump leaves these out (manual, "pg_dump", is silent about it; getIndexes() in its source is not).
_NOT_IN_A_DUMP = "invalid index"


def compare_digests(expected: DatabaseDigest, found: DatabaseDigest) -> Comparison:
    """Everything in which `found` differs from `expected`. Pure.

    A sequence may stand higher than expected: sequences do not follow snapshots, and a gap in numbers harms nobody,
    while a lower one would give out numbers that are taken.
    """
    there = {(one.kind, one.name): one for one in found.schema.objects}
    wanted = _without_lost({(one.kind, one.name): one for one in expected.schema.objects}, there)
    return Comparison(
        schema=SchemaMatch.EXACT if expected.schema.strict == found.schema.strict else _logical_match(wanted, there),
        missing=_top_labels([wanted[key] for key in wanted.keys() - there.keys()]),
        changed=_labels(one for key, one in wanted.items() if key in there and there[key].logical != one.logical),
        unexpected=_top_labels([there[key] for key in there.keys() - wanted.keys()]),
        tables=_compare_tables(expected.tables, found.tables),
        sequences=_compare_sequences(expected.sequences, found.sequences),
    )


_Objects = Mapping[tuple[str, str], SchemaObject]


def differing_objects(expected: SchemaDigest, found: SchemaDigest) -> frozenset[tuple[str, str]]:
    """Kind and name of everything that is not there in both with the same meaning. Pure."""
    wanted = {(one.kind, one.name): one.logical for one in expected.objects}
    there = {(one.kind, one.name): one.logical for one in found.objects}
    return frozenset(key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key))


def _without_lost(wanted: _Objects, there: _Objects) -> _Objects:
    """What must be there: an index that was not valid may be gone, for no query could use it and no dump has it."""
    gone = {name for kind, name in wanted.keys() - there.keys() if kind == _NOT_IN_A_DUMP}
    return {
        key: one
        for key, one in wanted.items()
        if key in there or one.name not in gone or one.kind not in {_NOT_IN_A_DUMP, "index state"}
    }


def _logical_match(wanted: _Objects, there: _Objects) -> SchemaMatch:
    same = {key: one.logical for key, one in wanted.items()} == {key: one.logical for key, one in there.items()}
    return SchemaMatch.LOGICAL if same else SchemaMatch.DIFFERENT


def _labels(objects: Iterable[SchemaObject]) -> tuple[str, ...]:
    return tuple(sorted({one.label for one in objects}))


def _top_labels(objects: Sequence[SchemaObject]) -> tuple[str, ...]:
    """The objects that are gone (or new) themselves: the columns of a table that is gone say nothing more."""
    tops = {one.name for one in objects if not one.parent}
    return _labels(one for one in objects if one.parent not in tops and one.kind not in _COMPANIONS)


def _compare_tables(expected: Sequence[TableDigest], found: Sequence[TableDigest]) -> tuple[TableComparison, ...]:
    wanted = {one.table: one for one in expected}
    there = {one.table: one for one in found}
    return tuple(
        TableComparison(
            table=name,
            expected_rows=wanted[name].rows if name in wanted else None,
            found_rows=there[name].rows if name in there else None,
            equal=wanted.get(name) == there.get(name),
        )
        for name in sorted(wanted.keys() | there.keys())
    )


def _compare_sequences(expected: Mapping[str, int | None], found: Mapping[str, int | None]) -> tuple[str, ...]:
    behind = []
    for name, position in sorted(expected.items()):
        if name not in found:
            behind.append(f"{name} is not there")
        elif position is not None and (found[name] or 0) < position:
            behind.append(f"{name} stands at {found[name]}, expected at least {position}")
    return tuple(behind)
