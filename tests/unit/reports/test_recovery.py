"""What a tired operator reads: the question before something is lost, and what is shut when a recovery ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from squizzle.proof.records import Comparison, TableComparison
from squizzle.recovery.assess import Assessment
from squizzle.recovery.evidence import Evidence
from squizzle.recovery.fences.records import FenceKind, FenceState, FenceStatus, Hold, are_shut
from squizzle.recovery.recovery import RecoveryOutcome, RecoveryReport, judge_recovery
from squizzle.recovery.ways import RecoveryPlan, Way, WayBack
from squizzle.reports.loss import loss_question
from squizzle.reports.recovery import lifting_commands

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)
SHUT = NOW - timedelta(minutes=4)
BACKUP = WayBack(
    way=Way.RESTORE_BESIDE,
    name="b0900",
    possible=True,
    why="a backup 3 h old, restored and compared before",
    rto=timedelta(minutes=4, seconds=10),
    rpo=timedelta(hours=3),
    proven_at=NOW - timedelta(days=1),
    measured_by="the last restore of this backup",
)
OTHERS = (
    replace(BACKUP, name="b0300", rpo=timedelta(hours=9), rto=None),
    WayBack(way=Way.ROLL_BACK, name="", possible=False, why="nothing was applied since the backup"),
)


def question(
    comparison: Comparison, *, way: WayBack = BACKUP, now: datetime = NOW, since: datetime = SHUT
) -> tuple[str, str, str]:
    tables = (
        TableComparison(table="public.users", expected_rows=1500, found_rows=None, equal=False),
        TableComparison(table="public.orders", expected_rows=100, found_rows=412, equal=False),
    )
    asked = loss_question(
        database="shop",
        environment="production",
        keep_as="shop__old_20270131t120000",
        salvage=True,
        plan=RecoveryPlan(ways=(way, *OTHERS), chosen=way, is_needed=True, approval="it loses"),
        assessment=Assessment(
            since="b0900",
            since_version=None,
            current=None,
            applied_since=(),
            failed=(),
            comparison=replace(comparison, tables=tables),
        ),
        since=since,
        now=now,
    )
    return asked.title, asked.plan, asked.digest


def test_the_question_says_what_is_lost_by_which_way_and_in_how_long(equal_comparison: Comparison) -> None:
    title, plan, digest = question(equal_comparison)

    assert title == "Recover shop in production and lose what was written in the last 3 h"
    for line in (
        "- **Lost**: **whatever anybody wrote since 2027-01-31 09:00:00 UTC**, 3 h ago; at least 312 rows in `public.o",
        "- **By**: restore beside, `b0900`: a backup 3 h old, restored and compared before",
        "- **Takes**: 4 min 10 s: the last restore of this backup",
        "- **Last proven**: 2027-01-30 12:00:00 UTC",
        "- **Clients** are kept out since 2027-01-31 11:56:00 UTC, and until this is decided",
        "- public.users: 1,500 rows fewer than the 1,500 of the backup",
        "- restore beside (`b0300`) takes a time that was never measured and loses what was written in 9 h:",
        "- roll back is not possible: nothing was applied since the backup",
    ):
        assert line in plan
    assert "stays as `shop__old_20270131t120000`" in plan
    # Time that passes is the same question; another way, or another recovery by the same way, is another one.
    later = replace(BACKUP, rpo=timedelta(hours=4))
    assert question(equal_comparison, way=later, now=NOW + timedelta(hours=1))[2] == digest
    assert question(equal_comparison, way=replace(BACKUP, name="b0300"))[2] != digest
    assert question(equal_comparison, since=NOW)[2] != digest


def test_what_is_shut_comes_with_who_holds_it_and_what_opens_it() -> None:
    ours = Hold(holder="recovery of shop in production", by="run", reason="r", run="", at=SHUT)
    anna = replace(ours, holder="anna@desk")
    fences = (
        FenceStatus(kind=FenceKind.KUBERNETES, name="kubernetes deployment shop/web", state=FenceState.OPEN),
        FenceStatus(kind=FenceKind.COMMAND, name="command queue", state=FenceState.FENCED, holds=(ours, anna)),
        FenceStatus(kind=FenceKind.DATABASE, name="database shop", state=FenceState.FENCED),
    )
    report = RecoveryReport(
        database="shop",
        environment="production",
        outcome=RecoveryOutcome.FAILED,
        reasons=(),
        fenced=True,
        started_at=NOW,
        steps=(),
        evidence=Evidence(fences=fences),
        holder=ours.holder,
    )

    again, own, annas, database = lifting_commands(report)

    assert again.startswith("start the same recovery again")
    assert own.startswith("`squizzle unfence --env production --as 'recovery of shop in production'` lets go")
    assert annas.startswith("`squizzle unfence --env production --as anna@desk` lets go")
    assert database.startswith("database shop is held by nobody: `squizzle unfence --env production --all` opens it")
    assert lifting_commands(replace(report, holder="another"))[0] == own
    # What cannot be asked counts as shut only where this recovery shut it and did not come to open it.
    lost = replace(fences[0], state=FenceState.UNKNOWN)
    assert [are_shut((lost,), is_sure=sure) for sure in (True, False)] == [True, False]
    assert are_shut((replace(lost, holds=(ours,)),), is_sure=False)
    assert not are_shut(fences[:1], is_sure=True)


def test_an_error_after_the_data_was_compared_says_both() -> None:
    evidence = Evidence(error="the application did not come back", verified="every row is there", failed=("x",))

    assert judge_recovery(evidence, dry_run=False) == (
        RecoveryOutcome.FAILED,
        ("the application did not come back", "what was recovered: every row is there", "x"),
    )
    assert judge_recovery(replace(evidence, refused="rejected by ben"), dry_run=False) == (
        RecoveryOutcome.REFUSED,
        ("rejected by ben", "x"),
    )
