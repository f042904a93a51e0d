"""The example company: every version goes up, comes down, and goes up again to the very same schema."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from squizzle.migrations.history import read_history
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions, roll_back_versions, verify_versions
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.identity import Target
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database, digest_schema


def test_the_example_is_applied_and_verifies(connection: Connection, target: Target, shop: Path) -> None:
    migrations = read_migrations(shop / "migrations")

    report = apply_versions(connection, target, migrations)

    assert [outcome.version for outcome in report.outcomes] == [migration.version for migration in migrations]
    checks = verify_versions(connection, target, migrations)
    assert [check for check in checks if not check.ok] == []
    assert len(checks) == 2 * len(migrations) + 3  # drift, invalid indexes, constraints not validated
    scripts = [check.detail for check in checks if check.name.endswith("verify.sql")]
    assert all(detail.endswith("checks hold") and not detail.startswith("0 ") for detail in scripts)


@pytest.mark.one_server
def test_the_example_comes_back_to_the_same_schema_at_every_step_of_the_ladder(
    connection: Connection, target: Target, shop: Path
) -> None:
    migrations = read_migrations(shop / "migrations")
    versions = [migration.version for migration in migrations]
    empty = digest_schema(connection, schema="public").logical
    up = {}
    for version in versions:
        apply_versions(connection, target, migrations, only=version)
        up[version] = digest_database(connection)

    for version, below in zip(versions[::-1], [*versions[-2::-1], None], strict=True):
        roll_back_versions(connection, target, migrations, only=version)
        if below is not None:
            comparison = compare_digests(up[below], digest_database(connection))
            assert comparison.is_equal, (version, comparison.sentences())
    assert digest_schema(connection, schema="public").logical == empty
    assert read_history(connection, "public").current is None

    apply_versions(connection, target, migrations)
    comparison = compare_digests(up[versions[-1]], digest_database(connection))
    assert comparison.is_equal, comparison.sentences()
    assert all(check.ok for check in verify_versions(connection, target, migrations))


# Every version after this one comes down without losing a row.
KEEPS_ROWS = "0004"


@pytest.mark.one_server
def test_the_rows_of_the_example_survive_the_way_back_and_up_again(
    access: ServerAccess, connection: Connection, target: Target, shop: Path
) -> None:
    migrations = read_migrations(shop / "migrations")
    apply_versions(connection, target, migrations)
    fill(access, target.database, shop)
    before = digest_database(connection)
    assert before.rows > 1000
    assert all(table.rows for table in before.tables if not table.table.startswith("public.orders_"))

    roll_back_versions(connection, target, migrations, to=KEEPS_ROWS)
    assert read_history(connection, "public").current == KEEPS_ROWS
    apply_versions(connection, target, migrations)

    comparison = compare_digests(before, digest_database(connection))
    assert comparison.is_equal, comparison.sentences()
    assert all(check.ok for check in verify_versions(connection, target, migrations))


def fill(access: ServerAccess, database: str, shop: Path) -> None:
    """Load the example's data with its own generator."""
    libpq = {"PGHOST": access.host, "PGPORT": str(access.port), "PGUSER": access.user, "PGDATABASE": database}
    subprocess.run(
        [sys.executable, shop / "generate.py", "--scale", "0.02"],
        env=os.environ | libpq,
        check=True,
        capture_output=True,
        timeout=120,
    )
