"""The report of a drill: the verdict, the numbers, and nothing that breaks a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from squizzle.backups.records import Backup
from squizzle.drills.records import DrillReport, DrillRun, DrillScenario, DrillVerdict, Findings
from squizzle.proof.comparison import compare_digests
from squizzle.proof.records import NOT_COVERED, Comparison, DatabaseDigest, SchemaMatch, TableComparison, TableDigest
from squizzle.recovery.assess import Assessment
from squizzle.recovery.evidence import Evidence, Step, StepState
from squizzle.recovery.ways import Way, WayBack
from squizzle.reports.drill import drill_json, drill_markdown, drills_markdown, table_artifact

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
PROMISED = {"name", "verdict", "rto_ms", "rpo_ms", "recovered_by", "differences"}


@pytest.fixture
def report(backup: Backup, equal_comparison: Comparison) -> DrillReport:
    lost = TableComparison(table="public.users", expected_rows=1500, found_rows=None, equal=False)
    evidence = Evidence(
        backup=backup,
        steady=backup.digest,
        disaster_at=NOON + timedelta(seconds=90),
        noticed_at=NOON + timedelta(seconds=91),
        recovered_at=NOON + timedelta(seconds=101, milliseconds=500),
        assessment=Assessment(
            since=backup.id,
            since_version="0012",
            current="0013",
            applied_since=("0013",),
            failed=(),
            comparison=replace(equal_comparison, tables=(lost,)),
        ),
        decisions=(WayBack(way=Way.RESTORE_BESIDE, name="b", possible=True, why="no down script can be run"),),
        copy=equal_comparison,
        final=equal_comparison,
        changed_properties=(),
        application_reads="reads 1,500 rows",
    )
    return DrillReport(
        run_id="01234567",
        scenario=DrillScenario.DATA_LOSS,
        verdict=DrillVerdict.PASS,
        reasons=("1,500 rows are the rows of the backup",),
        started_at=NOON,
        server_version="18.6",
        steps=(
            Step(
                title="Take a backup",
                started_at=NOON,
                duration=timedelta(seconds=1.5),
                state=StepState.DONE,
                detail="2 MB",
            ),
        ),
        findings=Findings(evidence=evidence),
    )


# --- JSON ----------------------------------------------------------------------------------------------------------


def test_the_document_has_the_keys_of_the_contract(report: DrillReport) -> None:
    document = drill_json(report)

    assert set(document) >= PROMISED
    assert {key: document[key] for key in PROMISED} == {
        "name": "data_loss",
        "verdict": "pass",
        "rto_ms": 10500,
        "rpo_ms": 90000,
        "recovered_by": "restore_beside",
        "differences": [],
    }
    assert document["steps"] == [{"title": "Take a backup", "state": "done", "duration_ms": 1500}]
    assert document["rows_lost"] == 0


@pytest.mark.parametrize("verdict", [DrillVerdict.FAIL, DrillVerdict.COULD_NOT_VERIFY])
def test_what_did_not_pass_was_recovered_by_nothing(report: DrillReport, verdict: DrillVerdict) -> None:
    document = drill_json(replace(report, verdict=verdict))

    assert document["verdict"] == verdict.value
    assert document["recovered_by"] is None


def test_what_was_not_measured_is_null_and_not_zero(report: DrillReport) -> None:
    document = drill_json(
        replace(report, findings=Findings(evidence=Evidence()), verdict=DrillVerdict.COULD_NOT_VERIFY)
    )

    assert {document[key] for key in ("rto_ms", "rpo_ms", "rows_lost", "recovered_by")} == {None}
    assert document["differences"] == []


def test_the_last_comparison_gives_the_differences(report: DrillReport, equal_comparison: Comparison) -> None:
    copy = replace(equal_comparison, sequences=("s is not there",))
    final = replace(equal_comparison, changed=("view public.v",), schema=SchemaMatch.DIFFERENT)

    both = replace(report, findings=Findings(evidence=replace(report.evidence, copy=copy, final=final)))
    only_copy = replace(report, findings=Findings(evidence=replace(report.evidence, copy=copy, final=None)))

    assert drill_json(both)["differences"] == ["changed: view public.v"]
    assert drill_json(only_copy)["differences"] == ["sequence behind: s is not there"]


# --- Markdown ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [
        (DrillVerdict.PASS, "# Disaster drill: PASS\n"),
        (DrillVerdict.FAIL, "# Disaster drill: FAIL\n"),
        (DrillVerdict.COULD_NOT_VERIFY, "# Disaster drill: COULD NOT VERIFY\n"),
    ],
)
def test_the_verdict_is_the_first_line(report: DrillReport, verdict: DrillVerdict, shown: str) -> None:
    assert drill_markdown(replace(report, verdict=verdict)).startswith(shown)


def test_the_report_has_the_numbers_the_steps_and_every_table(report: DrillReport) -> None:
    text = drill_markdown(report)

    assert "- 1,500 rows are the rows of the backup\n" in text
    assert "| Time to recover (RTO) | 10.50 s, from noticing the damage to letting clients in again |" in text
    assert "| Data at risk (RPO) | 1 min 30 s of writes, no row was written in it |" in text
    assert "| Backup | `20250301T120000Z-shop-abcdef`: 1.5 MB, 1,500 rows, 1.23 s |" in text
    assert "- 12:00:00 **Take a backup**, 1.50 s: 2 MB" in text
    assert "- public.users: 1,500 rows fewer than the 1,500 of the backup" in text
    assert "1. **restore beside**: no down script can be run" in text
    assert "| `public.users` | 1,500 | 1,500 | `-81985529216486896` | yes |" in text
    assert "Definitions: **the same**." in text
    assert all(f"- {line}" in text for line in NOT_COVERED)


def test_a_table_that_is_not_equal_stands_out(report: DrillReport, shop_digest: DatabaseDigest) -> None:
    found = replace(shop_digest, tables=(TableDigest(table="public.orders", rows=3, digest="1"),))
    final = compare_digests(shop_digest, found)

    text = drill_markdown(
        replace(report, findings=Findings(evidence=replace(report.evidence, final=final)), verdict=DrillVerdict.FAIL)
    )

    assert "| `public.orders` | 0 | 3 | `0` | **NO** |" in text
    assert "| `public.users` | 1,500 | not there | `-81985529216486896` | **NO** |" in text


def test_a_report_without_evidence_says_that_nothing_was_measured(report: DrillReport) -> None:
    text = drill_markdown(
        replace(report, findings=Findings(evidence=Evidence()), verdict=DrillVerdict.COULD_NOT_VERIFY, steps=())
    )

    assert "| Time to recover (RTO) | not measured," in text
    assert "not measured of writes, rows lost unknown" in text
    assert "| Way back | none was taken |" in text
    assert "table by table" not in text


def test_what_could_not_be_cleaned_up_is_said(report: DrillReport) -> None:
    assert "## Left behind" not in drill_markdown(report)
    assert "## Left behind\n\n- role x: still used" in drill_markdown(
        replace(report, leftovers=("role x: still used",))
    )


def test_what_chaos_struck_is_said(report: DrillReport) -> None:
    struck = replace(report, struck=("cut at session squizzle drill",))

    assert "What chaos struck" not in drill_markdown(report)
    assert "## What chaos struck\n\n- cut at session squizzle drill" in drill_markdown(struck)
    assert drill_json(struck)["struck"] == ["cut at session squizzle drill"]
    both = DrillRun(run_id="1f2e3d4c", started_at=NOON, reports=(report, struck))
    assert f"- `{report.scenario.value}`: cut at session squizzle drill" in drills_markdown(both)


@pytest.mark.parametrize("odd", ["a|b", "a\nb|c", "a\n- b\n\nc"])
def test_a_line_end_in_a_step_does_not_make_another_one(report: DrillReport, odd: str) -> None:
    step = Step(title="copy", started_at=NOON, duration=timedelta(), state=StepState.FAILED, detail=odd)

    text = drill_markdown(replace(report, steps=(step,)))

    assert f"- 12:00:00 **copy**, **FAILED**, 0.00 s: {' '.join(odd.split())}\n" in text


def cells(line: str) -> list[str]:
    """The cells of a row, read by the rule of GitHub's Markdown: a pipe ends a cell unless a backslash precedes it."""
    inner = line.removeprefix("| ").removesuffix(" |").replace("\\|", "\0")
    return [cell.strip().replace("\0", "|") for cell in inner.split("|")]


