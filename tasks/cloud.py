"""The steps of a recovery by a provider: another instance beside the damaged one, compared, and given its name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from squizzle.backups.proofs import Verdict
from squizzle.backups.rds.service import PATIENT
from squizzle.backups.records import Backup
from squizzle.backups.snapshot.take import AFTER_FILE, INSTANCE_FILE
from squizzle.backups.store import BackupStore
from squizzle.errors import CloudUnavailableError, ConnectionFailedError, CouldNotVerifyError, RecoveryError
from squizzle.numbers import number_of
from squizzle.postgres.access import ServerAccess
from squizzle.proof.digests import digest_database
from squizzle.recovery.assess import assess_damage
from squizzle.recovery.fence import control_session, session_through_fence
from squizzle.recovery.fences.order import make_fences
from squizzle.recovery.rds.means import find_cloud
from squizzle.recovery.rds.proof import compare_restored
from squizzle.recovery.rds.restore import RestoredInstance, restore_snapshot, restore_to_time
from squizzle.recovery.rds.service import InstanceProgress
from squizzle.recovery.rds.settings import read_document
from squizzle.recovery.rds.standing_in import forget_name, leads_to, shut_like
from squizzle.recovery.rds.swap import SwappedInstances, finish_swap, swap_instances
from squizzle.recovery.sequences import carry_sequences
from squizzle.recovery.ways import CloudMeans, Means
from tasks.sources import DatabaseSource, FenceSource, RdsSource, StoreSource
from tasks.steps import log_line, step

WAITING = PATIENT
# A name that has moved is known everywhere after the lifetime of its old answer; RDS says 5 s (User Guide, "endpoint").
_MOVES_WITHIN = timedelta(minutes=10)
_LOOK_AGAIN_S = 2.0


class _Log:
    """A line whenever RDS says something else."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, progress: InstanceProgress) -> None:
        said = f"{progress.doing}: {progress.status}"
        if said != self._last:
            self._last = said
            log_line(f"{progress.elapsed.total_seconds():.0f} s, {said}")


def _known(means: Means) -> str:
    usable = [one for one in means.cloud if not one.problem]
    return f"{len(usable)} of {len(means.cloud)} can be used"


@step("See what RDS keeps", timeout=timedelta(minutes=30), detail=_known)
def look_for_cloud(rds: RdsSource, means: Means, *, struck: datetime | None) -> Means:
    """The means, with snapshots that have a manifest, and the moment right before the damage."""
    found = find_cloud(rds.open().rds, rds.instance, means.backups, struck=struck, waiting=WAITING)
    return replace(means, cloud=found)


def _finished(done: SwappedInstances | None) -> str:
    return f"{done.kept_as} was kept" if done else "none was begun"


@step("Look for a swap of an earlier run", timeout=timedelta(hours=3), detail=_finished)
def finish_earlier_swap(store: StoreSource, rds: RdsSource) -> SwappedInstances | None:
    """Go on with a swap that was killed between its two renames, when nobody has the instance's name."""
    return finish_swap(rds.open().rds, store.open(), name=rds.instance, waiting=WAITING, tell=_Log())


def _made(found: RestoredInstance) -> str:
    unlike = (
        f", {number_of(len(found.differences), 'setting')} differ: {found.differences[0]}" if found.differences else ""
    )
    return f"{found.identifier} ({found.resource_id}) at {found.endpoint}{unlike}"


@step("Restore another instance beside it", timeout=timedelta(hours=24), detail=_made)
def restore_instance(store: StoreSource, rds: RdsSource, cloud: CloudMeans, *, into: str) -> RestoredInstance:
    """From a snapshot, or as of a moment, with every setting of the damaged one, which is not touched. Repeatable."""
    client = rds.open().rds
    if not cloud.backup_id:
        return restore_to_time(
            client,
            rds.instance,
            resource_id=cloud.resource_id,
            at=cloud.at,
            into=into,
            waiting=WAITING,
            tell=_Log(),
        )
    place = store.open()
    backup = place.read(cloud.backup_id)
    like = read_document(_text(place, backup, INSTANCE_FILE), source=f"backup {backup.id}")
    arn = backup.details.get("arn", "")
    return restore_snapshot(client, arn, into=into, like=like, waiting=WAITING, tell=_Log())


def _text(store: BackupStore, backup: Backup, name: str) -> str:
    if all(one.path != name for one in backup.files):
        return ""
    with store.fetch(backup, only=[name]) as folder:
        return (folder / name).read_text(encoding="utf-8")


