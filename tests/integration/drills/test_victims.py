"""What drills break is found in any database: whatever its tables are called, and never a key, a check or an index."""

from __future__ import annotations

import pytest

from squizzle.drills.victims import find_index, find_victim
from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import Connection

pytestmark = pytest.mark.one_server

ODD = 'Shop "of" Ann; --'


def test_the_column_that_is_spoiled_is_in_no_key_check_or_index_and_every_row_of_it_changes(
    connection: Connection,
) -> None:
    connection.execute(
        """CREATE TABLE "Shop ""of"" Ann; --" (
            id int PRIMARY KEY, code text UNIQUE, kind text CHECK (kind <> ''), part text,
            "free 'text" varchar(4), made int GENERATED ALWAYS AS (id + 1) STORED);
        CREATE INDEX ON "Shop ""of"" Ann; --" (part);
        CREATE TABLE empty (note text);
        INSERT INTO "Shop ""of"" Ann; --" SELECT n, n::text, 'k', 'p', 'ab' || n FROM generate_series(1, 9) AS n"""
    )

    victim = find_victim(connection, schema="public")

    assert (victim.table, victim.column) == (ODD, "free 'text")
    assert connection.execute(victim.update.encode()).rowcount == 9
    query = """SELECT count(*) FROM "Shop ""of"" Ann; --" WHERE "free 'text" = id || 'ba'"""
    assert connection.execute(query).fetchone() == (9,)


def test_the_index_that_is_lost_is_one_that_nothing_but_speed_needs(connection: Connection) -> None:
    connection.execute(
        """CREATE TABLE "odd one" (id int PRIMARY KEY, "who's" int, few int, twice int);
        CREATE INDEX "by ""who" ON "odd one" ("who's", few);
        CREATE INDEX ON "odd one" (few); CREATE INDEX ON "odd one" (twice); CREATE INDEX ON "odd one" (twice, few);
        INSERT INTO "odd one" SELECT n, n / 2, n % 3, n FROM generate_series(1, 2000) AS n; ANALYZE"""
    )

    lost, values = find_index(connection, schema="public")

    assert lost.index == 'by "who'
    before = connection.execute(lost.query.encode(), (values,)).fetchone()
    connection.execute(lost.drop.encode())
    assert connection.execute(lost.query.encode(), (values,)).fetchone() == before
    connection.execute(lost.definition.encode())
    assert find_index(connection, schema="public")[0] == lost


def test_a_database_with_nothing_to_break_is_told(connection: Connection) -> None:
    connection.execute("CREATE TABLE t (id int PRIMARY KEY)")

    with pytest.raises(CouldNotVerifyError, match="no table of the schema public has rows and a column outside"):
        find_victim(connection, schema="public")
    with pytest.raises(CouldNotVerifyError, match="has no index of a table with 500 rows"):
        find_index(connection, schema="public")
