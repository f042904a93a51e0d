"""`squizzle reconcile`: a fleet that a rollout left between two states."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from squizzle.rollout.applying import apply_to_targets, take_back_from_targets
from squizzle.rollout.ledger import RolloutRow, begin_rollout
from squizzle.rollout.planning import planned_versions
from tests.integration.cli.conftest import Squizzle, url_of
from tests.integration.migrations.conftest import Folder, folder
from tests.integration.rollout.test_applying import Shops, shops
from tests.support.ready_command import ReadyCommand

__all__ = ["folder", "shops"]
pytestmark = pytest.mark.one_server


def test_reconcile_says_who_is_where_and_what_it_takes_to_go_on_and_back(
    shops: Shops, folder: Folder, ready: ReadyCommand, tmp_path: Path
) -> None:
    folder.write("0001", "CREATE TABLE a (i int)", down="DROP TABLE a")
    squizzle = Squizzle(place=folder.path.parent, ready=ready)
    _configure(shops, folder.path.parent)
    order = shops.order(folder, "0001")
    with shops.session(0) as control:
        stages = {one.name: "canary" if one.name.endswith("_0") else "full" for one in shops.targets}
        row = RolloutRow(
            id="r1",
            fleet="shops",
            versions=planned_versions(folder.read()),
            stage_of=stages,
            started_at=datetime.now(UTC),
            started_by="a test",
        )
        begin_rollout(control, row)
    apply_to_targets(order, (shops.targets[0], shops.targets[1], shops.targets[3]), max_failures=0, environ={})
    with shops.session(1) as session:
        session.execute("CREATE VIEW v AS SELECT * FROM a")
    take_back_from_targets(order, (shops.targets[1], shops.targets[3]), environ={})

    found = squizzle("reconcile", "shops", "--json")
    assert found.code == 1, found.err
    document = found.document
    assert (document["state"], document["rollout_id"], document["versions"]) == ("half-migrated", "r1", ["0001"])
    targets = [(one["stage"], one["stands"], one["brought"], one["lacking"]) for one in document["targets"]]
    assert targets == [
        ("canary", "has all", ["0001"], []),
        ("full", "failed", ["0001"], []),
        ("full", "has none", [], ["0001"]),
        ("full", "has none", [], ["0001"]),
    ]
    first, second, third, _ = document["targets"]
    assert first["on"] is None
    assert first["back"]["what"] == "down scripts of 0001"
    assert third["on"]["measured_by"] == "mean of 1 that have it"
    assert second["back"]["command"] == shlex.join(
        ["squizzle", "recover", "--url", url_of(shops.access, f"{shops.prefix}_1")]
    )
    assert "other objects depend on it" in second["error"]
    assert (document["on"]["targets"], document["back"]["targets"]) == (3, 2)
    assert document["back"]["takes_ms"] is not None

    text = squizzle("reconcile", "shops")
    assert text.code == 1
    assert "shops: half-migrated (1 failed, 2 has none, 1 has all)" in text.out
    assert "FAILED: 0001 on its way back" in text.out
    # It is the rollout that goes back, and it reads the stages first.
    started = squizzle("reconcile", "shops", "--back", "--stages", str(tmp_path / "gone.yaml"), "--json")
    assert started.error["message"] == f"{tmp_path / 'gone.yaml'} cannot be read: No such file or directory"
    assert squizzle("reconcile", "shops", "--on").code == 2


def _configure(shops: Shops, place: Path) -> None:
    text = f"""
[fleets.shops]
environment = "testing"
pinned = ["{shops.prefix}_0"]
[fleets.shops.servers.one]
url = "{url_of(shops.access, "postgres")}"
"""
    listed = [
        f'[[fleets.shops.targets]]\nserver = "one"\ndatabase = "{one.database}"\nname = "{one.name}"\n'
        for one in shops.targets
    ]
    (place / "squizzle.toml").write_text(text + "".join(listed), encoding="utf-8")
