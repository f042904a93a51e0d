"""What is applied to many targets, and what became of each; taking back has the same shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.errors import DatabaseState
from squizzle.migrations.approvals import Approval, Approvals
from squizzle.migrations.batch_records import ShareEnd
from squizzle.migrations.bookkeeping.tool_books import ToolBooks
from squizzle.migrations.history import History
from squizzle.migrations.records import Migration, Policy
from squizzle.migrations.versions import is_repeatable
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.rollout.records import Fleet, FleetTarget, RowShare

_WHOLE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """By what right one version goes to every target.

    Attributes:
        certificate: The certificate's id; `none: ` and the reason where there is none; None where nobody asks.
        approved_by: Who said that it may be applied without one; None where nobody had to.
        schema_before: Logical digest of the schema that it was rehearsed on; empty when nothing is compared.
    """

    certificate: str | None = None
    approved_by: str | None = None
    schema_before: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutOrder:
    """What is applied to targets, and how.

    Attributes:
        rollout_id: Whose histories' rows are this rollout's.
        fleet: How servers are reached, and who every target must be.
        migrations: Everything on disk.
        versions: What is rolled out, oldest first.
        share: Of the last of them no more than this share of its rows; None for all.
        proofs: By version.
        policy: What the project allows its migrations.
        books: Those of the folder's tool; None when nobody keeps them.
        concurrency: So many targets at the same time.
        per_server: So many of them on one server.
        deadline: How long one target may take in all; then its session is cut, and the server rolls back.
    """

    rollout_id: str
    fleet: Fleet
    migrations: tuple[Migration, ...]
    versions: tuple[str, ...]
    share: RowShare | None = None
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    books: ToolBooks | None = None
    concurrency: int = 16
    per_server: int = 4
    deadline: timedelta = timedelta(hours=4)

    @property
    def last(self) -> str | None:
        """The last version that has a place in the order; None when there are repeatable ones only."""
        return next((one for one in reversed(self.versions) if not is_repeatable(one)), None)

    def target(self, target: FleetTarget) -> Target:
        """A target as operations take it, with who it must be."""
        return Target(
            database=target.database,
            schema=target.schema,
            expected=ExpectedIdentity(environment=self.fleet.environment, fleet=self.fleet.name),
        )

    def approvals(self, first_pending: str, *, is_begun: bool) -> Approvals:
        """What may be applied, and the schema that it was rehearsed on.

        Args:
            first_pending: The version that a target needs first.
            is_begun: Whether something of it is there, so that the schema is no longer the one before it.
        """
        none = Proof()
        by_version = {
            version: Approval(certificate=proof.certificate, approved_by=proof.approved_by, rollout_id=self.rollout_id)
            for version, proof in ((one, self.proofs.get(one, none)) for one in self.versions)
        }
        before = self.proofs.get(first_pending, none).schema_before
        return Approvals(by_version=by_version, schema_digest="" if is_begun else before)

    def approved(self, by: str) -> RolloutOrder:
        """The same with a person's name, for the histories; whoever answers for a missing certificate stays named."""
        none = Proof()
        proofs = {one: self.proofs.get(one, none) for one in self.versions}
        return replace(
            self, proofs={one: replace(proof, approved_by=proof.approved_by or by) for one, proof in proofs.items()}
        )

    def lacking(self, history: History) -> tuple[str, ...]:
        """The versions of this rollout that a target lacks, oldest first."""
        applied = history.applied()
        checksums = {one.version: one.checksum for one in self.migrations}
        return tuple(
            one
            for one in self.versions
            if (one not in applied or (is_repeatable(one) and applied[one].checksum != checksums.get(one)))
            and self.share_done(one, history) is None
        )

    def share_done(self, version: str, history: History) -> ShareEnd | None:
        """When the share that is asked for of a version was done; None when it was not, or all of it is asked for."""
        if self.share is None or self.share.version != version:
            return None
        row = history.half_done().get(version) or history.applied().get(version)
        return row.batch_progress.share_done(self.share.until_pct) if row and row.batch_progress else None

    def finished_at(self, history: History) -> datetime | None:
        """When the newest of the versions came, or the share that is asked for; None when something is lacking."""
        if self.lacking(history):
            return None
        applied, times = history.applied(), []
        for one in self.versions:
            share = self.share_done(one, history)
            if share is None and one in applied:
                progress = applied[one].batch_progress
                share = progress.share_done(_WHOLE) if progress else None
            # A version's row says when it began, which is long before when it was done by share.
            times.append(share.at if share else applied[one].applied_at)
        return max(times, default=None)

    def is_begun(self, history: History) -> bool:
        """Whether something of these versions is there; a share that is to be added to is where this begins."""
        waiting = {one for one, row in history.half_done().items() if row.is_partly} & set(self.lacking(history))
        return bool(set(self.brought(history)) - waiting)

    def brought(self, history: History) -> tuple[str, ...]:
        """The versions that this rollout brought to a target, whole or in part, newest first."""
        there = {**history.half_done(), **history.applied()}
        return tuple(
            one for one in reversed(self.versions) if one in there and there[one].rollout_id == self.rollout_id
        )


