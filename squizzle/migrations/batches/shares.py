"""A share of the rows of one version: which statement it is counted in, and where it ends. Pure.

A script may have several statements that run in batches. The first marked one that is not finished when the first share
begins carries the shares: what stands before it runs whole with the first share, what stands behind it with the rest of
its rows, for it may need all of them. Statements that run in batches by policy, without a mark, carry none.

The end of a share is counted in what is left: behind 5 % at most 95 % are still to be done of the rows that were
counted when the first share began. So rows that come meanwhile in a range still to come belong to the next share, rows
that go make it smaller, and a kill in the middle changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.migrations.batch_records import Share
from squizzle.migrations.records import Migration, PlannedMigration
from squizzle.migrations.units import UnitKind

_WHOLE = 100


def until_share(steps: Sequence[PlannedMigration], version: str | None, pct: int) -> tuple[PlannedMigration, ...]:
    """The steps up to a version, and of that one only a share of its rows; none when it is applied already.

    Args:
        steps: As they would run whole.
        version: Whose rows.
        pct: From 1 to 99.

    Raises:
        InvalidInputError: The version has no statement that could carry a share, or none is named.
    """
    if version is None or not 0 < pct < _WHOLE:
        raise InvalidInputError(
            f"{pct} % of the rows of {version or 'no version'} cannot be done",
            hint="name the version, and from 1 to 99 %",
        )
    place = next((place for place, step in enumerate(steps) if step.migration.version == version), None)
    if place is None:
        return ()
    last = steps[place]
    share = Share(position=_carrying(last), pct=pct)
    units = tuple(unit for unit in last.units if unit.ends_at <= share.position + 1)
    return (*steps[:place], replace(last, units=units, verify=(), share=share))


def carries_shares(migration: Migration) -> bool:
    """Whether a statement of it is marked to run in batches, so that a rollout may stop at a share of its rows.

    Raises:
        InvalidInputError: The script cannot be read, or its mark is wrong.
    """
    # Most have no mark, and a large script takes a while to read.
    if "batch" not in migration.up_sql:
        return False
    return any(one.batch is not None for one in split_statements(migration.up_sql, source=migration.labels.up))


def _carrying(step: PlannedMigration) -> int:
    """The place of the statement that carries the shares, counted from 0."""
    if step.progress is not None and step.progress.staged is not None:
        return step.progress.staged.position
    for unit in step.units:
        if unit.kind is UnitKind.BATCHES and unit.statements[0].batch and not unit.statements[0].batch.automatic:
            return unit.ends_at - 1
    if step.progress is not None and step.progress.statements:
        return step.progress.statements[-1].position
    raise InvalidInputError(
        f"{step.source} has no statement that is marked to run in batches, so there is no share of its rows",
        hint="mark one (-- squizzle: batch key=id), or do the version whole",
    )


def rows_to_do(share_of: int, left: int, pct: int) -> int:
    """How many of the rows that are left a share does; rounded down, but the first of many is one at least.

    Args:
        share_of: What the share is a share of.
        left: Rows that are still to be done.
        pct: So much is done afterwards.
    """
    wanted = max(1, share_of * pct // _WHOLE)
    return max(0, left - max(0, share_of - wanted))
