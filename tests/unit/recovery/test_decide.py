"""Which way back is taken, for every combination of facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.migrations.records import Direction, HistoryRow
from squizzle.proof.records import Comparison, TableComparison
from squizzle.recovery.assess import Activity, Assessment, Disaster
from squizzle.recovery.decide import RollbackAttempt, decide_recovery, undo_request
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.ways import (
    BackupMeans,
    CloudMeans,
    CopyMeans,
    DrilledWay,
    Means,
    PointMeans,
    RecoveryPlan,
    RecoveryPolicy,
    ScriptMeans,
    UndoMeans,
    Way,
    WayBack,
)

DAMAGE = "public.users: 1,500 rows fewer than the 1,500 of the backup"
NOW = datetime(2027, 1, 31, 3, tzinfo=UTC)
STRUCK = NOW - timedelta(minutes=30)
BEFORE, AFTER = STRUCK - timedelta(hours=1), STRUCK + timedelta(minutes=1)

ATTEMPTS = {
    "brought everything back": RollbackAttempt(versions=("0013",), error="", remaining=()),
    "failed": RollbackAttempt(versions=("0013",), error="relation users does not exist", remaining=()),
    "left damage": RollbackAttempt(versions=("0013",), error="", remaining=(DAMAGE,)),
    "failed and left damage": RollbackAttempt(versions=("0013",), error="no such table", remaining=(DAMAGE,)),
}
USERS = TableComparison(table="public.users", expected_rows=1500, found_rows=None, equal=False)


@pytest.fixture(scope="session")
def damaged(equal_comparison: Comparison) -> Assessment:
    """A table was emptied by version 0013."""
    return Assessment(
        since="20250301T120000Z-shop-abcdef",
        since_version="0012",
        current="0013",
        applied_since=("0013",),
        failed=(),
        comparison=replace(equal_comparison, tables=(USERS,)),
        disaster_at=STRUCK,
    )


def backup_means(backup: Backup, *, at: datetime = BEFORE, **changes: object) -> BackupMeans:
    taken = replace(backup, started_at=at, kind=BackupKind.FULL, id=f"b{at:%H%M}")
    return replace(BackupMeans(id=taken.id, backup=taken), **changes)  # type: ignore[arg-type]


def proof(verdict: Verdict, kind: ProofKind = ProofKind.RESTORE, seconds: float = 100) -> Proof:
    return Proof(
        backup_id="b",
        kind=kind,
        verdict=verdict,
        at=BEFORE,
        duration=timedelta(seconds=seconds),
        by="a",
        sentences=("x",),
    )


def everything(backup: Backup) -> Means:
    """All six ways are open."""
    return Means(
        scripts=(ScriptMeans(version="0013", has_down=True, took=timedelta(seconds=2), rolled_back_at=BEFORE),),
        undo=UndoMeans(since=BEFORE, tables={"public.users": ("public", "users")}),
        copies=(CopyMeans(name="shop__copy", made_at=BEFORE),),
        backups=(backup_means(backup, restored=proof(Verdict.PASS)),),
        point=PointMeans(backup_id="p", target=STRUCK),
        cloud=(CloudMeans(name="snapshot", at=BEFORE),),
    )


def decide(assessment: Assessment, means: Means, **options: object) -> RecoveryPlan:
    return decide_recovery(assessment, means, now=NOW, **options)  # type: ignore[arg-type]


def test_what_loses_nothing_comes_first_then_what_loses_least_then_what_is_quickest(
    damaged: Assessment, backup: Backup
) -> None:
    plan = decide(damaged, everything(backup))
    assert [one.way for one in plan.ways] == [
        Way.ROLL_BACK,  # measured: 2 s
        Way.UNDO,
        Way.POINT_IN_TIME,  # loses half an hour
        Way.SWAP,  # the others lose an hour and a half
        Way.RESTORE_BESIDE,
        Way.CLOUD,
    ]
    assert all(one.possible for one in plan.ways)
    assert plan.chosen == plan.ways[0]
    assert (plan.ways[0].rto, plan.ways[0].proven_at) == (timedelta(seconds=2), BEFORE)


def test_after_each_failure_the_next_way_is_taken_until_none_is_left(damaged: Assessment, backup: Backup) -> None:
    means, tried, taken = everything(backup), {}, []
    while True:
        plan = decide(damaged, means, tried=tried)
        if plan.chosen is None:
            break
        taken.append(plan.chosen.way)
        assert bool(plan.approval) == (plan.chosen.rpo > timedelta())
        tried[plan.chosen.way, plan.chosen.name] = "it broke"
    assert taken == [Way.ROLL_BACK, Way.UNDO, Way.POINT_IN_TIME, Way.SWAP, Way.RESTORE_BESIDE, Way.CLOUD]
    assert plan.reason.startswith("no way back is left: ")
    assert plan.reason.count("it was tried: it broke") == 6


@pytest.mark.parametrize(
    ("change", "way", "why"),
    [
        ({"scripts": ()}, Way.ROLL_BACK, "there is no down script for 0013"),
        (
            {"scripts": (ScriptMeans(version="0013", has_down=False),)},
            Way.ROLL_BACK,
            "there is no down script for 0013",
        ),
        ({"undo": None}, Way.UNDO, "no change log is switched on"),
        (
            {"undo": UndoMeans(since=AFTER, tables={"public.users": ("public", "users")})},
            Way.UNDO,
            "after the disaster",
        ),
        ({"undo": UndoMeans(since=BEFORE, tables={})}, Way.UNDO, "does not cover public.users"),
        ({"copies": ()}, Way.SWAP, "no copy was prepared"),
        ({"copies": (CopyMeans(name="c", made_at=AFTER),)}, Way.SWAP, "it was made after the disaster"),
        ({"backups": ()}, Way.RESTORE_BESIDE, "there is no backup of this database"),
        ({"point": None}, Way.POINT_IN_TIME, "no copy of the cluster"),
        ({"point": PointMeans(backup_id="p", target=STRUCK, problem="000A is missing")}, Way.POINT_IN_TIME, "000A"),
        ({"cloud": ()}, Way.CLOUD, "no provider's snapshot"),
        ({"cloud": (CloudMeans(name="s", at=AFTER),)}, Way.CLOUD, "it is from after the disaster"),
        ({"cloud": (CloudMeans(name="s", at=BEFORE, problem="quota"),)}, Way.CLOUD, "quota"),
    ],
)
def test_why_a_way_is_impossible_is_said(
    damaged: Assessment, backup: Backup, change: dict[str, object], way: Way, why: str
) -> None:
    plan = decide(damaged, replace(everything(backup), **change))  # type: ignore[arg-type]
    (found,) = (one for one in plan.ways if one.way is way)
    assert not found.possible
    assert why in found.why
    assert plan.chosen is not None
    assert plan.chosen.way is not way


def test_a_backup_that_is_too_late_broken_or_of_another_kind_is_not_restored(
    damaged: Assessment, backup: Backup
) -> None:
    good = backup_means(backup)
    assert good.backup is not None
    unusable = {
        "it was taken after the disaster": backup_means(backup, at=AFTER),
        "it failed its last check: x": replace(good, restored=proof(Verdict.FAIL)),
        "failed its last check": replace(good, verified=proof(Verdict.FAIL, ProofKind.FILES)),
        "does not hold the whole database": replace(good, backup=replace(good.backup, kind=BackupKind.SCHEMA)),
        "its manifest is damaged": replace(good, backup=None),
        "of another cluster": replace(good, problems=("it is of another cluster",)),
    }
    for why, means in unusable.items():
        plan = decide(damaged, Means(backups=(means,)))
        assert plan.chosen is None, why
        assert why in plan.reason
    assert decide(damaged, Means(backups=(replace(good, restored=proof(Verdict.COULD_NOT_VERIFY)),))).chosen


def test_how_long_a_restore_takes_is_what_it_took_or_what_another_took_by_size(
    damaged: Assessment, backup: Backup
) -> None:
    known = backup_means(backup, restored=proof(Verdict.PASS, seconds=100))
    assert known.backup is not None
    half = tuple(replace(one, size_bytes=one.size_bytes // 2) for one in known.backup.files)
    smaller = replace(known, id="s", backup=replace(known.backup, id="s", files=half), restored=None)
    by_name = {one.name: one for one in decide(damaged, Means(backups=(smaller, known))).ways}
    assert by_name["b0130"].rto == timedelta(seconds=100)
    rto = by_name["s"].rto
    assert rto is not None
    assert 45 < rto.total_seconds() < 55
    assert by_name["s"].measured_by == "the restore of b0130, by size"
    assert by_name["s"].proven_at is None
    (alone,) = (one for one in decide(damaged, Means(backups=(smaller,))).ways if one.name == "s")
    assert (alone.rto, alone.measured_by) == (None, "")


def test_the_policy_caps_time_and_loss_and_may_forbid_ways(damaged: Assessment, backup: Backup) -> None:
    means = everything(backup)
    slow = RecoveryPolicy(max_rto=timedelta(seconds=1))
    assert "the policy allows 1.0 s" in decide(damaged, means, policy=slow).ways[-1].why
    assert decide(damaged, means, policy=slow).chosen.way is Way.UNDO  # type: ignore[union-attr]
    safe = RecoveryPolicy(max_rpo=timedelta(minutes=30))
    left = [one.way for one in decide(damaged, means, policy=safe).ways if one.possible]
    assert left == [Way.ROLL_BACK, Way.UNDO, Way.POINT_IN_TIME]
    only = RecoveryPolicy(ways=frozenset({Way.RESTORE_BESIDE}))
    plan = decide(damaged, means, policy=only)
    assert plan.chosen is not None
    assert plan.chosen.way is Way.RESTORE_BESIDE
    assert plan.approval == "restore beside loses what was written in the last 1 h 30 min"
    assert not decide(damaged, means, policy=replace(only, may_lose_data=True)).approval


def test_a_good_database_is_left_alone_unless_somebody_insists(equal_comparison: Comparison, backup: Backup) -> None:
    good = Assessment(
        since="b", since_version="0012", current="0012", applied_since=(), failed=(), comparison=equal_comparison
    )
    plan = decide(good, everything(backup))
    assert (plan.is_needed, plan.chosen, plan.reason) == (False, None, "nothing that the backup has is missing")
    migrated = replace(good, current="0013", applied_since=("0013",))
    assert decide(migrated, everything(backup)).chosen is None
    insisted = decide(good, everything(backup), insist=True)
    assert insisted.is_needed
    assert insisted.chosen is not None


@given(data=st.data())
def test_no_combination_of_facts_chooses_what_cannot_be_done_or_skips_what_loses_nothing(
    damaged: Assessment, backup: Backup, data: st.DataObject
) -> None:
    whole = everything(backup)
    means = Means(
        scripts=data.draw(st.sampled_from([whole.scripts, ()])),
        undo=data.draw(st.sampled_from([whole.undo, None])),
        copies=data.draw(st.sampled_from([whole.copies, (CopyMeans(name="late", made_at=AFTER),), ()])),
        backups=data.draw(st.sampled_from([whole.backups, (backup_means(backup, at=AFTER),), ()])),
        point=data.draw(st.sampled_from([whole.point, None])),
        cloud=data.draw(st.sampled_from([whole.cloud, ()])),
    )
    policy = RecoveryPolicy(
        may_lose_data=data.draw(st.booleans()),
        max_rpo=data.draw(st.sampled_from([None, timedelta(), timedelta(hours=1)])),
        ways=data.draw(st.frozensets(st.sampled_from(Way))),
    )
    plan = decide(damaged, means, policy=policy)
    possible = [one for one in plan.ways if one.possible]
    assert (plan.chosen is None) == (not possible)
    assert {one.way for one in plan.ways} == set(Way)
    assert all(one.why for one in plan.ways)
    for one in possible:
        assert one.way in policy.ways
        assert policy.max_rpo is None or one.rpo <= policy.max_rpo
    if plan.chosen is not None:
        assert plan.chosen.rpo == min(one.rpo for one in possible)
        assert bool(plan.approval) == (plan.chosen.loses_data and not policy.may_lose_data)


@pytest.mark.parametrize(("attempt", "why"), [("failed", "failed (relation users"), ("left damage", DAMAGE)])
def test_why_a_rollback_was_not_enough_is_said(attempt: str, why: str) -> None:
    assert why in ATTEMPTS[attempt].why_not
    assert not ATTEMPTS["brought everything back"].why_not


@pytest.mark.parametrize(
    ("attempt", "brought_back"),
    [("brought everything back", True), ("failed", False), ("left damage", False), ("failed and left damage", False)],
)
def test_a_rollback_brought_back_only_what_has_neither_error_nor_damage(attempt: str, *, brought_back: bool) -> None:
    found = ATTEMPTS[attempt]

    assert found.brought_back is brought_back


# --- what counts as damage -----------------------------------------------------------------------------------------


def damage_of(comparison: Comparison) -> tuple[str, ...]:
    assessment = Assessment(
        since="b", since_version="0012", current="0012", applied_since=(), failed=(), comparison=comparison
    )
    return assessment.damage


@pytest.mark.parametrize(
    ("found_rows", "damage"),
    [
        (None, ("public.users: 1,500 rows fewer than the 1,500 of the backup",)),
        (0, ("public.users: 1,500 rows fewer than the 1,500 of the backup",)),
        (1499, ("public.users: 1 rows fewer than the 1,500 of the backup",)),
        (1500, ()),
        (1600, ()),  # what clients wrote since the backup
    ],
)
def test_rows_that_are_gone_are_damage(
    equal_comparison: Comparison, found_rows: int | None, damage: tuple[str, ...]
) -> None:
    table = TableComparison(table="public.users", expected_rows=1500, found_rows=found_rows, equal=False)

    assert damage_of(replace(equal_comparison, tables=(table,))) == damage


def test_objects_that_are_gone_or_changed_are_damage_and_new_ones_are_not(equal_comparison: Comparison) -> None:
    comparison = replace(
        equal_comparison, missing=("table public.users",), changed=("view public.v",), unexpected=("table public.new",)
    )

    assert damage_of(comparison) == ("missing: table public.users", "changed: view public.v")


# --- what it looks like --------------------------------------------------------------------------------------------


ROW = HistoryRow(
    id=1,
    version="0013",
    name="n",
    direction=Direction.APPLY,
    success=False,
    applied_at=STRUCK,
    applied_by="a",
    error="e",
    checksum=None,
    statements_done=0,
    schema_digest=None,
)
OTHER_ROWS = TableComparison(table="public.users", expected_rows=5, found_rows=5, equal=False)


@pytest.mark.parametrize(
    ("change", "missing", "tables", "disasters"),
    [
        ({}, (), (), []),
        ({}, (), (USERS,), [Disaster.DATA_LOSS]),
        ({}, ("table public.users",), (), [Disaster.DATA_LOSS]),
        ({}, ("index public.i",), (), [Disaster.PERFORMANCE_DEGRADATION]),
        ({}, (), (OTHER_ROWS,), []),  # clients write
        ({"applied_since": ("0013",)}, (), (OTHER_ROWS,), [Disaster.CORRUPTED_MIGRATION]),
        ({"failed": (ROW,)}, (), (), [Disaster.CORRUPTED_MIGRATION]),
        ({"activity": Activity(checksum_failures=1)}, (), (), [Disaster.CORRUPTED_MIGRATION]),
        ({"activity": Activity(blocked_sessions=1)}, (), (), [Disaster.LOCKED_DATABASE]),
        ({"running": (ROW,)}, (), (), [Disaster.LOCKED_DATABASE]),
        ({"foreign": ("0099",)}, (), (), [Disaster.WRONG_ENVIRONMENT]),
        (
            {"failed": (replace(ROW, direction=Direction.ROLLBACK),)},
            (),
            (),
            [Disaster.CASCADING_FAILURE, Disaster.CORRUPTED_MIGRATION],
        ),
    ],
)
def test_disasters_are_named_by_what_they_look_like(
    equal_comparison: Comparison,
    change: dict[str, object],
    missing: tuple[str, ...],
    tables: tuple[TableComparison, ...],
    disasters: list[Disaster],
) -> None:
    found = Assessment(
        since="b",
        since_version="0012",
        current="0012",
        applied_since=(),
        failed=(),
        comparison=replace(equal_comparison, missing=missing, tables=tables),
    )
    assert list(replace(found, **change).disasters) == disasters  # type: ignore[arg-type]


def test_an_undo_of_migrations_loses_nothing_and_one_since_a_time_what_was_written_since(
    damaged: Assessment, backup: Backup
) -> None:
    means = everything(backup)

    def undo(assessment: Assessment) -> WayBack:
        return next(one for one in decide(assessment, means).ways if one.way is Way.UNDO)

    assert (undo(damaged).possible, undo(damaged).rpo) == (True, timedelta())
    assert undo_request(damaged, means) == UndoRequest(
        tables=(("public", "users"),),
        since=STRUCK,
        applications=("squizzle migration", "squizzle rollback", "squizzle rollout"),
    )
    told = replace(damaged, is_told=True)
    assert (undo(told).possible, undo(told).rpo) == (True, NOW - STRUCK)
    assert undo_request(told, means).is_everything
    gone = replace(damaged, disaster_at=None)
    assert "say since when" in undo(gone).why


def test_a_point_needs_a_moment_and_a_copy_with_its_log(damaged: Assessment) -> None:
    for struck, why in (
        (None, "it is not known when the damage was done"),
        (STRUCK, "there is no copy of the cluster"),
    ):
        plan = decide_recovery(replace(damaged, disaster_at=struck), Means(), now=NOW)
        point = next(one for one in plan.ways if one.way is Way.POINT_IN_TIME)
        assert not point.possible
        assert point.why.startswith(why)


def test_where_nothing_was_measured_here_drills_tell_how_long_a_way_takes(damaged: Assessment, backup: Backup) -> None:
    rows = backup.rows
    drilled = tuple(
        DrilledWay(way=way, took=timedelta(seconds=seconds), rows=counted)
        for way, seconds, counted in (
            (Way.RESTORE_BESIDE, 20, rows // 2),
            (Way.RESTORE_BESIDE, 30, rows * 5),
            (Way.RESTORE_BESIDE, 25, rows),
            (Way.RESTORE_BESIDE, 9999, None),
            (Way.UNDO, 4, None),
        )
    )
    means = replace(everything(backup), backups=(backup_means(backup),), drilled=drilled)

    ways = {one.way: one for one in decide(damaged, means).ways}

    restore, undo = ways[Way.RESTORE_BESIDE], ways[Way.UNDO]
    assert (restore.rto, restore.measured_by) == (timedelta(seconds=30), "the median of 3 drills, by rows")
    assert (undo.rto, undo.measured_by) == (timedelta(seconds=4), "1 drill")
    unknown = replace(backup, digest=None)
    (sealed,) = (
        one
        for one in decide(damaged, replace(means, backups=(backup_means(unknown),))).ways
        if one.way is Way.RESTORE_BESIDE
    )
    assert (sealed.rto, sealed.measured_by) == (None, "")
    known = replace(means, backups=(backup_means(backup, restored=proof(Verdict.PASS, seconds=100)),))
    assert {one.way: one for one in decide(damaged, known).ways}[Way.RESTORE_BESIDE].rto == timedelta(seconds=100)