class ApplyVerdict(StrEnum):
    """What became of one target."""

    APPLIED = "applied"
    SHARE_APPLIED = "share of the rows applied"
    DONE_BEFORE = "done before"
    FAILED = "failed"
    NOT_BEGUN = "not begun"
    TAKEN_BACK = "taken back"
    NOTHING_TO_TAKE_BACK = "nothing to take back"
    NOT_TAKEN_BACK = "could not be taken back"
    RECOVERED = "recovered"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """How a target was recovered that its down scripts did not bring back.

    Attributes:
        way: By which way.
        name: What it used: a backup, a copy.
        why: Why the down scripts did not do.
        took: From noticing it to letting clients in again (RTO); None when that was not measured.
        lost: What was written for that long is no longer there (RPO); zero when nothing is lost.
        rows: So many rows were compared and found equal; None where it was no comparison table by table.
        verified: What was compared, in a sentence.
        kept_as: The name that the damaged database is kept under; empty when it was not exchanged.
        rows_kept: So many rows only the damaged database has; they are kept. None when that was not looked at.
    """

    way: str
    name: str
    why: str
    took: timedelta | None
    lost: timedelta
    rows: int | None
    verified: str
    kept_as: str
    rows_kept: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetResult:
    """What became of one target.

    Attributes:
        target: Which.
        verdict: In a word.
        before: Its version before; None on an empty one, or when that is not known.
        after: Its version afterwards; None as above.
        versions: What was applied, or taken back, in that order.
        share: How far the version is of which a share was asked for, in a clause; empty for none.
        duration: How long it took in all.
        lock_wait: Time that statements of ours were seen waiting for locks.
        attempts: The most tries that one version took.
        error: What went wrong; empty when nothing did.
        hint: The next step; empty where the error says it all.
        database_state: What is left in the database.
        recovery: How it was recovered; None when it was not.
        ended_at: When it was done; None where nothing was tried.
    """

    target: FleetTarget
    verdict: ApplyVerdict
    before: str | None = None
    after: str | None = None
    versions: tuple[str, ...] = ()
    share: str = ""
    duration: timedelta = timedelta()
    lock_wait: timedelta = timedelta()
    attempts: int = 0
    error: str = ""
    hint: str = ""
    database_state: DatabaseState = DatabaseState.UNTOUCHED
    recovery: Recovered | None = None
    ended_at: datetime | None = None


def failures(results: Sequence[TargetResult]) -> tuple[TargetResult, ...]:
    """The targets that failed, or that could not be taken back."""
    return tuple(one for one in results if one.verdict in {ApplyVerdict.FAILED, ApplyVerdict.NOT_TAKEN_BACK})


def applied_to(results: Sequence[TargetResult]) -> tuple[FleetTarget, ...]:
    """The targets to which something was applied just now."""
    there = {ApplyVerdict.APPLIED, ApplyVerdict.SHARE_APPLIED}
    return tuple(one.target for one in results if one.verdict in there)
