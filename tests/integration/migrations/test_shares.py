"""A share of the rows of a version: where it ends, what the history says meanwhile, and going on and back from there."""

# ruff: noqa: S608 - statements are what these tests are about

from __future__ import annotations

import pytest

from squizzle.errors import InvalidInputError, MigrationFailedError
from squizzle.migrations.history import read_history, row_state
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import HistoryRow, RowState
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder

pytestmark = pytest.mark.one_server
# The words of the key are in no order of the rows, and only every second row has something to change.
GOODS = """
    CREATE TABLE goods (code text COLLATE "C" PRIMARY KEY, price int);
    INSERT INTO goods SELECT md5(n::text), CASE WHEN n % 2 = 0 THEN n END FROM generate_series(1, 400) n;
    CREATE TABLE copied (code text PRIMARY KEY)
"""
UP = """
    ALTER TABLE goods ADD COLUMN cents int;
    -- squizzle: batch key=code size=7 pause=0ms target=1m
    UPDATE goods SET cents = price * 100 WHERE price IS NOT NULL AND cents IS NULL;
    -- squizzle: batch key=code size=100 pause=0ms
    INSERT INTO copied SELECT code FROM goods;
    ALTER TABLE goods ADD CONSTRAINT known CHECK (cents IS NOT NULL OR price IS NULL)
"""
DOWN = "ALTER TABLE goods DROP CONSTRAINT IF EXISTS known; ALTER TABLE goods DROP COLUMN cents; TRUNCATE copied"


def written(folder: Folder) -> None:
    folder.write("1", GOODS)
    folder.write("2", UP, down=DOWN, verify="SELECT bool_and(cents IS NOT NULL OR price IS NULL) FROM goods")


def state(connection: Connection) -> tuple[int, int, bool]:
    """Rows that are changed, rows that are copied, and whether the constraint is there."""
    row = connection.execute(
        "SELECT (SELECT count(cents) FROM goods), (SELECT count(*) FROM copied),"
        " EXISTS (SELECT FROM pg_constraint WHERE conname = 'known')"
    ).fetchone()
    assert row is not None
    return row


def newest(connection: Connection) -> HistoryRow:
    return read_history(connection, "public").rows[-1]


def test_each_share_is_of_the_rows_that_are_to_be_changed_and_the_rest_of_the_script_waits_for_the_last(
    connection: Connection, target: Target, folder: Folder, other: Connection
) -> None:
    written(folder)
    told: list[str] = []
    listener = Listener(on_progress=told.append)
    apply_versions(connection, target, folder.read(), to="2", until_pct=5, listener=listener)

    assert state(connection) == (10, 0, False)
    row = newest(connection)
    assert (row_state(row), row.success, row.error) == (RowState.PARTLY, None, None)
    assert any("10 rows done, stops here: 5 % of 200 rows" in line for line in told)
    found = read_status(connection, target, folder.read())
    assert [one.version for one in found.partly] == [one.version for one in found.pending] == ["2"]
    assert (found.failed, found.running, found.current) == ((), (), "1")

    # Rows that come in a range still to come belong to the next share; those behind its end or before it to none.
    other.execute("INSERT INTO goods VALUES ('f', 1, NULL), ('zz', 1, NULL), ('0', 1, NULL)")
    apply_versions(connection, target, folder.read(), to="2", until_pct=25)
    assert state(connection) == (51, 0, False)
    assert newest(connection).id == row.id
    # The same again does nothing.
    apply_versions(connection, target, folder.read(), to="2", until_pct=25)
    assert state(connection) == (51, 0, False)

    other.execute("UPDATE goods SET cents = 100 WHERE code IN ('zz', '0')")  # as the application does by now
    outcome = apply_versions(connection, target, folder.read()).outcomes[-1]
    assert outcome.share is None
    assert state(connection) == (outcome.batched[0].rows + 2, 403, True) == (203, 403, True)
    row = newest(connection)
    assert (row_state(row), row.error, len(read_history(connection, "public").rows)) == (RowState.APPLIED, None, 2)
    assert row.batch_progress is not None
    staged = row.batch_progress.staged
    assert staged is not None
    assert [(one.pct, one.rows) for one in staged.shares] == [(5, 10), (25, 51), (100, 201)]


