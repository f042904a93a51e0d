"""Changes under load: what each contender is given, and how what clients felt is summed up."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from bench.histories import Step, write_alembic, write_dbmate
from bench.stall_changes import CAREFUL, CHANGES, PLAIN, Change
from bench.stall_load import Load
from squizzle.analysis.findings import Severity
from squizzle.analysis.lint import Script, lint_scripts

_ALONE = Step(number=1, name="change", up=("CREATE INDEX CONCURRENTLY i ON t (c)",), down=(), alone=True)


def test_what_clients_felt_counts_from_when_it_was_due() -> None:
    load = Load(latencies=[0.001] * 98 + [0.5, 3.0], errors=Counter({"57014": 1}))
    felt = load.felt(2.5)
    assert (felt.p50_ms, felt.p99_ms, felt.longest_ms) == (1.0, 3000.0, 3000.0)
    assert (felt.failed, felt.requests, felt.ddl_s) == (1, 100, 2.5)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_what_is_careful_locks_nobody_out_for_long_by_our_own_rules(change: Change) -> None:
    steps = change.steps(CAREFUL, for_squizzle=True)
    scripts = [Script(text="".join(f"{one};\n" for one in step.up), source=str(step.number)) for step in steps]
    found = lint_scripts(scripts, today=date(2026, 1, 1)).findings
    assert [one.rule for one in found if one.severity is not Severity.INFO] == []


@pytest.mark.parametrize("change", [one for one in CHANGES if not one.is_one_way], ids=lambda change: change.name)
def test_what_is_plain_is_found_by_our_own_rules(change: Change) -> None:
    text = "".join(f"{one};\n" for step in change.steps(PLAIN, for_squizzle=True) for one in step.up)
    found = lint_scripts([Script(text=text, source="plain")], today=date(2026, 1, 1)).findings
    assert any(one.severity is not Severity.INFO for one in found)


def test_only_squizzle_is_given_its_own_mark() -> None:
    given = {ours: CHANGES[-1].steps(CAREFUL, for_squizzle=ours)[0].up[0] for ours in (True, False)}
    assert given[True].startswith("-- squizzle: batch")
    assert "squizzle" not in given[False]


def test_a_step_that_runs_alone_is_said_so_to_each_tool(tmp_path: Path) -> None:
    write_dbmate([_ALONE], tmp_path / "dbmate")
    (script,) = (tmp_path / "dbmate").iterdir()
    assert script.read_text(encoding="utf-8").startswith("-- migrate:up transaction:false\n")
    write_alembic([_ALONE], tmp_path / "alembic")
    (revision,) = (tmp_path / "alembic" / "versions").iterdir()
    text = revision.read_text(encoding="utf-8")
    assert "    with op.get_context().autocommit_block():\n        op.execute('CREATE INDEX" in text
    compile(text, "revision", "exec")
