"""Which statements run in batches, where an earlier run left them, and how fast they go."""

# ruff: noqa: S608 - statements are what these tests are about

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.analysis.records import BatchOptions, Statement
from squizzle.analysis.statements import split_statements
from squizzle.durations import about
from squizzle.errors import ChecksumMismatchError, InvalidInputError, VersionConflictError
from squizzle.migrations.batch_records import (
    BatchedStatement,
    BatchPolicy,
    BatchProgress,
    Share,
    ShareEnd,
    fingerprints,
)
from squizzle.migrations.batches.pace import LARGEST, LONGEST_PAUSE, SMALLEST, BatchRun, Pace, next_pace
from squizzle.migrations.batches.shares import rows_to_do, until_share
from squizzle.migrations.batches.standbys import StandbyLag, StandbyReader, farthest_behind
from squizzle.migrations.batches.telling import Telling
from squizzle.migrations.history import History
from squizzle.migrations.planning import plan_apply, plan_rollback
from squizzle.migrations.records import Direction, HistoryRow, Migration
from squizzle.migrations.units import UnitKind, divide

MakeMigration = Callable[..., Migration]
MakeRow = Callable[..., HistoryRow]
MARK = "-- squizzle: batch key=id\n"
SCRIPT = f"SET search_path = app;\nCREATE TABLE u (a int);\n{MARK}UPDATE t SET a = 1;\nSELECT 1;"


def ms(number: float) -> timedelta:
    return timedelta(milliseconds=number)


def begun(
    position: int, *, batches: int = 3, finished: bool = False, key: tuple[str, ...] = ("id",)
) -> BatchedStatement:
    return BatchedStatement(
        position=position,
        line=4,
        table="app.t",
        key=key,
        until=("900",),
        after=("300",) if batches else None,
        rows=250,
        passed=300,
        batches=batches,
        size=100,
        finished=finished,
    )


def progress_of(script: str, *statements: BatchedStatement) -> BatchProgress:
    return BatchProgress(script=fingerprints(split_statements(script, source="up.sql")), statements=statements)


# --- pieces --------------------------------------------------------------------------------------------------------


def test_a_marked_statement_is_a_piece_of_its_own_between_transactions() -> None:
    units = divide(split_statements(SCRIPT, source="up.sql"), declared=None, source="up.sql")

    assert [(unit.kind, len(unit.statements), unit.ends_at) for unit in units] == [
        (UnitKind.TRANSACTION, 2, 2),
        (UnitKind.BATCHES, 1, 3),
        (UnitKind.TRANSACTION, 1, 4),
    ]
    assert [unit.transactional for unit in units] == [True, False, True]


@pytest.mark.parametrize("declared", [True, False, None])
def test_a_mark_counts_whatever_the_author_declared_for_the_script(*, declared: bool | None) -> None:
    units = divide(
        split_statements(f"SELECT 1;\n{MARK}UPDATE t SET a = 1", source="up.sql"), declared=declared, source="up.sql"
    )

    assert [unit.kind for unit in units] == [UnitKind.TRANSACTION, UnitKind.BATCHES]


def test_a_mark_between_begin_and_commit_is_refused_and_one_outside_is_not() -> None:
    inside = split_statements(f"BEGIN;\n{MARK}UPDATE t SET a = 1;\nCOMMIT;", source="up.sql")
    outside = split_statements(f"BEGIN;\nSELECT 1;\nCOMMIT;\n{MARK}UPDATE t SET a = 1;", source="up.sql")

    with pytest.raises(
        InvalidInputError, match=r"^up\.sql:3: between BEGIN and COMMIT a statement cannot run in batches"
    ):
        divide(inside, declared=None, source="up.sql")
    assert [unit.kind for unit in divide(outside, declared=None, source="up.sql")] == [
        UnitKind.TRANSACTION,
        UnitKind.BATCHES,
    ]


@pytest.mark.parametrize(
    "before",
    [
        "CREATE TEMP TABLE map (a int)",
        "CREATE LOCAL TEMPORARY TABLE map AS SELECT 1",
        "SELECT 1 AS a INTO TEMP map",
        "SET ROLE app",
        "SET SESSION AUTHORIZATION app",
        "SET LOCAL session_replication_role = replica",
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT set_config('search_path', 'app', true)",
    ],
)
def test_batches_behind_what_ends_with_the_transaction_or_the_session_are_refused(before: str) -> None:
    statements = split_statements(f"{before};\n{MARK}UPDATE t SET a = 1", source="up.sql")

    with pytest.raises(InvalidInputError, match=r"^up\.sql:3: this statement cannot run in batches: line 1 ") as caught:
        divide(statements, declared=None, source="up.sql")
    assert caught.value.hint


