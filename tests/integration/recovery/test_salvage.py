"""Rows that only the damaged database has: found to the last one, kept, merged where they fit."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from squizzle.cli.main import run
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.recovery.fence import fence
from squizzle.recovery.salvage.keeping import compare_rows, read_salvages, take_salvage
from squizzle.recovery.salvage.merging import merge_rows
from squizzle.recovery.salvage.records import RowKind, Salvage, TableSalvage
from squizzle.recovery.sequences import carry_sequences
from tests.integration.conftest import SERVERS
from tests.support.scratch import new_database

NOW = datetime(2027, 1, 31, tzinfo=UTC)
BOTH = (RowKind.ADDED, RowKind.CHANGED)

SHOP = """
    CREATE TABLE customer (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE, born date);
    CREATE TABLE "Order" ("order no" int, line int, customer bigint REFERENCES customer, price numeric(8,2),
        tax numeric GENERATED ALWAYS AS (price * 0.2) STORED, at timestamptz, PRIMARY KEY ("order no", line));
    CREATE TABLE node (id int PRIMARY KEY, parent int REFERENCES node);
    CREATE TABLE note (words text, data json, raw bytea, many int[]);
    CREATE TABLE event (id bigint GENERATED ALWAYS AS IDENTITY, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE event_old PARTITION OF event FOR VALUES FROM ('2020-01-01') TO ('2027-01-01');
    CREATE TABLE event_new PARTITION OF event DEFAULT;
    INSERT INTO customer (name, born) SELECT 'c' || n, '2000-01-01'::date + n FROM generate_series(1, 500) AS n;
    INSERT INTO "Order" ("order no", line, customer, price, at) SELECT n, 1, n, n, '2026-01-01' FROM generate_series(1, 500) AS n;
    INSERT INTO node VALUES (1, NULL), (2, 1);
    INSERT INTO note SELECT 'same', '{"a": 1,  "a": 2}', '\\x00ff', '{1,2}' FROM generate_series(1, 3);
    INSERT INTO event (day) SELECT '2026-06-01'::date + n FROM generate_series(1, 300) AS n;
"""


@pytest.fixture(scope="module")
def base(access: ServerAccess) -> Iterator[str]:
    """A shop as the backup had it; copies of it are what was restored."""
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0")) as name,
    ):
        with connect(access, name, purpose="test") as connection:
            connection.execute(SHOP.encode())
        yield name


Pair = tuple[str, str]


@pytest.fixture
def pair(control: Connection, base: str) -> Iterator[Pair]:
    """A damaged database and a recovered one, equal to begin with."""
    copy = sql.SQL("TEMPLATE {}").format(sql.Identifier(base))
    with new_database(control, copy) as damaged, new_database(control, copy) as recovered:
        yield damaged, recovered


@pytest.fixture
def salvaged(access: ServerAccess, pair: Pair) -> Callable[..., Salvage]:
    """Compare the two."""

    def take(**options: int) -> Salvage:
        return take_salvage(
            access, *pair, salvage_id=secrets.token_hex(4), backup_id="b1", now=NOW, limit=options.get("limit", 1000)
        )

    return take


def execute(access: ServerAccess, database: str, *statements: str) -> None:
    with connect(access, database, purpose="test") as connection:
        for statement in statements:
            connection.execute(statement.encode())


# Everything that clients wrote after the backup, and what went wrong: orders and notes were deleted.
AFTER_THE_BACKUP = (
    "INSERT INTO customer (name, born) VALUES ('new', 'infinity'), (E'tab\\t\"quote\" ☃', NULL)",
    "UPDATE customer SET born = NULL WHERE id = 7",
    "INSERT INTO \"Order\" VALUES (501, 1, 501, 9.99, DEFAULT, '2026-11-27 03:00+02')",
    "INSERT INTO node VALUES (4, NULL)",
    "INSERT INTO node VALUES (3, 4)",
    'DELETE FROM "Order" WHERE "order no" <= 100',
    "INSERT INTO note VALUES ('same', '{\"a\": 1,  \"a\": 2}', '\\x00ff', '{1,2}'), (NULL, NULL, '', '{}')",
    "UPDATE event SET day = '2027-05-05' WHERE id = 1",
    "INSERT INTO event (day) VALUES ('2028-01-01')",
)
FOUND = (
    TableSalvage(table='public."Order"', added=1, gone=100, kept=1),
    TableSalvage(table="public.customer", added=2, changed=1, kept=3),
    TableSalvage(table="public.event", added=2, gone=1, kept=2),
    TableSalvage(table="public.node", added=2, kept=2),
    TableSalvage(table="public.note", added=2, kept=2),
)


def test_every_row_of_the_damaged_one_comes_back_exactly(
    access: ServerAccess, control: Connection, pair: Pair, salvaged: Callable[..., Salvage]
) -> None:
    damaged, recovered = pair
    execute(access, damaged, *AFTER_THE_BACKUP)
    fence(control, damaged)
    fence(control, recovered)

    found = salvaged()

    assert found.tables == FOUND
    assert (found.rows_at_risk, found.rows_left_out) == (10, 0)
    for name in pair:
        control.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
    with connect(access, recovered, purpose="test") as connection:
        assert read_salvages(connection) == (found,)
        merged = merge_rows(connection, None, kinds=BOTH)
        assert merged.conflicts == ()
        assert dict(merged.merged)['public."Order"'] == 1
        again = merge_rows(connection, found.id, kinds=BOTH)
        assert (again.merged, again.conflicts) == ((), ())
    # What was deleted is there, too; so is the event that was moved to another day under another key.
    execute(access, damaged, "INSERT INTO event OVERRIDING SYSTEM VALUE VALUES (1, '2026-06-02')")
    execute(
        access,
        damaged,
        'INSERT INTO "Order" ("order no", line, customer, price, at) SELECT n, 1, n, n, \'2026-01-01\' FROM generate_series(1, 100) AS n',
    )
    with (
        connect(access, damaged, purpose="test") as left,
        connect(access, recovered, purpose="test") as right,
    ):
        carry_sequences(left, right)
        assert compare_digests(digest_database(left), digest_database(right)).is_equal


def test_equal_databases_leave_no_trace(access: ServerAccess, pair: Pair, salvaged: Callable[..., Salvage]) -> None:
    assert salvaged().tables == ()
    with connect(access, pair[1], purpose="test") as connection:
        assert connection.execute("SELECT to_regnamespace('squizzle_salvage')").fetchone() == (None,)
        with pytest.raises(InvalidInputError, match="keeps no salvage"):
            merge_rows(connection, None)


def test_what_stands_in_the_way_of_a_row_is_said_and_stops_no_other(
    access: ServerAccess, pair: Pair, salvaged: Callable[..., Salvage]
) -> None:
    damaged, recovered = pair
    execute(
        access,
        damaged,
        "INSERT INTO customer VALUES (600, 'taken'), (601, 'free'), (602, 'key used'), (603, 'the same')",
        'INSERT INTO "Order" VALUES (601, 1, 601)',
        "UPDATE customer SET name = 'from damaged ' || id WHERE id IN (1, 2, 3)",
        "UPDATE customer SET born = '1999-09-09' WHERE id = 4",
        # Ten parents and their ten children; of a child that is tried without its parent, another try is made.
        "INSERT INTO node SELECT n, NULL FROM generate_series(10, 19) AS n",
        "INSERT INTO node SELECT n, n - 10 FROM generate_series(20, 29) AS n",
    )
    found = salvaged()
    execute(
        access,
        recovered,
        "INSERT INTO customer VALUES (700, 'taken'), (602, 'somebody else'), (603, 'the same')",
        "UPDATE customer SET name = 'from recovered ' || id WHERE id IN (2, 4)",
        'DELETE FROM "Order" WHERE customer = 3',
        "DELETE FROM customer WHERE id = 3",
        'ALTER TABLE "Order" ADD CHECK ("order no" <> 601)',
        "ALTER TABLE node ADD CHECK (id <> 13)",
    )
    with connect(access, recovered, purpose="test") as connection:
        rehearsed = merge_rows(connection, found.id, kinds=BOTH, dry_run=True)
        assert connection.execute("SELECT count(*) FROM customer WHERE id = 601").fetchone() == (0,)
        merged = merge_rows(connection, found.id, kinds=BOTH)
        rows = connection.execute("SELECT id, name, born::text FROM customer WHERE id IN (1,2,4,601,602)").fetchall()
    assert (rehearsed.merged, rehearsed.conflicts) == (merged.merged, merged.conflicts)
    why = {(one.table, one.key): one.why for one in merged.conflicts}
    assert why.pop(("public.customer", "(602)")) == "another row has this key now"
    assert why.pop(("public.customer", "(2)")) == "a column was changed on both sides"
    assert why.pop(("public.customer", "(3)")) == "no row has this key any more"
    assert "customer_name_key" in why.pop(("public.customer", "(600)"))
    assert "violates check constraint" in why.pop(('public."Order"', "(601,1)"))
    assert "violates check constraint" in why.pop(("public.node", "(13)"))
    assert "violates foreign key" in why.pop(("public.node", "(23)"))
    assert why == {}
    assert dict(merged.merged) == {"public.customer": 4, "public.node": 18}
    assert sorted(rows) == [
        (1, "from damaged 1", "2000-01-02"),
        (2, "from recovered 2", "2000-01-03"),
        (4, "from recovered 4", "1999-09-09"),
        (601, "free", None),
        (602, "somebody else", None),
    ]


def test_tables_and_columns_that_only_one_side_has_are_told(
    access: ServerAccess, pair: Pair, salvaged: Callable[..., Salvage]
) -> None:
    damaged, _ = pair
    execute(
        access,
        damaged,
        "ALTER TABLE customer DROP COLUMN born, ADD COLUMN mail text",
        "INSERT INTO customer (name) VALUES ('new')",
        "DROP TABLE node",
        "CREATE TABLE extra AS SELECT 1 AS one",
        "ALTER TABLE note ALTER words TYPE varchar(10)",
        "ALTER TABLE event DROP CONSTRAINT event_pkey",
    )
    found = {one.table: one for one in salvaged().tables}
    assert found["public.customer"].added == 1
    assert found["public.customer"].note == (
        "column born is only in the recovered database; column mail is only in the damaged database"
    )
    assert found["public.node"] == TableSalvage(
        table="public.node", gone=2, note="only the recovered database has this table"
    )
    assert found["public.extra"] == TableSalvage(
        table="public.extra", added=1, kept=1, note="only the damaged database has this table"
    )
    assert found["public.note"].note == "column words is character varying(10), and text in the recovered database"
    assert found["public.event"].note == "the primary keys differ, so whole rows are compared"
    assert not found["public.event"].added


@pytest.mark.parametrize("address", SERVERS[:1], indirect=True)
def test_beyond_the_limit_rows_are_counted_and_the_command_says_that_they_are_not_kept(
    access: ServerAccess, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, recovered = pair
    execute(access, damaged, "INSERT INTO customer (name) SELECT 'n' || n FROM generate_series(1, 30) AS n")
    url = ["--url", f"postgresql://{access.user}@/{recovered}?host={access.host}&port={access.port}"]

    assert run(["salvage", "compare", "--from", damaged, "--limit", "10", *url, "--json"]) == 10
    document = json.loads(capsys.readouterr().out)
    assert (document["rows_at_risk"], document["rows_left_out"]) == (30, 20)
    assert document["tables"]["public.customer"]["kept"] == 10
    assert run(["salvage", "show", *url]) == 0
    assert "20 of them were NOT kept" in capsys.readouterr().out
    assert run(["salvage", "merge", *url, "--table", "public.nothing"]) == 2
    assert run(["salvage", "merge", *url, "--table", "public.customer", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["tables"] == {"public.customer": 10}


@pytest.mark.parametrize("address", SERVERS[:1], indirect=True)
def test_sequences_go_on_where_the_damaged_ones_stopped_and_never_back(access: ServerAccess, pair: Pair) -> None:
    damaged, recovered = pair
    for name in pair:
        execute(access, name, "CREATE SEQUENCE down INCREMENT -1", "CREATE SEQUENCE fresh", "CREATE SEQUENCE ahead")
    execute(access, damaged, "SELECT setval('customer_id_seq', 900), setval('down', -5), nextval('fresh')")
    execute(access, recovered, "SELECT setval('ahead', 50), setval('down', -3)")
    execute(access, damaged, "SELECT setval('ahead', 40)")
    with connect(access, damaged, purpose="test") as left, connect(access, recovered, purpose="test") as right:
        moves = {move.sequence: (move.before, move.after) for move in carry_sequences(left, right)}
        assert moves == {
            "public.customer_id_seq": (500, 900),
            "public.down": (-3, -5),
            "public.fresh": (None, 1),
        }
        assert carry_sequences(left, right) == ()
        assert right.execute("SELECT nextval('customer_id_seq'), nextval('ahead')").fetchone() == (901, 51)


ROW = st.tuples(st.integers(1, 6), st.sampled_from(["a", "b", 'q"\\', None]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.dictionaries(st.integers(1, 6), st.text("ab", max_size=1)),
    after=st.dictionaries(st.integers(1, 6), st.text("ab", max_size=1)),
    loose=st.lists(ROW, max_size=4),
    lost=st.lists(ROW, max_size=4),
)
@pytest.mark.parametrize("address", SERVERS[:1], indirect=True)
def test_whatever_differs_is_counted_like_by_hand(
    access: ServerAccess,
    pair: Pair,
    salvaged: Callable[..., Salvage],
    before: dict[int, str],
    after: dict[int, str],
    loose: list[tuple[int, str | None]],
    lost: list[tuple[int, str | None]],
) -> None:
    for name, keyed, rows in ((pair[0], after, loose), (pair[1], before, lost)):
        with connect(access, name, purpose="test") as connection, connection.cursor() as cursor:
            cursor.execute(
                "DROP TABLE IF EXISTS keyed, loose; CREATE TABLE keyed (k int PRIMARY KEY, v text);"
                " CREATE TABLE loose (k int, v text)"
            )
            cursor.executemany("INSERT INTO keyed VALUES (%s, %s)", list(keyed.items()))
            cursor.executemany("INSERT INTO loose VALUES (%s, %s)", rows)
    found = {one.table: (one.added, one.changed, one.gone) for one in salvaged().tables}
    expected = {
        "public.keyed": (
            len(after.keys() - before.keys()),
            sum(before[key] != after[key] for key in before.keys() & after.keys()),
            len(before.keys() - after.keys()),
        ),
        "public.loose": (_more(loose, lost), 0, _more(lost, loose)),
    }
    assert found == {table: counts for table, counts in expected.items() if any(counts)}


def _more(rows: list[tuple[int, str | None]], than: list[tuple[int, str | None]]) -> int:
    return sum(max(0, rows.count(row) - than.count(row)) for row in set(rows))


def test_a_comparison_looks_at_the_tables_that_are_asked_for_and_no_further_than_what_says_enough(
    access: ServerAccess, pair: Pair
) -> None:
    damaged, recovered = pair
    with connect(access, damaged, purpose="test") as connection:
        connection.execute("UPDATE customer SET born = NULL WHERE id = 1; DELETE FROM node; DELETE FROM note")

    def compared(only: tuple[str, ...] = (), *, enough: str = "") -> list[str]:
        found = compare_rows(access, damaged, recovered, only=only, until=lambda one: one.table == enough)
        return [one.table for one in found]

    everything = compared()
    assert everything == ["public.customer", "public.node", "public.note"]
    assert compared(("public.node", 'public."Order"')) == ["public.node"]
    assert compared(enough="public.node") == everything[:2]
    with connect(access, damaged, purpose="test") as connection:
        connection.execute("INSERT INTO event (day) VALUES ('2026-01-01')")
    # Fingerprints are told of partitions, rows of the tables that they are parts of.
    assert compared(("public.event_old",)) == ["public.event"]
    assert compared(("public.nobody_knows_it",)) == ["public.customer", "public.event", "public.node", "public.note"]