def test_a_share_that_failed_in_the_middle_ends_where_it_would_have_and_a_half_done_version_is_taken_back(
    connection: Connection, target: Target, folder: Folder
) -> None:
    written(folder)
    apply_versions(connection, target, folder.read(), to="2", until_pct=5)
    # The trigger stands in the way of one row in the middle of the next share.
    connection.execute(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;"
        "CREATE TRIGGER stop BEFORE UPDATE ON goods FOR EACH ROW WHEN (NEW.code = (OLD.code) AND NEW.code > '2')"
        " EXECUTE FUNCTION stop()"
    )
    with pytest.raises(MigrationFailedError, match="not this one"):
        apply_versions(connection, target, folder.read(), to="2", until_pct=25)
    assert 10 < state(connection)[0] < 50
    assert row_state(newest(connection)) is RowState.FAILED
    connection.execute("DROP FUNCTION stop CASCADE")
    apply_versions(connection, target, folder.read(), to="2", until_pct=25)
    assert state(connection) == (50, 0, False)
    assert row_state(newest(connection)) is RowState.PARTLY

    roll_back_versions(connection, target, folder.read(), only="2")
    history = read_history(connection, "public")
    assert (history.current, history.half_done()) == ("1", {})
    # No row says for ever that it is under way.
    assert [one.success for one in history.rows] == [True, False, False, True]
    assert state_after(connection) == 0


def state_after(connection: Connection) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_attribute WHERE attname = 'cents' AND NOT attisdropped"
    ).fetchone()
    return row[0] if row else -1


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        # Every row of one key is in one batch; the function writes, so that the condition cannot be asked beforehand.
        ("UPDATE many SET n = 1 WHERE writes(id)", (40, 40, 80)),
        ("DELETE FROM many USING goods WHERE many.code = goods.code", (40, 40, 80)),
        ("INSERT INTO copied SELECT m.code FROM public.many AS m WHERE id % 2 = 0", (40, 40, 40)),
    ],
)
def test_what_is_counted_where_rows_share_a_key_and_conditions_cannot_be_asked(
    connection: Connection, target: Target, folder: Folder, change: str, rows: tuple[int, ...]
) -> None:
    folder.write(
        "1",
        f"{GOODS}; CREATE TABLE many AS SELECT (n - 1) / 40 AS id, md5(n::text) AS code, 0 AS n"
        " FROM generate_series(1, 400) n; CREATE INDEX ON many (id); CREATE TABLE log (id int);"
        " ALTER TABLE many ALTER id SET NOT NULL; CREATE FUNCTION writes(id int) RETURNS boolean LANGUAGE sql"
        " AS 'INSERT INTO log VALUES (id) RETURNING true'",
    )
    folder.write("2", f"-- squizzle: batch key=id size=7 pause=0ms\n{change}")
    for pct, done in zip((5, 7, 11), rows, strict=True):
        apply_versions(connection, target, folder.read(), to="2", until_pct=pct)
        progress = newest(connection).batch_progress
        assert progress is not None
        assert progress.staged is not None
        assert progress.staged.rows == done
    apply_versions(connection, target, folder.read())
    logged = connection.execute("SELECT count(*) FROM log").fetchone()
    assert logged == (400 if "writes" in change else 0,)


def test_a_version_without_a_marked_statement_has_no_share(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", GOODS)
    for to, said in (("1", "no statement that is marked to run in batches"), (None, "5 % of the rows of no version")):
        with pytest.raises(InvalidInputError, match=said):
            apply_versions(connection, target, folder.read(), to=to, until_pct=5)


def test_a_run_whose_caller_goes_away_ends_behind_a_batch(
    connection: Connection, target: Target, folder: Folder
) -> None:
    written(folder)
    looks = iter([False, False, True])
    with pytest.raises(
        MigrationFailedError, match="ended between two batches, as whoever ran it wanted; 11 rows"
    ) as told:
        apply_versions(connection, target, folder.read(), listener=Listener(is_ended=lambda: next(looks)))
    assert "apply 2 again: it goes on behind them" in told.value.hint
    assert state(connection) == (11, 0, False)