@pytest.mark.parametrize(
    "before", ["SET search_path = app", "SET LOCAL lock_timeout = '2s'", "CREATE TABLE temp (a int)", "SET ROLE app"]
)
def test_what_stays_or_does_not_matter_may_come_before_or_behind(before: str) -> None:
    first, second = (before, "SELECT 1") if "ROLE" not in before else ("SELECT 1", before)
    statements = split_statements(f"{first};\n{MARK}UPDATE t SET a = 1;\n{second}", source="up.sql")

    assert len(divide(statements, declared=None, source="up.sql")) == 3


# --- going on ------------------------------------------------------------------------------------------------------


def test_a_script_without_marks_has_no_progress(make_migration: MakeMigration) -> None:
    (planned,) = plan_apply([make_migration("1")], History())

    assert planned.progress is None
    assert not planned.is_begun


def test_a_new_script_begins_with_the_fingerprints_of_its_statements(make_migration: MakeMigration) -> None:
    (planned,) = plan_apply([make_migration("1", up=SCRIPT)], History())

    assert planned.progress == progress_of(SCRIPT)
    assert len(set(planned.progress.script)) == 4
    assert not planned.is_begun
    assert not planned.transactional


@pytest.mark.parametrize("success", [None, False])
def test_a_run_that_did_not_end_is_continued_with_its_progress_and_its_settings(
    make_migration: MakeMigration, make_row: MakeRow, *, success: bool | None
) -> None:
    row = make_row(1, "1", success=success, statements_done=2, checksum_of=SCRIPT)
    row = replace(row, batch_progress=progress_of(SCRIPT, begun(2)))

    (planned,) = plan_apply([make_migration("1", up=SCRIPT)], History(rows=(row,)))

    assert [unit.ends_at for unit in planned.units] == [3, 4]
    assert planned.progress == row.batch_progress
    assert [one.sql for one in planned.settings] == ["SET search_path = app"]
    assert planned.is_begun


def test_batches_before_any_finished_statement_make_a_version_half_done(
    make_migration: MakeMigration, make_row: MakeRow
) -> None:
    script = f"{MARK}UPDATE t SET a = 1"
    row = make_row(1, "1", success=False, checksum_of=script)

    none = replace(row, batch_progress=progress_of(script))
    some = replace(row, batch_progress=progress_of(script, begun(0)))

    assert History(rows=(none,)).half_done() == {}
    assert History(rows=(some,)).half_done() == {"1": some}
    with pytest.raises(ChecksumMismatchError):
        plan_apply([make_migration("1", up=script.replace("= 1", "= 2"))], History(rows=(some,)))
    assert plan_apply([make_migration("1", up=script.replace("= 1", "= 2"))], History(rows=(none,)))


def test_progress_survives_the_database() -> None:
    progress = progress_of(SCRIPT, begun(2), replace(begun(3), until=None, after=None, batches=0, finished=True))

    assert BatchProgress.from_json(progress.to_json() | {"statements": listed(progress)}) == progress
    assert BatchProgress.from_json(None) is None


def listed(progress: BatchProgress) -> list[dict[str, object]]:
    """As JSON has it: no tuples."""
    return [
        {name: list(value) if isinstance(value, tuple) else value for name, value in one.items()}
        for one in progress.to_json()["statements"]
    ]


def test_a_statement_that_was_begun_in_batches_goes_on_in_them_whatever_the_policy_says_now(
    make_migration: MakeMigration, make_row: MakeRow
) -> None:
    script = "DELETE FROM t WHERE a = 1"
    row = make_row(1, "1", success=False, checksum_of=script)
    row = replace(row, batch_progress=progress_of(script, begun(0, key=("tenant", "id"))))

    (planned,) = plan_apply([make_migration("1", up=script)], History(rows=(row,)))

    (unit,) = planned.units
    assert unit.kind is UnitKind.BATCHES
    assert unit.statements[0].batch == BatchOptions(key=("tenant", "id"), line=1, automatic=True)


