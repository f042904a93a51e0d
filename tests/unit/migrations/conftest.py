"""Migrations and history rows, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.migrations.layouts.files import checksum
from squizzle.migrations.records import Direction, HistoryRow, Labels, Migration

MakeMigration = Callable[..., Migration]
MakeRow = Callable[..., HistoryRow]


@pytest.fixture(scope="session")
def make_migration() -> MakeMigration:
    def make(
        version: str, up: str = "SELECT 1;", down: str | None = "SELECT -1;", verify: str | None = None
    ) -> Migration:
        return Migration(
            version=version,
            name="change",
            up_sql=up,
            down_sql=down,
            verify_sql=verify,
            checksum=checksum(up),
            source=Path(f"migrations/{version}_change"),
            labels=Labels(
                up=f"{version}_change/up.sql",
                down=f"{version}_change/down.sql",
                verify=f"{version}_change/verify.sql",
            ),
        )

    return make


@pytest.fixture(scope="session")
def make_row() -> MakeRow:
    def make(
        number: int,
        version: str,
        *,
        success: bool | None = True,
        direction: Direction = Direction.APPLY,
        statements_done: int = 0,
        checksum_of: str | None = "SELECT 1;",
        schema_digest: str | None = None,
    ) -> HistoryRow:
        return HistoryRow(
            id=number,
            version=version,
            name="change",
            direction=direction,
            success=success,
            applied_at=datetime(2025, 3, 1, 12, 0, tzinfo=UTC) + timedelta(minutes=number),
            applied_by="app",
            error=None if success is not False else "it failed",
            checksum=None if checksum_of is None else checksum(checksum_of),
            statements_done=statements_done,
            schema_digest=schema_digest,
        )

    return make
