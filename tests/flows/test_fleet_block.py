"""The block for a fleet says what squizzle.toml says, and a rollout with it; only targets of a label take part."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.types import SecretDict

from blocks import Fleet, PostgresDatabase
from blocks.fleet import chosen_fleet
from squizzle.config import load_config
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.rollout.report import RolloutOutcome, RolloutReport
from squizzle.settings.fleets import resolve_server
from tasks.outcome import report_of
from tests.flows.conftest import artifacts_of
from tests.flows.test_roll_out import MANY, Shops, eight, shops

__all__ = ["eight", "shops"]
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]

IN_THE_FILE = r"""
[fleets.shops]
environment = "testing"
schema = "app"
pinned = ["eu1/shop_internal"]
concurrency = 32
per_server = 8
deadline = "20s"
unreachable = "exclude"
servers.eu1 = { url = "postgresql://migrator@eu1.db/postgres", password_env = "EU1", tier = 1, labels = { a = "b" } }
targets = [{ server = "eu1", database = "ours", schema = "internal", name = "x", size = 0, pinned = true }]
databases = { like = "shop\\_%", servers = ["eu1"], sizes = true }
schemas = { server = "eu1", database = "app", regex = "^tenant_[0-9]+$" }
query = { server = "eu1", sql = "SELECT server, database FROM tenants" }
exclude = [{ target = "eu1/shop_9*", reason = "moves" }]
watch = { alerts = ["guide"], slower = 3 }
health = { lock_waits = 3, backup_age = "2h" }
freezes = [{ from = 2026-12-20T00:00:00Z, reason = "Christmas sales" }]
"""


def in_a_block(**changes: Any) -> Fleet:
    said: dict[str, Any] = {
        "fleet": "shops",
        "environment": "testing",
        "schema_name": "app",
        "servers": [{"name": "eu1", "url": "postgresql://migrator@eu1.db/postgres", "tier": 1, "labels": {"a": "b"}}],
        "passwords": SecretDict({"eu1": "secret"}),
        "targets": [
            {
                "server": "eu1",
                "database": "ours",
                "schema_name": "internal",
                "name": "x",
                "size": 0,
                "pinned": True,
            }
        ],
        "databases": {"like": r"shop\_%", "servers": ["eu1"], "sizes": True},
        "schemas": {"server": "eu1", "database": "app", "regex": "^tenant_[0-9]+$"},
        "query": {"server": "eu1", "sql": "SELECT server, database FROM tenants"},
        "pinned": ["eu1/shop_internal"],
        "exclude": [{"target": "eu1/shop_9*", "reason": "moves"}],
        "freezes": [{"begins": datetime(2026, 12, 20, tzinfo=UTC), "reason": "Christmas sales"}],
        "watch": {"alerts": ["guide"], "slower": 3},
        "health": {"lock_waits": 3, "backup_age": "2h"},
        "concurrency": 32,
        "per_server": 8,
        "deadline": "20s",
        "unreachable": "exclude",
    }
    return Fleet.model_validate(said | changes)


def test_a_block_says_the_same_as_a_section_of_the_file_and_shows_nobody_its_passwords(tmp_path: Path) -> None:
    file = tmp_path / "squizzle.toml"
    file.write_text(IN_THE_FILE.replace('"EU1"', '"SQUIZZLE_FLEET_PASSWORD_0"'), encoding="utf-8")
    name = f"fleet-{secrets.token_hex(3)}"
    in_a_block().save(name)
    opened = Fleet.load(name).open()

    assert opened.settings == load_config(file).fleets["shops"]
    access, _ = resolve_server(opened.settings.servers["eu1"], environ=opened.secrets)
    assert access.password is not None
    with get_client(sync_client=True) as client:
        shown = client.read_block_document_by_name(name, "fleet", include_secrets=False)
    assert "secret" not in str(shown.data)
    assert "secret" not in repr(opened)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"deadline": "soon"}, r"block fleet/shops: fleets.shops.deadline must be a whole number and a unit"),
        ({"concurrency": 0}, r"fleets.shops.concurrency must be a whole number from 1"),
        ({"schemas": {"server": "us", "database": "x", "like": "x"}}, r"schemas.server has 'us', and no"),
        ({"servers": []}, r"passwords has eu1, and no such server"),
        ({"servers": [{"name": "eu1"}]}, r"servers eu1: give either block or url"),
        ({"servers": [{"name": "eu1", "url": "postgresql://a:b@c/d"}]}, r"servers eu1: its url holds a password"),
        ({"servers": [{"name": "eu1", "block": "x"}]}, r"servers eu1: has a block and an entry in passwords"),
        ({"servers": [{"name": "us", "block": "x"}], "passwords": {}}, r"there is no block postgres-database/x"),
    ],
)
def test_what_is_wrong_in_a_block_is_named(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        in_a_block(**changes).open()


def test_a_fleet_of_a_block_is_migrated_where_a_label_fits_and_only_with_that_label_gone_on_with(
    shops: Shops, saved_server_block: PostgresDatabase
) -> None:
    shops.configure(environment="another")
    shops.migration("0001_price", "ALTER TABLE goods ADD COLUMN price int", "ALTER TABLE goods DROP COLUMN price")
    (shops.folder / "stages.yaml").write_text(
        "stages: [{name: canary, percentage: 34}, {name: full, percentage: 100}]", encoding="utf-8"
    )
    name = f"fleet-{secrets.token_hex(3)}"
    query = """
        SELECT 'one' AS server, datname AS database, CASE WHEN datname ~ '[567]$' THEN 'gold' END AS ring,
               (datname !~ '0$')::int AS tier
          FROM pg_database WHERE datname LIKE 'PREFIX%'
    """.replace("PREFIX", shops.prefix)
    Fleet(
        fleet="shops",
        environment="testing",
        servers=[{"name": "one", "block": saved_server_block._block_document_name}],
        query={"server": "one", "sql": query},
        pinned=[f"one/{shops.prefix}_0", f"one/{shops.prefix}_5"],
    ).save(name)
    block = Fleet.load(name)
    with shops.session(6) as session:
        session.execute("ALTER TABLE goods ADD COLUMN price text")

    def run(*labels: str) -> Any:
        return shops.run(fleet="", fleet_block=block, labels=list(labels))

    with pytest.raises(InvalidInputError, match="was named, and the block of shops was chosen, too"):
        chosen_fleet("shops", block)
    with pytest.raises(RefusedError, match="Fleet was given inline"):
        shops.run(fleet="", fleet_block=in_a_block()).result()
    with pytest.raises(InvalidInputError, match=r"no target of the fleet shops has ring=old; labels there: ring=gold"):
        run("ring=old").result()
    stopped: RolloutReport = report_of(run("ring=gold"))
    assert stopped.outcome is RolloutOutcome.HALF_MIGRATED
    assert stopped.plan is not None
    assert len(stopped.plan.stage_of) == len({5, 6, 7})
    assert len(stopped.left_out) == MANY - 3
    with pytest.raises(RefusedError, match="under way is of targets with ring=gold, this one would be of all targets"):
        run().result()
    with shops.session(6) as session:
        session.execute("ALTER TABLE goods DROP COLUMN price")
    done = run("ring=gold")
    assert done.is_completed(), done.message
    assert done.result().rollout_id == stopped.rollout_id
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NULL") == [True] * 5 + [False] * 3
    text = str(artifacts_of(done.state_details.flow_run_id)["rollout-shops"].data)
    assert "to shops (ring=gold only)" in text
    assert f"| has not ring=gold | `one/{shops.prefix}_0`" in text
    # Where it is written down is the same database for every label, so that rollouts of a fleet know of each other.
    assert shops.ask("SELECT to_regclass('squizzle.rollout') IS NOT NULL") == [True] + [False] * 7

    whole = run()
    assert whole.is_completed(), whole.message
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NULL") == [False] * MANY