def test_the_policy_is_asked_about_statements_without_a_mark_that_are_still_to_run(
    make_migration: MakeMigration, make_row: MakeRow
) -> None:
    asked: list[tuple[int, str]] = []

    def automatic(earlier: Sequence[Statement], statement: Statement, source: str) -> BatchOptions | None:
        asked.append((len(earlier), statement.sql))
        assert source == "1_change/up.sql"
        return BatchOptions(key=("id",), automatic=True) if statement.words[0] == "UPDATE" else None

    script = f"DELETE FROM t;\n{MARK}DELETE FROM t;\nSELECT 1;\nUPDATE t SET a = 1"
    row = make_row(1, "1", success=False, checksum_of=script, statements_done=1)

    (planned,) = plan_apply([make_migration("1", up=script)], History(rows=(row,)), automatic=automatic)

    assert asked == [(2, "SELECT 1"), (3, "UPDATE t SET a = 1")]
    assert [unit.kind for unit in planned.units] == [UnitKind.BATCHES, UnitKind.TRANSACTION, UnitKind.BATCHES]


@pytest.mark.parametrize("in_transaction", [True, None])
def test_the_policy_does_not_take_an_authors_transaction_apart(
    make_migration: MakeMigration, *, in_transaction: bool | None
) -> None:
    script = "UPDATE t SET a = 1" if in_transaction else "BEGIN; UPDATE t SET a = 1; COMMIT"
    migration = replace(make_migration("1", up=script), in_transaction=in_transaction)

    (planned,) = plan_apply([migration], History(), automatic=lambda *_: BatchOptions(key=("id",)))

    assert [unit.kind for unit in planned.units] == [UnitKind.TRANSACTION]


def test_a_mark_in_a_verify_script_is_refused(make_migration: MakeMigration) -> None:
    with pytest.raises(InvalidInputError, match=r"^1_change/verify\.sql:2: a verify script only looks"):
        plan_apply([make_migration("1", verify=f"{MARK}UPDATE t SET a = 1")], History())


# --- going back ----------------------------------------------------------------------------------------------------


@pytest.fixture
def half_back(make_row: MakeRow) -> History:
    back = make_row(2, "1", success=False, direction=Direction.ROLLBACK, statements_done=2)
    return History(rows=(make_row(1, "1"), replace(back, batch_progress=progress_of(SCRIPT, begun(2)))))


def test_a_rollback_in_batches_that_did_not_end_goes_on_where_it_was(
    make_migration: MakeMigration, half_back: History
) -> None:
    (planned,) = plan_rollback([make_migration("1", down=SCRIPT)], half_back, only="1")

    assert (planned.done_before, [unit.ends_at for unit in planned.units]) == (2, [3, 4])
    assert planned.progress == half_back.rows[-1].batch_progress


def test_what_comes_behind_a_half_done_rollback_may_be_mended(
    make_migration: MakeMigration, half_back: History
) -> None:
    mended = SCRIPT.replace("SELECT 1", "SELECT 2; SELECT 3")

    (planned,) = plan_rollback([make_migration("1", down=mended)], half_back, only="1")

    assert planned.progress is not None
    assert planned.progress.script == fingerprints(split_statements(mended, source="down.sql"))


@pytest.mark.parametrize(("old", "new"), [("SET a = 1", "SET a = 2"), ("CREATE TABLE u (a int);", "")])
def test_what_is_done_or_half_done_of_a_rollback_may_not_be_changed(
    make_migration: MakeMigration, half_back: History, old: str, new: str
) -> None:
    with pytest.raises(ChecksumMismatchError, match=r"1_change/down\.sql: one of its first 3 statements was changed"):
        plan_rollback([make_migration("1", down=SCRIPT.replace(old, new))], half_back, only="1")


def test_nothing_is_applied_on_top_of_a_rollback_that_did_not_end(
    make_migration: MakeMigration, half_back: History
) -> None:
    with pytest.raises(VersionConflictError, match="a rollback in batches did not end: 1"):
        plan_apply([make_migration("1"), make_migration("2")], half_back)


# --- pace ----------------------------------------------------------------------------------------------------------

POLICY = BatchPolicy(size=1000, pause=ms(50), target=ms(500))


@pytest.mark.parametrize(
    ("took", "size"),
    [(500, 1000), (250, 2000), (100, 2000), (1000, 500), (9000, 500), (400, 1250), (0, 2000)],
)
def test_the_size_follows_the_target_and_at_most_doubles_or_halves(took: float, size: int) -> None:
    assert next_pace(Pace(size=1000, pause=ms(50)), BatchRun(took=ms(took)), POLICY) == Pace(size=size, pause=ms(50))


