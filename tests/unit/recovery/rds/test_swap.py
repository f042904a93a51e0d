"""The restored instance gets the name whatever happens in between, and the damaged one is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from squizzle.backups.rds.service import Waiting
from squizzle.errors import BackupDamagedError, CloudUnavailableError, InvalidInputError, RecoveryError, SquizzleError
from squizzle.recovery.rds.service import InstanceService
from squizzle.recovery.rds.swap import SWAPS_FOLDER, SwappedInstances, finish_swap, swap_instances
from tests.support.rds_instances import InstancesFake
from tests.support.rds_service import DROP, Fault


@dataclass
class Journal:
    """A place for small texts, in memory."""

    kept: dict[str, str] = field(default_factory=dict)

    def put_text(self, path: str, text: str) -> None:
        self.kept[path] = text

    def texts(self, folder: str) -> Mapping[str, str]:
        return {path.removeprefix(f"{folder}/"): text for path, text in self.kept.items() if path.startswith(folder)}


Swap = Callable[..., SwappedInstances]


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def swap(fake: InstancesFake, client: Any, waiting: Waiting, journal: Journal) -> Swap:
    fake.put("shop")
    fake.put("shop-new")

    def call(**changes: Any) -> SwappedInstances:
        names = {"name": "shop", "restored": "shop-new", "keep_as": "shop-old"}
        names |= {key: changes.pop(key) for key in tuple(changes) if key in names}
        return swap_instances(client, journal, waiting=replace(waiting, **changes), **names)

    return call


def names(fake: InstancesFake) -> dict[str, str]:
    """Who has which name, once nobody answers to an old one any more."""
    fake.clock.sleep(1000)
    fake.answer("DescribeAccountAttributes", {})
    fake.clock.sleep(1000)
    fake.answer("DescribeAccountAttributes", {})
    return {name: one["DbiResourceId"] for name, one in fake.documents.items()}


SWAPPED = {"shop": "db-2", "shop-old": "db-1"}


def test_the_restored_instance_gets_the_name_and_the_old_one_is_kept(fake: InstancesFake, swap: Swap) -> None:
    done = swap()

    assert (done.name, done.resource_id, done.kept_as) == ("shop", "db-2", "shop-old")
    assert done.endpoint == "shop.c0ffee.rds.amazonaws.com"
    assert done.duration >= timedelta(seconds=240)
    assert names(fake) == SWAPPED
    asked_for = [asked["NewDBInstanceIdentifier"] for name, asked in fake.requests if name == "ModifyDBInstance"]
    assert list(dict.fromkeys(asked_for)) == ["shop-old", "shop"]
    assert all(asked["ApplyImmediately"] == "true" for name, asked in fake.requests if name == "ModifyDBInstance")
    assert swap().resource_id == "db-2"  # nothing is left to do
    assert fake.count("ModifyDBInstance") == len(asked_for)


def test_the_way_back_is_the_same_swap_and_a_later_one_begins_anew(fake: InstancesFake, swap: Swap) -> None:
    swap()
    names(fake)

    swap(restored="shop-old", keep_as="shop-new")

    assert names(fake) == {"shop": "db-1", "shop-new": "db-2"}
    del fake.documents["shop-new"]
    fake.put("shop-new")  # restored again
    swap()
    assert names(fake) == {"shop": "db-3", "shop-old": "db-1"}


@pytest.mark.parametrize("seconds", range(5, 290, 25))
def test_a_swap_that_was_killed_at_any_moment_is_gone_on_with(fake: InstancesFake, swap: Swap, seconds: int) -> None:
    with pytest.raises(CloudUnavailableError) as caught:
        swap(deadline=timedelta(seconds=seconds))
    assert "run the same again" in caught.value.hint

    assert swap().resource_id == "db-2"

    assert names(fake) == SWAPPED


def test_a_swap_that_was_killed_between_the_names_is_found_by_the_name_that_nobody_has(
    fake: InstancesFake, client: Any, swap: Swap, waiting: Waiting, journal: Journal
) -> None:
    fake.lingers_s = 0.0

    def finish() -> SwappedInstances | None:
        return finish_swap(client, journal, name="shop", waiting=waiting)

    assert finish() is None
    with pytest.raises(CloudUnavailableError, match="nobody has the name shop"):
        swap(deadline=timedelta(seconds=200))
    done = finish()
    assert done is not None
    assert (done.resource_id, done.kept_as) == ("db-2", "shop-old")
    assert names(fake) == SWAPPED
    assert finish() is None


def test_between_the_names_the_message_says_that_nobody_has_it(fake: InstancesFake, swap: Swap) -> None:
    fake.lingers_s = 0.0
    with pytest.raises(CloudUnavailableError, match="db-1 is shop-old now, and nobody has the name shop before"):
        swap(deadline=timedelta(seconds=200))


@pytest.mark.parametrize("fault", [DROP, Fault("InternalFailure", 500), Fault("Throttling")], ids=str)
def test_a_lost_reply_renames_nothing_twice(fake: InstancesFake, swap: Swap, fault: Fault | str) -> None:
    fake.unnoticed_s = 0.0
    fake.faults["ModifyDBInstance"] = [fault, None, fault]
    fake.faults["DescribeDBInstances"] = [None, None, None, None, fault]

    assert swap().resource_id == "db-2"
    assert names(fake) == SWAPPED


def test_a_rename_that_was_done_before_the_request_was_repeated_is_seen(fake: InstancesFake, swap: Swap) -> None:
    fake.takes_s = fake.unnoticed_s = fake.lingers_s = 0.0
    fake.faults["ModifyDBInstance"] = [DROP, None, DROP]

    assert swap().resource_id == "db-2"
    assert names(fake) == SWAPPED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fake: fake.documents["shop-new"].update(DBInstanceStatus="stopped"), "shop-new is stopped"),
        (lambda fake: fake.documents["shop"].update(DBInstanceStatus="storage-full"), "shop is storage-full"),
        (
            lambda fake: fake.documents["shop"].update(PendingModifiedValues={"AllocatedStorage": 40}),
            "shop is waiting for changes",
        ),
        (lambda fake: fake.put("shop-old"), "the last must not"),
        (lambda fake: fake.documents.pop("shop-new"), "the first two must exist"),
    ],
    ids=["stopped", "storage-full", "pending", "name taken", "missing"],
)
def test_what_would_stop_it_half_way_is_refused_before(
    fake: InstancesFake, swap: Swap, change: Callable[[InstancesFake], object], said: str
) -> None:
    change(fake)
    before = names(fake)

    with pytest.raises(RecoveryError, match=said):
        swap()

    assert names(fake) == before
    assert fake.count("ModifyDBInstance") == 0


def test_a_name_that_somebody_else_took_in_between_is_left(fake: InstancesFake, swap: Swap) -> None:
    with pytest.raises(CloudUnavailableError):
        swap(deadline=timedelta(seconds=130))
    names(fake)
    fake.put("shop")

    with pytest.raises(RecoveryError, match="the name shop belongs to another instance"):
        swap()

    assert names(fake) == {"shop": "db-3", "shop-old": "db-1", "shop-new": "db-2"}


def test_a_journal_that_was_changed_is_not_followed(fake: InstancesFake, swap: Swap, journal: Journal) -> None:
    with pytest.raises(CloudUnavailableError):
        swap(deadline=timedelta(seconds=130))
    names(fake)
    (path,) = journal.kept
    assert path.startswith(f"{SWAPS_FOLDER}/")
    journal.kept[path] = journal.kept[path].replace("db-2", "db-1")

    with pytest.raises(BackupDamagedError, match="was changed after it was written"):
        swap()


@pytest.mark.parametrize("keep_as", ["shop-old-", "1shop", "shop--old", "sh_op", "x" * 64, "shop", "Shop-New"])
def test_a_name_that_rds_does_not_take_is_refused_before(fake: InstancesFake, swap: Swap, keep_as: str) -> None:
    with pytest.raises(InvalidInputError):
        swap(keep_as=keep_as)
    assert fake.requests == []


def test_an_instance_that_only_has_the_name_is_not_taken_for_the_right_one(
    fake: InstancesFake, client: Any, waiting: Waiting
) -> None:
    fake.put("shop")
    service = InstanceService(client, replace(waiting, deadline=timedelta(seconds=60)), lambda _progress: None)

    with pytest.raises(CloudUnavailableError, match="not there yet"):
        service.until_ready("shop", resource_id="db-2")
    assert service.until_ready("shop", resource_id="db-1").facts.identifier == "shop"


def test_every_error_says_what_to_do(fake: InstancesFake, swap: Swap) -> None:
    fake.faults["ModifyDBInstance"] = [Fault("AccessDenied", 403)]
    with pytest.raises(SquizzleError) as caught:
        swap()
    assert "docs/rds.md" in caught.value.hint