def test_a_tables_name_with_a_pipe_stays_in_its_cell(report: DrillReport) -> None:
    odd = TableComparison(table='public."a|b"', expected_rows=1, found_rows=1, equal=True)
    assert report.evidence.final is not None
    final = replace(report.evidence.final, tables=(odd,))

    text = drill_markdown(replace(report, findings=Findings(evidence=replace(report.evidence, final=final))))

    (row,) = [line for line in text.splitlines() if "a\\|b" in line]
    assert cells(row)[:3] == ['`public."a|b"`', "1", "1"]


def test_a_long_list_is_counted_and_not_shown(report: DrillReport) -> None:
    text = drill_markdown(replace(report, reasons=tuple(f"reason {number}" for number in range(45))))

    assert "- reason 39\n" in text
    assert "reason 40" not in text
    assert "- … and 5 more" in text


def test_the_rows_of_the_artifact_are_the_rows_of_the_comparison(report: DrillReport) -> None:
    assert table_artifact(report) == [
        {"table": "public.orders", "rows saved": "0", "rows found": "0", "equal": "yes"},
        {"table": "public.users", "rows saved": "1,500", "rows found": "1,500", "equal": "yes"},
    ]
    assert table_artifact(replace(report, findings=Findings(evidence=Evidence()))) == []