def test_whoever_waits_makes_batches_smaller_and_they_grow_slowly_to_where_somebody_waited() -> None:
    waited = BatchRun(took=ms(300), waiters=1, longest_wait=ms(20))
    quick = BatchRun(took=ms(100))

    smaller = next_pace(Pace(size=1000, pause=ms(50)), waited, POLICY)
    smallest = next_pace(replace(smaller, size=400), waited, POLICY)
    grown = next_pace(smallest, quick, POLICY)

    assert smaller == Pace(size=500, pause=ms(50), harmless=500)
    assert smallest == Pace(size=200, pause=ms(50), harmless=200)
    assert grown == Pace(size=220, pause=ms(50), harmless=200)
    # Below what was harmless it may double.
    assert next_pace(replace(smallest, size=80), quick, POLICY).size == 160
    # What takes too long is halved as ever.
    assert next_pace(grown, BatchRun(took=ms(5000)), POLICY).size == 110


def test_where_fewer_rows_help_nobody_pauses_are_longer_and_it_comes_back() -> None:
    waited = BatchRun(took=ms(40), waiters=1, longest_wait=ms(20))

    slower = next_pace(Pace(size=1000, pause=ms(50)), waited, POLICY)
    slowest = next_pace(slower, waited, POLICY)

    assert (slower, slowest) == (
        Pace(size=500, pause=ms(100), harmless=500),
        Pace(size=250, pause=ms(200), harmless=250),
    )
    assert next_pace(slowest, BatchRun(took=ms(500)), POLICY) == Pace(size=250, pause=ms(100), harmless=250)
    # There are no smaller ones.
    at_the_end = Pace(size=SMALLEST, pause=ms(50))
    assert next_pace(at_the_end, replace(waited, took=ms(300)), POLICY).pause == ms(100)


def test_a_short_wait_is_none_and_without_a_pause_there_is_one_for_those_who_wait() -> None:
    eager = replace(POLICY, pause=ms(0))
    at = Pace(size=1000, pause=ms(0))

    assert next_pace(at, BatchRun(took=ms(500), waiters=3, longest_wait=ms(19)), eager) == at
    assert next_pace(at, BatchRun(took=ms(40), waiters=1, longest_wait=ms(30)), eager).pause == ms(50)


@given(
    size=st.integers(1, 1_000_000),
    runs=st.lists(
        st.builds(BatchRun, took=st.integers(0, 10**6).map(ms), waiters=st.integers(0, 1), longest_wait=st.just(ms(99)))
    ),
)
def test_no_run_of_batches_leaves_the_limits(size: int, runs: list[BatchRun]) -> None:
    policy = replace(POLICY, size=size)
    pace = Pace(size=size, pause=policy.pause)
    for run in runs:
        pace = next_pace(pace, run, policy)
        assert min(SMALLEST, size) <= pace.size <= max(LARGEST, size)
        assert policy.pause <= pace.pause <= LONGEST_PAUSE


def test_a_mark_wins_over_the_policy_where_it_says_something() -> None:
    marked = POLICY.with_mark(BatchOptions(key=("id",), pause=ms(0), max_replication_lag=ms(3)))

    assert marked == replace(POLICY, pause=ms(0), max_replication_lag=ms(3))


# --- standbys ------------------------------------------------------------------------------------------------------


