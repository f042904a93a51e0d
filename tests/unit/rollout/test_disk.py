"""What a rollout needs on a disk, and what is said about it."""

from __future__ import annotations

import pytest

from squizzle.rollout.checks import CheckResult
from squizzle.rollout.disk import FreeSpace, ScriptNeed, judge_disk, server_need
from squizzle.rollout.records import FleetTarget

MB = 1_000_000
NEED = {"1": ScriptNeed(wal_bytes=10 * MB, temp_bytes=4 * MB, rehearsed_bytes=100 * MB)}


def target(database: str, schema: str = "public") -> FleetTarget:
    return FleetTarget(name=f"{database}/{schema}", server="one", database=database, schema=schema)


def test_what_grows_is_added_up_and_log_and_temporary_files_count_for_those_at_the_same_time() -> None:
    lacking = dict.fromkeys(map(target, "abc"), ("1",))
    sizes = {"a/public": 100 * MB, "b/public": 200 * MB, "c/public": 50 * MB}

    assert server_need(lacking, NEED, sizes, per_server=1) == (10 + 20 + 5) * MB + (20 + 8) * MB
    assert server_need(lacking, NEED, sizes, per_server=9) == 2 * (10 + 20 + 5) * MB + (4 + 8 + 2) * MB
    assert server_need(lacking, {}, sizes, per_server=1) is None


def test_schemas_of_one_database_do_not_need_as_much_as_its_size_says_each() -> None:
    lacking = dict.fromkeys([target("app", "t1"), target("app", "t2")], ("1",))
    sizes = {"app/t1": 9000 * MB, "app/t2": 9000 * MB}

    assert server_need(lacking, NEED, sizes, per_server=1) == 2 * 10 * MB + 14 * MB


@pytest.mark.parametrize(
    ("free_mb", "need_mb", "result"),
    [
        (None, 1, CheckResult.NOT_KNOWN),
        (1200, 1000, CheckResult.STOP),
        (1300, 1000, CheckResult.WARNING),
        (2600, 1000, CheckResult.OK),
        (60, None, CheckResult.STOP),
        (90, None, CheckResult.WARNING),
        (110, None, CheckResult.OK),
    ],
)
def test_a_disk_is_judged_by_what_is_needed(free_mb: int | None, need_mb: int | None, result: CheckResult) -> None:
    free = FreeSpace(free_bytes=None if free_mb is None else free_mb * MB, told_by="df")
    need = None if need_mb is None else need_mb * MB

    assert judge_disk("one", free, need, 1000 * MB).result is result
