"""What runs are called: whoever reads a list of them knows what each did, where, and whether it did anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.core import Block

from blocks import BackupBucket, BackupFolder, Fleet, PostgresDatabase
from blocks.fleet import ServerOfFleet
from flows.run_names import name_of
from squizzle.rollout.records import PlannedVersion
from tasks.rollout_names import rollout_name

SHOP = PostgresDatabase(host="db", database="shop", user="u", environment="production")


@pytest.mark.parametrize(
    ("template", "given", "name"),
    [
        ("recover {database}", {"database": SHOP, "dry_run": False}, "recover shop in production"),
        ("recover {database}", {"database": SHOP, "dry_run": True}, "recover shop in production (dry run)"),
        ("{database} → {store}", {"database": SHOP, "store": BackupFolder(path=Path("/b"))}, "shop in production → /b"),
        ("in {store}", {"store": BackupBucket(bucket="b", prefix="shop/")}, "in s3://b/shop"),
        ("in {store}", {"store": BackupBucket(bucket="b")}, "in s3://b"),
        ("rehearse {version} for {database}", {"version": "", "database": SHOP}, "rehearse for shop in production"),
        ("undo {versions}", {"versions": ("0003", "0004")}, "undo 0003, 0004"),
        ("health of {fleet}", {"fleet": "eu", "fleet_block": None}, "health of eu"),
        ("health of {fleet}", {"fleet": "", "fleet_block": None}, "health of no fleet"),
    ],
)
def test_a_name_says_what_and_where(template: str, given: dict[str, Any], name: str) -> None:
    assert name_of(template, given) == name


def test_a_fleet_that_was_chosen_as_a_block_is_named_too() -> None:
    fleet = Fleet(fleet="eu", environment="production", servers=[ServerOfFleet(name="one", url="postgresql://a@b/c")])
    assert name_of("health of {fleet}", {"fleet": "", "fleet_block": fleet}) == "health of eu"


def test_whatever_was_given_there_is_a_name() -> None:
    """Without one Prefect would not begin the run, and nobody would learn what is wrong with its parameters."""
    assert name_of("recover {database} → {into}", {"into": Block()}) == "recover →"


@pytest.mark.parametrize(
    ("versions", "stage", "name"),
    [
        (("1.4.0",), "canary", "rollout 1.4.0 → production canary"),
        (("0002", "0003", "0004"), "", "rollout 0002 to 0004 → production"),
    ],
)
def test_a_rollout_says_its_versions_and_its_stage(versions: tuple[str, ...], stage: str, name: str) -> None:
    planned = tuple(PlannedVersion(version=one, checksum="") for one in versions)
    assert rollout_name("production", planned, stage=stage) == name