class Server:
    """Answers the one query about standbys with what a test says; the driver's connection, as far as it is used."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    def execute(self, _query: str) -> Server:
        return self

    def fetchall(self) -> list[tuple[object, ...]]:
        return self.rows


def test_a_standby_that_stands_still_is_behind_however_long_ago_it_said_something() -> None:
    now = [0.0]
    server = Server()
    read = StandbyReader(clock=lambda: now[0])
    seen = []
    for second, (said, replayed, ours) in enumerate(
        [(None, 100, 100), (0.2, 100, 200), (0.2, 100, 300), (0.2, 200, 300), (7.0, 250, 300), (0.1, 300, 300)]
    ):
        now[0] = float(second)
        server.rows = [("replica", said, replayed, ours)]
        seen += [one.lag.total_seconds() for one in read(server)]  # type: ignore[arg-type, union-attr]

    # Our WAL was at 200 in second 1 and at 300 in second 2; what it says counts where that is more.
    assert seen == [0.0, 0.2, 1.0, 1.0, 7.0, 0.0]


def test_the_standby_farthest_behind_counts_and_one_that_may_not_be_seen_does_not() -> None:
    lags = (
        StandbyLag(name="near", lag=ms(200)),
        StandbyLag(name="far", lag=ms(900)),
        StandbyLag(name="hidden", lag=None),
    )

    assert farthest_behind(lags, ms(100)) == lags[1]
    assert farthest_behind(lags, ms(900)) is None
    assert farthest_behind((), ms(1)) is None


# --- telling -------------------------------------------------------------------------------------------------------


def test_rows_share_and_time_left_are_told_once_a_second() -> None:
    now = [0.0]
    told: list[str] = []
    done = replace(begun(0, batches=0), rows=0, passed=0)
    telling = Telling(told.append, "up.sql:3", 10_000, done, clock=lambda: now[0])

    for number in range(1, 5):
        now[0] += 0.5
        telling.batch_done(replace(done, rows=900 * number, passed=1000 * number, batches=number, size=1000))
    telling.batch_done(replace(done, rows=9000, passed=10_000, batches=10, finished=True))

    assert told == [
        "up.sql:3: 1,800 rows done, 20 % of about 10,000 in the table, about 4 s left",
        "up.sql:3: 3,600 rows done, 40 % of about 10,000 in the table, about 3 s left",
        "up.sql:3: 9,000 rows done in 10 batches, finished",
    ]


def test_a_table_that_is_larger_than_thought_is_never_said_to_be_done_before_it_is() -> None:
    now = [0.0]
    told: list[str] = []
    telling = Telling(told.append, "up.sql:3", 10, begun(0), clock=lambda: now[0])
    now[0] = 2.0
    telling.batch_done(replace(begun(0), passed=5_000_000, size=5000))

    assert told[0] == "up.sql:3: goes on behind id = 300; 250 rows done"
    assert "99 % of about 5,005,000" in told[1]


@pytest.mark.parametrize(("seconds", "said"), [(0, "1 s"), (59, "59 s"), (90, "2 min"), (9000, "2.5 h")])
def test_time_left_is_as_exact_as_an_estimate_deserves(seconds: float, said: str) -> None:
    assert about(timedelta(seconds=seconds)) == said


# --- shares --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.lists(st.integers(1, 99), unique=True, max_size=6).map(sorted))
def test_behind_each_share_no_more_is_left_than_it_says_and_no_share_does_more_than_its_part(
    rows: int, shares: list[int]
) -> None:
    left = rows
    for pct in shares:
        todo = rows_to_do(rows, left, pct)
        assert 0 <= todo <= left
        left -= todo
        assert rows - left == min(rows, max(1, rows * pct // 100))


def test_rows_that_came_or_went_meanwhile_belong_to_the_next_share() -> None:
    assert rows_to_do(1000, 950, 25) == 200
    assert rows_to_do(1000, 960, 25) == 210
    assert rows_to_do(1000, 700, 25) == 0


def test_the_first_marked_statement_carries_the_shares_and_what_comes_behind_it_is_not_begun(
    make_migration: MakeMigration, make_row: MakeRow
) -> None:
    script = f"{MARK}UPDATE a SET a = 1;\nCREATE TABLE u (a int);\n{MARK}UPDATE t SET a = 1;\nSELECT 1"
    migrations = (make_migration("1"), make_migration("2", script), make_migration("3"))
    first, second = until_share(plan_apply(migrations, History(), to="3"), "2", 5)
    assert (first.share, second.share) == (None, Share(position=0, pct=5))
    assert (len(second.units), second.verify) == (1, ())

    # It failed behind that one, so the next one carries them; and when a share was done, the same one goes on.
    failed = make_row(1, "2", success=False, statements_done=2, checksum_of=script)
    row = replace(failed, batch_progress=progress_of(script, begun(0, finished=True)))
    (step,) = until_share(plan_apply(migrations, History(rows=(make_row(0, "1"), row)), to="2"), "2", 5)
    assert step.share == Share(position=2, pct=5)
    staged = progress_of(script, replace(begun(0, finished=True), share_of=9))
    row = replace(row, batch_progress=staged, statements_done=1)
    (step,) = until_share(plan_apply(migrations, History(rows=(make_row(0, "1"), row)), to="2"), "2", 25)
    assert (step.share, step.units) == (Share(position=0, pct=25), ())
    assert until_share((step,), "1", 25) == ()


def test_how_far_the_shares_are_comes_back_from_the_database() -> None:
    at = datetime(2025, 1, 1, 12, tzinfo=UTC)
    shares = (ShareEnd(pct=5, rows=3, at=at), ShareEnd(pct=25, rows=9, at=at))
    staged = replace(begun(2), share_of=40, by_condition=True, shares=shares)
    progress = replace(progress_of(SCRIPT, begun(1), staged), stopped=True)

    back = BatchProgress.from_json(json.loads(json.dumps(progress.to_json())))

    assert back == progress
    assert back.staged == staged
    assert [back.share_done(pct) for pct in (5, 6, 26)] == [*shares, None]
    assert str(staged) == "25 % of 40 rows up to id = 300, 250 changed"
