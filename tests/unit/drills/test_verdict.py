"""When a drill has passed, and that a check that did not run never counts as passed."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.records import Backup
from squizzle.drills.records import (
    Check,
    Detector,
    DrillBook,
    DrillReport,
    DrillRun,
    DrillScenario,
    DrillVerdict,
    Findings,
    Notice,
)
from squizzle.drills.scenarios import SCENARIOS, TITLES, UNTOUCHED, scenarios_of
from squizzle.drills.untouched import Untouched
from squizzle.drills.verdict import judge_drill
from squizzle.errors import InvalidInputError
from squizzle.proof.records import Comparison, SchemaMatch, TableComparison, TableDigest
from squizzle.recovery.assess import Assessment
from squizzle.recovery.decide import RollbackAttempt
from squizzle.recovery.disasters import flip_byte
from squizzle.recovery.evidence import Evidence, EvidenceBook
from squizzle.recovery.ways import Way, WayBack

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def assessment(equal_comparison: Comparison) -> Assessment:
    lost = TableComparison(table="public.users", expected_rows=1500, found_rows=None, equal=False)
    return Assessment(
        since="20250301T120000Z-shop-abcdef",
        since_version="0012",
        current="0013",
        applied_since=("0013",),
        failed=(),
        comparison=replace(equal_comparison, tables=(lost,), schema=SchemaMatch.DIFFERENT),
    )


@pytest.fixture
def evidence(backup: Backup, equal_comparison: Comparison, assessment: Assessment) -> Evidence:
    """Everything that a drill that went well found out."""
    return Evidence(
        backup=backup,
        steady=backup.digest,
        disaster_at=NOON + timedelta(seconds=90),
        noticed_at=NOON + timedelta(seconds=91),
        recovered_at=NOON + timedelta(seconds=101, milliseconds=500),
        assessment=assessment,
        decisions=(
            WayBack(way=Way.ROLL_BACK, name="0013", possible=True, why="it came after the backup"),
            WayBack(way=Way.RESTORE_BESIDE, name="b", possible=True, why="the rows did not come back"),
        ),
        rollback=RollbackAttempt(versions=("0013",), error="", remaining=("rows are gone",)),
        copy=equal_comparison,
        final=equal_comparison,
        changed_properties=(),
        application_reads="reads 1,500 rows of users",
    )


AROUND = Check(name=UNTOUCHED, is_so=True, detail="2 databases are as before")


def found(evidence: Evidence) -> Findings:
    """What a drill with this evidence found."""
    notice = Notice(by=Detector.FINGERPRINTS, what="public.users: gone", at=NOON + timedelta(seconds=91))
    return Findings(evidence=evidence, broke="users was dropped", notice=notice, checks=(AROUND,))


def judged(evidence: Evidence) -> tuple[DrillVerdict, tuple[str, ...]]:
    """The verdict on a drill that restores."""
    return judge_drill(SCENARIOS[DrillScenario.DATA_LOSS], found(evidence))


def test_a_drill_that_found_everything_equal_passes_and_says_what_was_proven(evidence: Evidence) -> None:
    verdict, reasons = judged(evidence)

    assert verdict is DrillVerdict.PASS
    assert reasons == (
        "1,500 rows in 2 tables are the rows of the backup, table by table",
        "4 schema objects are the same (exact)",
        "owner, privileges, settings and comment of the database were carried over",
        "the application's role reads 1,500 rows of users",
        f"{UNTOUCHED}: 2 databases are as before",
    )


# What a drill can do without: what it decided on the way, what only a recovery has, and the error that there was none of.
NOT_NEEDED = {"decisions", "rollback", "error", "failed", "plan", "verified", "kept_as", "sequences", "salvage"}
NOT_NEEDED |= {"fences", "refused", "notes", "undo", "waited"}
NEEDED = [field.name for field in fields(Evidence) if field.name not in NOT_NEEDED]


@pytest.mark.parametrize("missing", NEEDED)
def test_without_any_one_piece_of_evidence_nothing_is_verified(evidence: Evidence, missing: str) -> None:
    verdict, reasons = judged(replace(evidence, **{missing: None}))

    assert verdict is DrillVerdict.COULD_NOT_VERIFY
    assert reasons
    assert all("was not" in reason or "were not" in reason or "did not" in reason for reason in reasons)


def test_without_any_evidence_everything_that_is_missing_is_named() -> None:
    verdict, reasons = judge_drill(SCENARIOS[DrillScenario.DATA_LOSS], Findings())

    assert verdict is DrillVerdict.COULD_NOT_VERIFY
    assert len(reasons) == len(set(reasons)) == 13


@pytest.mark.parametrize("optional", ["decisions", "rollback"])
def test_how_it_was_decided_is_no_evidence_of_the_result(evidence: Evidence, optional: str) -> None:
    nothing: object = () if optional == "decisions" else None

    assert judged(replace(evidence, **{optional: nothing}))[0] is DrillVerdict.PASS


LOST = TableComparison(table="public.users", expected_rows=1500, found_rows=1499, equal=False)
OTHER_ROWS = TableComparison(table="public.users", expected_rows=1500, found_rows=1500, equal=False)
GONE = TableComparison(table="public.users", expected_rows=1500, found_rows=None, equal=False)
DIFFERENCES: dict[str, dict[str, object]] = {
    "a table with fewer rows": {"tables": (LOST,)},
    "a table with other rows": {"tables": (OTHER_ROWS,)},
    "a table that is gone": {"tables": (GONE,)},
    "an object that is missing": {"missing": ("index public.i",), "schema": SchemaMatch.DIFFERENT},
    "an object that is changed": {"changed": ("view public.v",), "schema": SchemaMatch.DIFFERENT},
    "an object too many": {"unexpected": ("table public.t",), "schema": SchemaMatch.DIFFERENT},
    "a sequence behind": {"sequences": ("public.s stands at 1, expected at least 2",)},
    "a schema that differs in nothing with a name": {"schema": SchemaMatch.DIFFERENT},
}


@pytest.mark.parametrize("difference", DIFFERENCES.values(), ids=DIFFERENCES.keys())
@pytest.mark.parametrize(("which", "called"), [("copy", "the restored copy"), ("final", "the recovered database")])
def test_any_difference_from_the_backup_fails(
    evidence: Evidence, which: str, called: str, difference: dict[str, object]
) -> None:
    comparison = replace(getattr(evidence, which), **difference)

    verdict, reasons = judged(replace(evidence, **{which: comparison}))

    assert verdict is DrillVerdict.FAIL
    assert reasons[0].startswith(f"{called} is not what was saved: ")


def test_another_order_of_columns_does_not_fail(evidence: Evidence, equal_comparison: Comparison) -> None:
    logical = replace(equal_comparison, schema=SchemaMatch.LOGICAL)

    assert judged(replace(evidence, copy=logical, final=logical))[0] is DrillVerdict.PASS


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"error": "pg_restore failed"}, "pg_restore failed"),
        ({"changed_properties": ("owner: postgres, expected app",)}, "not carried over: owner: postgres, expected app"),
    ],
)
def test_an_error_or_a_lost_property_fails(evidence: Evidence, change: dict[str, object], reason: str) -> None:
    assert judged(replace(evidence, **change)) == (DrillVerdict.FAIL, (reason,))


def test_a_disaster_that_did_no_harm_proves_nothing(
    evidence: Evidence, assessment: Assessment, equal_comparison: Comparison
) -> None:
    harmless = replace(evidence, assessment=replace(assessment, comparison=equal_comparison))

    verdict, reasons = judged(harmless)

    assert verdict is DrillVerdict.FAIL
    assert reasons == ("the disaster left no damage that the assessment could see",)


def test_every_failure_is_named_and_a_failure_outweighs_what_was_not_checked(evidence: Evidence) -> None:
    broken = replace(
        evidence,
        error="first",
        copy=None,
        final=replace(evidence.final, tables=(LOST,), sequences=("s is not there",)) if evidence.final else None,
        changed_properties=("a", "b"),
    )

    verdict, reasons = judged(broken)

    assert verdict is DrillVerdict.FAIL
    assert len(reasons) == 5
    assert reasons[0] == "first"


# --- what is measured ----------------------------------------------------------------------------------------------


def test_the_time_to_recover_is_from_noticing_to_letting_clients_in(evidence: Evidence) -> None:
    assert evidence.rto == timedelta(seconds=10, milliseconds=500)


def test_the_data_at_risk_is_what_was_written_between_the_snapshot_and_the_disaster(evidence: Evidence) -> None:
    assert evidence.rpo == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("missing", "unknown"),
    [
        ("recovered_at", {"rto"}),
        ("noticed_at", {"rto"}),
        ("disaster_at", {"rpo"}),
        ("backup", {"rpo", "rows_lost"}),
        ("steady", {"rows_lost"}),
    ],
)
def test_what_cannot_be_measured_is_unknown_and_not_zero(evidence: Evidence, missing: str, unknown: set[str]) -> None:
    partial = replace(evidence, **{missing: None})

    assert {name for name in ("rto", "rpo", "rows_lost") if getattr(partial, name) is None} == unknown


@pytest.mark.parametrize(
    ("rows", "lost"),
    [
        ({"public.users": 1500, "public.orders": 0}, 0),
        ({"public.users": 1525, "public.orders": 3}, 28),
        ({"public.users": 1400, "public.orders": 3}, 3),  # rows deleted since the backup come back, none is lost
        ({"public.users": 1500, "public.new": 7}, 7),
        ({}, 0),
    ],
)
def test_rows_that_are_not_in_the_backup_are_lost(evidence: Evidence, rows: dict[str, int], lost: int) -> None:
    assert evidence.steady is not None
    tables = tuple(TableDigest(table=name, rows=count, digest="0") for name, count in rows.items())

    assert replace(evidence, steady=replace(evidence.steady, tables=tables)).rows_lost == lost


def test_a_book_keeps_what_was_noted_and_replaces_what_is_noted_again(backup: Backup) -> None:
    book = EvidenceBook()

    book.note(backup=backup, error="first")
    book.note(error="second")

    assert book.evidence == Evidence(backup=backup, error="second")


def report(evidence: Evidence, verdict: DrillVerdict = DrillVerdict.PASS) -> DrillReport:
    """Of one disaster."""
    return DrillReport(
        run_id="01234567",
        scenario=DrillScenario.DATA_LOSS,
        verdict=verdict,
        reasons=("why",),
        started_at=NOON,
        server_version="18.6",
        steps=(),
        findings=found(evidence),
    )


def test_the_last_decision_is_the_way_that_was_taken(evidence: Evidence) -> None:
    assert report(evidence).recovered_by == "restore_beside"
    assert report(Evidence()).recovered_by is None


def test_what_is_kept_of_a_drill_is_measured(evidence: Evidence) -> None:
    kept = report(evidence)

    assert kept.findings.detected_in == timedelta(seconds=1)
    assert (kept.findings.rto, kept.findings.rpo) == (evidence.rto, evidence.rpo)
    assert kept.rows == 1500


def test_every_scenario_has_a_title_and_all_plays_only_those_that_can_be_answered() -> None:
    assert set(TITLES) == set(DrillScenario)
    assert set(SCENARIOS) == set(DrillScenario) - {DrillScenario.ALL}
    played = {one.name for one in scenarios_of(DrillScenario.ALL)}
    assert played == set(SCENARIOS) - {DrillScenario.BROKEN_BACKUP}


@pytest.mark.parametrize("worst", [DrillVerdict.FAIL, DrillVerdict.COULD_NOT_VERIFY, DrillVerdict.PASS])
def test_several_disasters_are_as_good_as_the_worst(evidence: Evidence, worst: DrillVerdict) -> None:
    order = (DrillVerdict.PASS, DrillVerdict.COULD_NOT_VERIFY, DrillVerdict.FAIL)
    ends = order[: order.index(worst) + 1]

    run = DrillRun(run_id="01234567", started_at=NOON, reports=tuple(report(evidence, one) for one in ends))

    assert run.verdict is worst
    assert run.reasons == ("data_loss: why",)


# --- disasters in which nothing may be lost ------------------------------------------------------------------------

KEEPS = replace(SCENARIOS[DrillScenario.DATA_LOSS], restores=False, checks=("nobody waits any more",))


@pytest.fixture
def kept(evidence: Evidence, equal_comparison: Comparison) -> Findings:
    """What a drill found out after which every row is there."""
    times = replace(Evidence(), steady=evidence.steady, disaster_at=NOON, noticed_at=NOON, recovered_at=NOON)
    book = DrillBook()
    book.check("nobody waits any more", is_so=True, detail="0 wait")
    checks = (*book.findings.checks, AROUND)
    return replace(found(times), unharmed=equal_comparison, remedy="release_locks", checks=checks)


def test_a_drill_that_lost_nothing_passes_and_says_so(kept: Findings) -> None:
    verdict, reasons = judge_drill(KEEPS, kept)

    assert verdict is DrillVerdict.PASS
    assert reasons == (
        "1,500 rows in 2 tables are as right before the disaster",
        "nobody waits any more: 0 wait",
        f"{UNTOUCHED}: 2 databases are as before",
    )
    assert (kept.rpo, kept.rows_lost, kept.way) == (timedelta(), 0, "release_locks")


@pytest.mark.parametrize("missing", ["broke", "notice", "remedy", "unharmed", "checks"])
def test_without_any_one_finding_nothing_is_verified(kept: Findings, missing: str) -> None:
    nothing: dict[str, object] = {"broke": "", "notice": None, "remedy": "", "unharmed": None, "checks": ()}

    assert judge_drill(KEEPS, replace(kept, **{missing: nothing[missing]}))[0] is DrillVerdict.COULD_NOT_VERIFY


def test_a_check_that_is_not_so_or_a_row_that_is_another_fails(kept: Findings, equal_comparison: Comparison) -> None:
    waits = replace(kept, checks=(Check(name="nobody waits any more", is_so=False, detail="2 wait"),))
    spoiled = replace(kept, unharmed=replace(equal_comparison, tables=(OTHER_ROWS,)))

    assert judge_drill(KEEPS, waits) == (
        DrillVerdict.FAIL,
        ("it is not so that nobody waits any more: 2 wait",),
    )
    assert judge_drill(KEEPS, spoiled)[0] is DrillVerdict.FAIL
    assert spoiled.rpo is None


# --- what is around a drill, and servers that come back elsewhere -------------------------------------------------

ELSEWHERE = replace(SCENARIOS[DrillScenario.REGION_LOSS], detector=Detector.FINGERPRINTS, checks=())


@pytest.mark.parametrize(
    ("changed", "not_seen", "verdict", "reason"),
    [
        (
            ("shop: public.t: 7 rows, expected 6 rows",),
            (),
            DrillVerdict.FAIL,
            f"it is not so that {UNTOUCHED}: shop: public.t",
        ),
        ((), ("db could not be looked at",), DrillVerdict.COULD_NOT_VERIFY, "db could not be looked at"),
        ((), (), DrillVerdict.PASS, ""),
    ],
)
def test_what_is_around_a_drill_has_to_be_seen_and_has_to_be_as_it_was(
    evidence: Evidence, changed: tuple[str, ...], not_seen: tuple[str, ...], verdict: DrillVerdict, reason: str
) -> None:
    book = DrillBook()
    book.check_untouched(UNTOUCHED, Untouched(changed=changed, not_seen=not_seen, seen="2 databases are as before"))
    around = replace(found(evidence), checks=book.findings.checks, not_verified=book.findings.not_verified)

    judged_as, reasons = judge_drill(SCENARIOS[DrillScenario.DATA_LOSS], around)

    assert judged_as is verdict
    assert reasons[0].startswith(reason)


def test_a_server_that_came_back_elsewhere_needs_no_assessment_but_every_comparison(evidence: Evidence) -> None:
    rebuilt = replace(found(replace(evidence, assessment=None, copy=None, changed_properties=None)), remedy="rebuild")

    assert judge_drill(ELSEWHERE, rebuilt)[0] is DrillVerdict.PASS
    for missing in ("backup", "final", "application_reads"):
        gap = replace(rebuilt, evidence=replace(rebuilt.evidence, **{missing: None}))
        assert judge_drill(ELSEWHERE, gap)[0] is DrillVerdict.COULD_NOT_VERIFY, missing


# --- breaking things -----------------------------------------------------------------------------------------------


def test_a_flipped_byte_changes_one_bit_of_the_largest_file(tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    (tmp_path / "small").write_bytes(b"abc")
    (tmp_path / "dump" / "large").write_bytes(bytes(100))

    assert flip_byte(tmp_path) == "dump/large"

    changed = (tmp_path / "dump" / "large").read_bytes()
    assert len(changed) == 100
    assert sum(byte.bit_count() for byte in changed) == 1
    assert (tmp_path / "small").read_bytes() == b"abc"


def test_a_folder_without_content_cannot_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")

    with pytest.raises(InvalidInputError, match="holds no file to damage"):
        flip_byte(tmp_path)
