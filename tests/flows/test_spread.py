"""A rollout whose targets are worked on by the processes of a Dask cluster."""

from __future__ import annotations

import cloudpickle
import pytest
from prefect import flow
from prefect.context import serialize_context

from blocks import PostgresDatabase
from squizzle.cli.main import run
from squizzle.rollout.orders import ApplyVerdict
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.report import RolloutReport, StageOutcome
from tasks.outcome import report_of
from tasks.rollout_case import Spread
from tasks.rollout_spread import PROCESSES, _without_parameters, lanes_of
from tests.flows.test_roll_out import MANY, Shops, eight, shops

__all__ = ["eight", "shops"]  # fixtures
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
ONE_STAGE = "stages: [{name: all, percentage: 100, max_failures: 2}]"


def test_two_processes_share_a_stage(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.rollout_spread.PIECE", 1)
    monkeypatch.setenv(PROCESSES, "2")
    (shops.folder / "stages.yaml").write_text(ONE_STAGE, encoding="utf-8")
    # Two fail, as many as may.
    shops.migration("0001_new", "CREATE TABLE new AS SELECT 1 / (SELECT count(*) FROM goods) AS i", "DROP TABLE new")
    for number in (3, 4):
        with shops.session(number) as session:
            session.execute("DELETE FROM goods")

    state = shops.run(spread=Spread.DASK)

    report: RolloutReport = report_of(state)
    (stage,) = report.stages
    assert stage.outcome is StageOutcome.DONE, stage
    planned = report.plan.stages[0].targets if report.plan else ()
    assert [one.target for one in stage.results] == list(planned)
    failed = {one.target.database for one in stage.results if one.verdict is ApplyVerdict.FAILED}
    assert failed == {f"{shops.prefix}_3", f"{shops.prefix}_4"}
    assert sum(shops.ask("SELECT to_regclass('new') IS NOT NULL")) == MANY - 2
    (applied,) = (one.detail for one in report.steps if one.title.startswith("Apply to targets, side by side"))
    assert applied.startswith("in 2 processes: 6 applied, 2 failed")


@pytest.mark.exhaustive
def test_the_command_spreads_too(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROCESSES, "many")
    (shops.folder / "stages.yaml").write_text(ONE_STAGE, encoding="utf-8")
    shops.migration("0001_new", "CREATE TABLE new ()", "DROP TABLE new")
    verb = ["roll-out", "shops", "--stages", str(shops.folder / "stages.yaml"), "--spread", "dask"]

    assert run([*verb, "--config", str(shops.folder / "squizzle.toml")]) == 7

    assert f"{PROCESSES} is 'many'" in capsys.readouterr().err
    assert not any(shops.ask("SELECT to_regclass('new') IS NOT NULL"))


def test_secrets_of_the_runs_parameters_stay_here(server_block: PostgresDatabase) -> None:
    @flow(persist_result=False)
    def here(control: PostgresDatabase) -> list[bytes]:  # noqa: ARG001 - Prefect keeps it
        with _without_parameters():
            without = cloudpickle.dumps(serialize_context())
        return [cloudpickle.dumps(serialize_context()), without]

    secret = server_block.password.get_secret_value().encode()
    assert [secret in sent for sent in here(server_block)] == [True, False]


def test_schemas_of_one_database_are_in_one_lane_and_every_lane_keeps_the_order() -> None:
    targets = [FleetTarget(name=f"t{n}", server="one", database=f"d{n % 3}", schema=f"s{n}") for n in range(9)]
    lanes = lanes_of(targets, 2, size=2)
    assert [[[one.name for one in piece] for piece in lane] for lane in lanes] == [
        [["t0", "t2"], ["t3", "t5"], ["t6", "t8"]],
        [["t1", "t4"], ["t7"]],
    ]
    assert [len(lane) for lane in lanes_of(targets[:1], 3, size=2)] == [1, 0, 0]
