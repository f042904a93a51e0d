"""Down scripts for versions that have none: generated, and proven where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from squizzle.errors import RefusedError, RollbackFailedError
from squizzle.migrations.records import Migration
from squizzle.migrations.reversal.records import Reversal, Reversibility
from squizzle.migrations.reversal.rendering import render
from squizzle.migrations.reversal.requests import Live, Means, reverse_version


def with_generated_downs(
    migrations: Sequence[Migration],
    versions: Sequence[str],
    live: Live,
    means: Means,
    *,
    accept_loss: bool,
    say: Callable[[str], None],
    keep_newer: bool = False,
) -> tuple[Migration, ...]:
    """The same migrations, with a generated down script for those of these versions that have none.

    Args:
        migrations: What is on disk.
        versions: Those that are to be taken back.
        live: The database; it is only read.
        means: What may be used for the proof.
        accept_loss: Whether a way back may lose something.
        say: Told how good each generated way back is.
        keep_newer: Whether rows that clients changed since stay as they are.

    Raises:
        RollbackFailedError: A version cannot be undone; nothing was changed.
        RefusedError: What is generated loses something, and that was not accepted; nothing was changed.
    """
    wanted = set(versions)
    return tuple(
        _with_down(one, migrations, live, means, accept_loss=accept_loss, say=say, keep_newer=keep_newer)
        if one.version in wanted and one.down_sql is None and one.program is None
        else one
        for one in migrations
    )


def _with_down(
    migration: Migration,
    migrations: Sequence[Migration],
    live: Live,
    means: Means,
    *,
    accept_loss: bool,
    say: Callable[[str], None],
    keep_newer: bool,
) -> Migration:
    found = reverse_version(migrations, migration.version, live, means, keep_newer=keep_newer)
    look = f"squizzle generate-rollback {migration.version} shows it with the reasons"
    if found.reversibility is Reversibility.NONE:
        raise RollbackFailedError(
            f"{migration.version} cannot be undone by a generated script: {_why(found)}", hint=look
        )
    if found.reversibility is Reversibility.LOSSY and not accept_loss:
        raise RefusedError(
            f"the generated way back of {migration.version} is lossy: {_why(found)}",
            hint=f"{look}; add --accept-loss when that is what you want",
        )
    say(f"{migration.version}: generated way back, {found.reversibility}; {found.proof}")
    label = f"{migration.labels.up} (generated way back)"
    return replace(migration, down_sql=render(found), labels=replace(migration.labels, down=label))


def _why(found: Reversal) -> str:
    worst = [one for one in found.statements if one.reverse.reversibility is not Reversibility.EXACT]
    reasons = [f"line {one.line}: {one.reverse.reason}" for one in worst]
    if found.whole is not None:
        reasons = [found.whole.reason]
    if found.drift:
        reasons.append(f"the database is not as the script left it: {', '.join(found.drift)}")
    return "; ".join(reasons) or found.proof
