"""Folders in which several files may share a number: there the whole name is the version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.order import NAMES, as_version_text
from squizzle.migrations.records import Migration


def with_own_versions(migrations: Sequence[Migration]) -> list[Migration]:
    """Give every migration whose number others have, too, its whole file name as version; the others keep theirs.

    `3_users.sql` and `3_orders.sql` become `3.users` and `3.orders` (`order.NAMES`). Only these: the version of a
    migration that was applied must not change because a file with another number comes along.

    Raises:
        InvalidInputError: A shared number and a name with other characters than letters, digits, `_` and `-`.
    """
    numbers = Counter(int(migration.version) for migration in migrations)
    return [_whole(one) if numbers[int(one.version)] > 1 else one for one in migrations]


def _whole(migration: Migration) -> Migration:
    rest = migration.source.stem.removeprefix(migration.version)
    text = as_version_text(rest, NAMES)
    if text is None:
        raise InvalidInputError(
            f"{migration.source} shares its number, so its whole name is its version, and this name cannot be one",
            hint="give it a number of its own, or only letters, digits, _ and -",
        )
    return replace(migration, version=migration.version + text)
