"""Taking a snapshot of an instance of RDS: under a name that a retry finds again, watched until it is there.

The poller is ours. botocore's waiter `db_snapshot_available` ends after 30 minutes, and `db_snapshot_completed` takes a
snapshot that is not there for one that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from squizzle.backups.rds.naming import is_for, snapshot_identifier, snapshot_tags
from squizzle.backups.rds.records import InstanceFacts, RdsSnapshot, SnapshotFacts, SnapshotProgress, SnapshotPurpose
from squizzle.backups.rds.service import PATIENT, Answer, RdsApi, RdsService, Waiting
from squizzle.backups.rds.states import Judgement, judge_instance, judge_snapshot
from squizzle.errors import CloudError, InvalidInputError, RefusedError

Tell = Callable[[SnapshotProgress], None]
# RDS may answer with what it knew a moment ago: a new snapshot is not "gone" before this has passed.
_SETTLING = timedelta(minutes=1)


def take_rds_snapshot(
    client: RdsApi,
    instance: str,
    *,
    purpose: SnapshotPurpose,
    waiting: Waiting = PATIENT,
    on_progress: Tell = lambda _progress: None,
) -> RdsSnapshot:
    """Take a snapshot of an instance and wait until it is there. The database goes on.

    An instance in one zone may be slow for seconds when it begins (Amazon RDS User Guide, "Creating a DB snapshot").
    The name comes from instance and purpose. An earlier try's snapshot of the same purpose is taken over, whether it is
    there, being made or failed (a failed one is deleted and made again); anybody else's of that name is refused.

    Args:
        client: Of boto3, for RDS (`open_rds`).
        instance: The instance's identifier.
        purpose: What it is for.
        waiting: Deadline and pace.
        on_progress: Called at every look.

    Raises:
        InvalidInputError: A member of a cluster, or another engine than PostgreSQL; nothing was changed.
        RefusedError: The instance is in a state that does not pass, or the name is taken; nothing was changed.
        CloudUnavailableError: The deadline passed, or AWS stayed out of reach. A snapshot that was asked for goes on;
            the same call takes it over.
        CloudError: It failed; the message says whether a snapshot is being made.
    """
    service = RdsService(client, waiting)
    source = service.instance(instance)
    refuse_others(source)
    taking = _Taking(service, source, purpose, on_progress)
    is_adopted = taking.ask()
    done = taking.wait()
    return RdsSnapshot(
        identifier=done.identifier,
        arn=done.arn,
        instance=source.identifier,
        resource_id=source.resource_id,
        started_at=done.created_at or waiting.now(),
        finished_at=waiting.now(),
        size_bytes=done.allocated_bytes,
        engine=source.engine,
        engine_version=done.engine_version or source.engine_version,
        is_encrypted=done.is_encrypted,
        kms_key_id=done.kms_key_id,
        latest_restorable_at=source.latest_restorable_at,
        is_adopted=is_adopted,
        settings=source.settings,
        tags=done.tags,
    )


def refuse_others(source: InstanceFacts) -> None:
    """Refuse an instance that Squizzle takes no snapshots of.

    Raises:
        InvalidInputError: A member of a cluster, or another engine than PostgreSQL.
    """
    if source.cluster or source.engine.startswith("aurora"):
        raise InvalidInputError(
            f"{source.identifier} is a member of the cluster {source.cluster or '(unnamed)'};"
            " Squizzle takes snapshots of instances alone",
            hint=f"`aws rds create-db-cluster-snapshot --db-cluster-identifier {source.cluster}` saves the cluster,"
            " or take a `full` backup",
        )
    if source.engine != "postgres":
        raise InvalidInputError(
            f"{source.identifier} runs {source.engine}, not PostgreSQL", hint="check the instance's identifier"
        )


class _Taking:
    """One snapshot on its way."""

    def __init__(self, service: RdsService, source: InstanceFacts, purpose: SnapshotPurpose, tell: Tell) -> None:
        self._service = service
        self._source = source
        self._purpose = purpose
        self._tell = tell
        self._name = snapshot_identifier(source.identifier, source.resource_id, purpose)

    def ask(self) -> bool:
        """Have RDS begin the snapshot, or find the one that an earlier try began; True for that."""
        is_asked = False
        while True:
            found = self._service.snapshot(self._name)
            if found is not None:
                self._refuse_foreign(found)
                judgement = judge_snapshot(found.status)
                if judgement in {Judgement.READY, Judgement.WAIT}:
                    return not is_asked
                if judgement is Judgement.FAILED and not is_asked:
                    self._service.delete(self._name)  # of an earlier try; the name must be free for the next one
                elif judgement is Judgement.FAILED:
                    raise self._failed(found)
                self._look_again("the failed snapshot of an earlier try to go", found)
                continue
            if is_asked:  # accepted, but not shown yet
                self._look_again(f"RDS to show the snapshot {self._name}", None)
            self._until_ready()
            answer = self._request()
            if answer is Answer.ACCEPTED:
                return False
            is_asked = is_asked or answer is Answer.EXISTS

    def wait(self) -> SnapshotFacts:
        """Look until the snapshot is there."""
        self._service.outcome = f"the snapshot {self._name} goes on at RDS, the same command takes it over"
        asked_at = self._service.elapsed
        is_seen = False
        while True:
            found = self._service.snapshot(self._name)
            if found is None:
                if is_seen or self._service.elapsed - asked_at >= _SETTLING:
                    raise self._gone()
            else:
                is_seen = True
                self._refuse_foreign(found)
                judgement = judge_snapshot(found.status)
                if judgement is Judgement.FAILED:
                    raise self._failed(found)
                if judgement is Judgement.GONE:
                    raise self._gone()
                if judgement is Judgement.READY:
                    self._report(f"the snapshot {self._name}", found.status, 100)
                    return found
            self._look_again(f"the snapshot {self._name}", found)

    def _request(self) -> Answer:
        answer = self._service.create(
            self._name, self._source.identifier, snapshot_tags(self._source.resource_id, self._purpose)
        )
        if answer is Answer.QUOTA:
            quota = self._service.quota()
            figures = f"{quota.used} of {quota.allowed}" if quota else "the account may not see how many"
            raise CloudError(
                f"the account has as many manual snapshots in this Region as it may ({figures}); nothing was changed",
                hint='delete old ones, or have the quota "Manual DB instance snapshots" raised'
                " (`aws service-quotas list-service-quotas --service-code rds`)",
            )
        if answer is Answer.NOT_NOW:  # its state changed between the look and the request
            self._look_again(f"the instance {self._source.identifier}", None)
        return answer

    def _until_ready(self) -> None:
        while True:
            now = self._service.instance(self._source.identifier)
            if now.resource_id != self._source.resource_id:
                raise RefusedError(
                    f"the name {now.identifier} went to another instance meanwhile"
                    f" ({self._source.resource_id} became {now.resource_id}); nothing was changed",
                    hint="find out who renamed it, then run the same again",
                )
            judgement = judge_instance(now.status)
            if judgement is Judgement.READY:
                return
            if judgement is Judgement.FAILED:
                raise RefusedError(
                    f"the instance {now.identifier} is {now.status}; RDS takes snapshots of one that is available"
                    " or storage-optimization; nothing was changed",
                    hint=f"`aws rds describe-events --source-identifier {now.identifier} --source-type db-instance`"
                    " says why",
                )
            waiting_for = f"the instance {now.identifier}"
            self._report(waiting_for, now.status, None)
            self._service.pause(f"{waiting_for}, which is {now.status}", hint="run the same again when it is available")

    def _look_again(self, waiting_for: str, found: SnapshotFacts | None) -> None:
        self._report(waiting_for, found.status if found else "not shown yet", found.percent if found else None)
        self._service.pause(waiting_for, hint="run the same again; it goes on where this one was")

    def _report(self, doing: str, status: str, percent: int | None) -> None:
        self._tell(SnapshotProgress(doing=doing, status=status, percent=percent, elapsed=self._service.elapsed))

    def _refuse_foreign(self, found: SnapshotFacts) -> None:
        if not is_for(found, self._source.resource_id, self._purpose):
            raise RefusedError(
                f"a snapshot {found.identifier} exists that is not of this run: its tags or its instance"
                f" ({found.resource_id or 'unknown'}) are others; it was left as it is",
                hint="look at its tags; rename nothing, take the snapshot under another run id",
            )

    def _failed(self, found: SnapshotFacts) -> CloudError:
        return CloudError(
            f"RDS could not make the snapshot {found.identifier}: it is {found.status} at {found.percent} %"
            f" {self._state_of_source()}",
            hint="run the same again: it deletes the failed one and makes it anew;"
            f" `aws rds describe-events --source-identifier {found.identifier} --source-type db-snapshot` says why",
        )

    def _gone(self) -> CloudError:
        return CloudError(
            f"the snapshot {self._name} was deleted while it was being made {self._state_of_source()}",
            hint="find out in CloudTrail who did it (DeleteDBSnapshot), then run the same again",
        )

    def _state_of_source(self) -> str:
        try:
            now = self._service.instance(self._source.identifier)
        except CloudError as exc:  # the failure that is being told is another one
            return f"({exc.message.split(';')[0]})"
        return f"(the instance {now.identifier} is {now.status})"
