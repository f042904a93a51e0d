"""How rows differ: counted exactly, with the columns and some keys, and without a value of any other column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from squizzle.errors import InvalidInputError
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.proof import row_buckets
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database, read_snapshot
from squizzle.proof.records import RowChange, RowDifference
from squizzle.proof.row_buckets import RowSource, Side, choose_buckets, of_both
from squizzle.proof.row_differences import find_row_differences
from tests.integration.conftest import SERVERS, access_to
from tests.support.scratch import new_database

MISSING, UNEXPECTED, CHANGED = RowChange


@dataclass(frozen=True)
class Sides:
    """A database as it should be, and another one, on servers of two versions where there are two."""

    before: Connection
    after: Connection

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.before.execute(statement.encode())
            self.after.execute(statement.encode())

    def found(self, table: str, *, keys: int = 5) -> tuple[RowDifference, ...]:
        return find_row_differences(self.before, self.after, [f"s.{table}"], at_most_keys=keys)


@pytest.fixture(scope="module")
def pair(servers: Callable[[str], ServerAddress]) -> Iterator[Sides]:
    with ExitStack() as stack:

        def session(kind: str, *settings: str) -> Connection:
            access = access_to(servers(kind))
            control = stack.enter_context(connect(access, "postgres", purpose="test"))
            name = stack.enter_context(new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'")))
            connection = stack.enter_context(connect(access, name, purpose="test"))
            for setting in settings:
                connection.execute(f"SET {setting}".encode())
            return connection

        # What differs between two sessions must not make their rows differ.
        ours = session(SERVERS[0], "DateStyle = 'SQL, DMY'", "TimeZone = 'Asia/Tokyo'", "extra_float_digits = -5")
        yield Sides(before=ours, after=session(SERVERS[-1], "bytea_output = 'escape'", "TimeZone = 'UTC'"))


@pytest.fixture
def sides(pair: Sides) -> Iterator[Sides]:
    """The two with an empty schema `s`."""
    pair.run("CREATE SCHEMA s", "SET search_path = s")
    yield pair
    pair.run("DROP SCHEMA s CASCADE")


BIG = (
    "CREATE TABLE \"big Table\" (id bigint PRIMARY KEY, name text, price numeric, at timestamptz DEFAULT '2026-01-01Z')",
    "INSERT INTO \"big Table\" SELECT n, 'n' || n, n / 7.0 FROM generate_series(1, 20000) AS n",
)


def test_the_few_rows_that_differ_among_many_are_found_exactly(sides: Sides) -> None:
    sides.run(*BIG, 'CREATE TABLE same AS SELECT * FROM "big Table" LIMIT 100')
    name = 's."big Table"'
    assert find_row_differences(sides.before, sides.after, [name, "s.same"]) == ()

    sides.after.execute('UPDATE "big Table" SET price = -price WHERE id IN (77, 19999)')
    sides.after.execute('UPDATE "big Table" SET price = 1, name = NULL WHERE id = 500')
    sides.after.execute('DELETE FROM "big Table" WHERE id IN (1, 20000)')
    sides.after.execute("INSERT INTO \"big Table\" VALUES (20001, 'secret', 5)")

    compared = compare_digests(*(digest_database(side, schema="s") for side in (sides.before, sides.after)))
    found = find_row_differences(sides.before, sides.after, [one.table for one in compared.different_tables])
    assert [(one.change, one.rows, one.columns, set(one.keys)) for one in found] == [
        (MISSING, 2, (), {"(1)", "(20000)"}),
        (UNEXPECTED, 1, (), {"(20001)"}),
        (CHANGED, 2, ("price",), {"(77)", "(19999)"}),
        (CHANGED, 1, ("name", "price"), {"(500)"}),
    ]
    assert found[3].sentence() == f"{name}: 1 rows changed in name, price, such as (500)"
    assert not any("secret" in one.sentence() for one in found)


def test_a_lost_column_is_named_and_hides_no_other_difference(sides: Sides) -> None:
    sides.run(*BIG)
    sides.after.execute('ALTER TABLE "big Table" DROP COLUMN at')
    [all_of_it] = sides.found('"big Table"', keys=3)
    assert (all_of_it.change, all_of_it.rows, all_of_it.columns, len(all_of_it.keys)) == (CHANGED, 20_000, ("at",), 3)

    sides.after.execute("UPDATE \"big Table\" SET name = 'x' WHERE id = 4711")
    sides.after.execute('DELETE FROM "big Table" WHERE id = 3')
    missing, lost, both = sides.found('"big Table"', keys=3)
    assert (missing.change, missing.rows, missing.keys) == (MISSING, 1, ("(3)",))
    assert (lost.change, lost.rows, lost.columns, len(lost.keys)) == (CHANGED, 19_998, ("at",), 3)
    assert (both.change, both.rows, both.columns, both.keys) == (CHANGED, 1, ("at", "name"), ("(4711)",))


@pytest.mark.parametrize("key", ["id bigint PRIMARY KEY", "id bigint"])
def test_rows_that_differ_here_and_there_are_told_from_the_many_others_and_counted_exactly(
    sides: Sides, key: str
) -> None:
    sides.run(f"CREATE TABLE many ({key}, name text, lost int)")
    sides.run("INSERT INTO many SELECT n, 'n' || n, n FROM generate_series(1, 20000) AS n")
    sides.after.execute("UPDATE many SET name = '' WHERE id % 20 = 0")
    source = RowSource(
        schema="s",
        table="many",
        partitioned=False,
        key=("id",) if "KEY" in key else (),
        columns=("id", "name"),
    )
    with read_snapshot(sides.before), read_snapshot(sides.after):
        left, right = (Side(connection=one, source=source) for one in (sides.before, sides.after))
        chosen = choose_buckets(left, right, also=3)
    # At 0.15 rows a small bucket one in seven of the others is read with them; by 1,024 it would be every row.
    assert 1_000 <= chosen.rows < 2_000
    assert chosen.rows + chosen.rest == 20_000

    sides.after.execute("ALTER TABLE many DROP COLUMN lost")
    changed = {one.columns: one.rows for one in sides.found("many") if one.change is CHANGED}
    if source.key:
        assert changed == {("lost",): 19_000, ("lost", "name"): 1_000}
    else:
        assert changed == {("lost",): 19_000}
        assert {one.change: one.rows for one in sides.found("many")} == {
            MISSING: 1_000,
            UNEXPECTED: 1_000,
            CHANGED: 19_000,
        }


def test_where_all_rows_differ_they_are_not_summed_twice(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.run(*BIG)
    sides.after.execute("UPDATE \"big Table\" SET name = 'x'")
    monkeypatch.setattr(row_buckets, "_SMALL_BUCKETS", 0)  # no bucket is one of none
    [all_of_it] = sides.found('"big Table"')
    assert (all_of_it.change, all_of_it.rows, all_of_it.columns) == (CHANGED, 20_000, ("name",))


def test_what_one_side_raises_ends_the_other_sides_work(sides: Sides) -> None:
    sides.run("CREATE TABLE few (id int PRIMARY KEY)")

    ended = []

    def work(side: Side) -> None:
        try:
            side.connection.execute("SELECT 1 / 0" if side.connection is sides.before else "SELECT pg_sleep(5)")
        except psycopg.errors.QueryCanceled as exc:
            ended.append(exc)
            raise

    source = RowSource(schema="s", table="few", partitioned=False, key=("id",), columns=("id",))
    both = [Side(connection=one, source=source) for one in (sides.before, sides.after)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        of_both(both[0], both[1], work)
    assert ended
    assert sides.after.execute("SELECT 1").fetchone() == (1,)


def test_a_table_on_one_side_only_and_one_on_neither(sides: Sides) -> None:
    sides.before.execute("CREATE TABLE gone AS SELECT 1 AS n, 2 AS m FROM generate_series(1, 7)")
    sides.after.execute("CREATE TABLE fresh (a int, b text, PRIMARY KEY (b, a))")
    sides.after.execute("INSERT INTO fresh VALUES (1, 'x'), (2, E'line\\nfeed')")
    sides.after.execute("CREATE TABLE empty (n int)")
    gone, fresh = find_row_differences(sides.before, sides.after, ["s.gone", "s.empty", "s.fresh"])
    assert gone == RowDifference(table="s.gone", change=MISSING, rows=7)
    assert (fresh.change, fresh.rows, set(fresh.keys)) == (UNEXPECTED, 2, {"(x,1)", '("line\\nfeed",2)'})
    with pytest.raises(InvalidInputError, match=r"neither database has a table s\.nothing"):
        sides.found("nothing")


ODD = """
    CREATE TYPE pair AS (n int, t text);
    CREATE TYPE mood AS ENUM ('low', 'high');
    CREATE TABLE odd (id text PRIMARY KEY, "a""b" float8, c jsonb, d bytea, e int[], f pair, g mood,
        h char(3), i text COLLATE "C", j real, k interval, l float8 GENERATED ALWAYS AS ("a""b" * 2) STORED);
    CREATE TABLE parent (id int PRIMARY KEY, t text);
    CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
    CREATE TABLE day (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE day_1 PARTITION OF day FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE day_2 PARTITION OF day DEFAULT;
    CREATE TABLE bare ();
    INSERT INTO odd SELECT n::text, 'NaN', '{"a": 1}', '\\x00ff', '{1,NULL}', '(1,)', 'low', 'a', 'x', 0.1, '1 day'
        FROM generate_series(1, 12) AS n;
    INSERT INTO odd (id, "a""b", i) VALUES ('zero', '0', 'Case'), ('null', NULL, 'null');
    INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (1, 'c'), (2, 'c');
    INSERT INTO day SELECT n, '2026-01-25'::date + n, 'v' FROM generate_series(1, 20) AS n;
    INSERT INTO bare DEFAULT VALUES
"""
CHANGES = {
    "1": ("c = '{\"a\": 1.0}'", ("c",)),
    "2": ("d = '\\x00fe'", ("d",)),
    "3": ("e = '{1,0}'", ("e",)),
    "4": ("f = '(1,\"\")'", ("f",)),
    "5": ("g = 'high', h = 'ab'", ("g", "h")),
    "6": ("i = 'X'", ("i",)),
    "7": ("j = '0.10000001'", ("j",)),
    "8": ("k = '24 hours'", ("k",)),
    "zero": ('"a""b" = \'-0\'', ('a"b', "l")),
    "null": ("i = NULL", ("i",)),
}


def test_values_and_tables_of_every_kind(sides: Sides) -> None:
    sides.run(*ODD.split(";"))
    tables = [f"s.{table}" for table in ("odd", "parent", "child", "day", "day_1", "day_2", "bare")]
    assert find_row_differences(sides.before, sides.after, tables) == ()

    for key, (change, _) in CHANGES.items():
        sides.after.execute(f"UPDATE odd SET {change} WHERE id = '{key}'".encode())  # noqa: S608 - our own
    sides.after.execute("UPDATE child SET t = 'd' WHERE id = 1")
    sides.after.execute("UPDATE day SET at = at + 30 WHERE id = 1")
    sides.after.execute("INSERT INTO bare DEFAULT VALUES")

    wanted = Counter(columns for _, columns in CHANGES.values())
    found = find_row_differences(sides.before, sides.after, tables)
    assert {one.columns: one.rows for one in found if one.table == "s.odd"} == dict(wanted)
    assert [(one.table, one.change, one.rows, one.columns, one.keys) for one in found if one.table != "s.odd"] == [
        ("s.child", CHANGED, 1, ("t",), ("(1)",)),
        ("s.day", MISSING, 1, (), ("(1,2026-01-26)",)),
        ("s.day", UNEXPECTED, 1, (), ("(1,2026-02-25)",)),
        ("s.day_1", MISSING, 1, (), ("(1,2026-01-26)",)),
        ("s.day_2", UNEXPECTED, 1, (), ("(1,2026-02-25)",)),
        ("s.bare", UNEXPECTED, 1, (), ()),
    ]


VALUE = st.sampled_from(["", "a", "a b", None])
TABLE = st.tuples(
    st.sets(st.sampled_from("kab"), min_size=1),
    st.booleans(),
    st.lists(st.fixed_dictionaries({"k": st.integers(1, 5), "a": VALUE, "b": VALUE}), max_size=7),
)
Table = tuple[set[str], bool, list[dict[str, str | int | None]]]


def test_whatever_differs_is_counted_like_by_hand(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings(max_examples=60, deadline=None)
    @given(before=TABLE, after=TABLE, twice=st.booleans())
    def one(before: Table, after: Table, twice: bool) -> None:  # noqa: FBT001 - drawn
        monkeypatch.setattr(row_buckets, "_FROM_ROWS", 0 if twice else 5_000)
        monkeypatch.setattr(row_buckets, "_WORTH", 2 if twice else 0)
        was, now = (_small(connection, *made) for connection, made in ((sides.before, before), (sides.after, after)))
        found = sides.found("small", keys=2)
        wanted = {how: one for how, one in _by_hand(was, now).items() if one[0]}
        assert {(one.change, frozenset(one.columns)): one.rows for one in found} == {
            how: rows for how, (rows, _) in wanted.items()
        }
        for difference in found:
            keys = wanted[difference.change, frozenset(difference.columns)][1]
            assert set(difference.keys) <= keys
            assert len(difference.keys) == min(2, len(keys))

    one()


Rows = list[dict[str, str | int | None]]
How = tuple[RowChange, frozenset[str]]


@dataclass(frozen=True)
class Small:
    columns: list[str]
    is_keyed: bool
    rows: Rows


def _small(connection: Connection, columns: set[str], is_keyed: bool, rows: Rows) -> Small:  # noqa: FBT001 - drawn
    """Make the table `small`."""
    names, is_keyed = sorted(columns), is_keyed and "k" in columns
    # A primary key keeps the first of each number.
    kept = list({row["k"]: row for row in reversed(rows)}.values()) if is_keyed else rows
    shape = [f"{name} {'int' if name == 'k' else 'text'}" for name in reversed(names)]
    shape += ["PRIMARY KEY (k)"] if is_keyed else []
    connection.execute(f"DROP TABLE IF EXISTS small; CREATE TABLE small ({', '.join(shape)})".encode())
    places = ", ".join("%s" for _ in names)
    insert = f"INSERT INTO small ({', '.join(names)}) VALUES ({places})".encode()  # noqa: S608 - our own names
    for row in kept:
        connection.execute(insert, [row[name] for name in names])
    return Small(columns=names, is_keyed=is_keyed, rows=[{name: row[name] for name in names} for row in kept])


def _by_hand(was: Small, now: Small) -> dict[How, tuple[int, set[str]]]:
    common = [name for name in was.columns if name in now.columns]
    one_sided = frozenset(was.columns) ^ frozenset(now.columns)
    nothing = frozenset[str]()
    is_unique = all(len({row.get("k") for row in side.rows}) == len(side.rows) for side in (was, now))
    if not (is_unique and (was.is_keyed or now.is_keyed) and "k" in common):
        ours, theirs = (Counter(tuple(row[name] for name in common) for row in side.rows) for side in (was, now))
        return {
            (MISSING, nothing): ((ours - theirs).total(), set()),
            (UNEXPECTED, nothing): ((theirs - ours).total(), set()),
            **({(CHANGED, one_sided): ((ours & theirs).total(), set())} if one_sided else {}),
        }
    left, right = ({row["k"]: row for row in side.rows} for side in (was, now))
    ways: dict[How, set[str]] = {}
    for key in left.keys() | right.keys():
        how = (MISSING if key in left else UNEXPECTED, nothing)
        if key in left and key in right:
            how = (CHANGED, one_sided | {name for name in common if left[key][name] != right[key][name]})
        ways.setdefault(how, set()).add(f"({key})")
    ways.pop((CHANGED, nothing), None)
    return {how: (len(keys), keys) for how, keys in ways.items()}
