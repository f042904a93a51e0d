"""What the contenders are given under load is SQL that PostgreSQL takes, and plain and careful end in the same schema."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from psycopg import sql

from bench.histories import Step
from bench.stall_changes import CHANGES, TABLES, Change
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.proof.digests import digest_schema
from tests.support.scratch import new_database

ROWS = 25_000


def after(access: ServerAccess, control: Connection, steps: Sequence[Step]) -> tuple[str, tuple[object, ...] | None]:
    """The schema's digest, and how many rows the backfill has left."""
    with new_database(control, sql.SQL("")) as database, connect(access, database, purpose="test") as connection:
        for statement in TABLES:
            connection.execute(statement.format(rows=ROWS).encode())
        for step in steps:
            for statement in step.up:
                connection.execute(statement.encode())
        left = connection.execute("SELECT count(*) FILTER (WHERE total IS NULL) FROM account").fetchone()
        return digest_schema(connection, schema="public").logical, left


@pytest.mark.one_server
@pytest.mark.parametrize("change", [one for one in CHANGES if not one.is_one_way], ids=lambda change: change.name)
def test_plain_and_careful_end_the_same(access: ServerAccess, control: Connection, change: Change) -> None:
    plain = after(access, control, change.plain)
    for steps in (change.careful, change.ours):
        assert not steps or after(access, control, steps) == plain