def _reached(database: DatabaseSource, restored: RestoredInstance) -> ServerAccess:
    return replace(database.access(), host=restored.endpoint, port=restored.port)


@step("Compare the restored instance", timeout=timedelta(hours=12), detail=str)
def compare_instance(
    database: DatabaseSource, store: StoreSource, restored: RestoredInstance, cloud: CloudMeans, backup: Backup
) -> str:
    """Compare the database on the restored instance; returns what was found equal, in a sentence.

    A snapshot has fingerprints of its own. Of a moment there are none: then nothing of the backup may be missing.

    Raises:
        RecoveryError: It is not what the snapshot had.
        CouldNotVerifyError: It cannot be told.
    """
    target = database.target()
    stays = f"the new instance {restored.identifier} stays; nothing was swapped"
    with session_through_fence(_reached(database, restored), target.database, purpose="verify") as connection:
        if cloud.backup_id:
            place = store.open()
            snapshot = place.read(cloud.backup_id)
            found = digest_database(connection, bookkeeping=True)
            verdict, said = compare_restored(snapshot, _text(place, snapshot, AFTER_FILE), found)
            if verdict is Verdict.PASS:
                return f"every table has the rows of snapshot {snapshot.id}"
            kind = RecoveryError if verdict is Verdict.FAIL else CouldNotVerifyError
            raise kind(f"{restored.identifier}: {said[0]}; {stays}", hint="look at it, or take another way")
        assessment = assess_damage(connection, backup, schema=target.schema)
    if assessment.damage:
        raise CouldNotVerifyError(
            f"{restored.identifier} is as of {cloud.at}, and something of backup {backup.id} is missing there:"
            f" {assessment.damage[0]}; {stays}",
            hint="somebody may have deleted it before the damage: look, then name an earlier moment, or swap by hand",
        )
    return f"{rds_words(cloud)}: nothing of backup {backup.id} is missing"


def rds_words(cloud: CloudMeans) -> str:
    """What was brought back, for a report."""
    return f"as of {cloud.at:%Y-%m-%d %H:%M:%S %Z}"


@step("Shut it like the damaged one", timeout=timedelta(minutes=30), detail=lambda moved: f"{moved} sequences moved on")
def stand_in(database: DatabaseSource, applications: Sequence[FenceSource], restored: RestoredInstance) -> int:
    """Carry over who holds what shut, shut the database there, and let its sequences go on; returns how many moved."""
    name, new = database.database, _reached(database, restored)
    settings = [one.settings() for one in applications]
    with (
        control_session(database.access(), purpose="recovery") as old,
        control_session(new, purpose="recovery") as here,
    ):
        things = [one.name for one in make_fences(old, name, settings)]
        shut_like(old, here, name, things, id_=restored.resource_id)
    with (
        session_through_fence(database.access(), name, purpose="sequences") as left,
        session_through_fence(new, name, purpose="sequences") as right,
    ):
        return len(carry_sequences(left, right))


@step("Give it the damaged one's name", timeout=timedelta(hours=6), detail=lambda done: f"{done.kept_as} is kept")
def swap_names(store: StoreSource, rds: RdsSource, restored: RestoredInstance, *, keep_as: str) -> SwappedInstances:
    """Two renames, written down before. Safe to repeat; between them nobody has the name."""
    return swap_instances(
        rds.open().rds,
        store.open(),
        name=rds.instance,
        restored=restored.identifier,
        keep_as=keep_as,
        waiting=WAITING,
        tell=_Log(),
    )


@step("Reach the restored instance by its name", timeout=timedelta(minutes=30))
def reach_instance(database: DatabaseSource, resource_id: str) -> None:
    """Wait until the name leads to the restored instance; nobody is let in before.

    Raises:
        CloudUnavailableError: It leads somewhere else for ten minutes.
    """
    deadline = time.monotonic() + _MOVES_WITHIN.total_seconds()
    while True:
        try:
            with control_session(database.access(), purpose="recovery") as control:
                if leads_to(control, resource_id):
                    forget_name(control)
                    return
        except ConnectionFailedError as exc:
            log_line(f"not reachable yet: {exc.message}")
        if time.monotonic() > deadline:
            raise CloudUnavailableError(
                f"{database.access().where} does not lead to the restored instance {resource_id} after {_MOVES_WITHIN}",
                hint="does the block name the instance's endpoint? Everything stays shut; start the same again",
            )
        time.sleep(_LOOK_AGAIN_S)
