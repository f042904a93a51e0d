"""A rehearsal: which versions, each of them forward, back and forward again on a copy, and what that proves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from squizzle.backups.manifest import manifest_hash
from squizzle.errors import VersionConflictError
from squizzle.migrations.operations import preview_apply
from squizzle.migrations.records import Migration, Policy
from squizzle.migrations.session import work_in_schema
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, read_identity
from squizzle.proof.digests import digest_schema
from squizzle.proof.records import COVERS, NOT_COVERED, DatabaseDigest, SchemaMatch
from squizzle.recovery.ways import Way
from squizzle.rehearsal.half_way import take_back_half_way
from squizzle.rehearsal.records import Certificate, PlanChange, ProvenWay, RollbackProof
from squizzle.rehearsal.situation import files_of, read_settings
from squizzle.rehearsal.verdict import NO_SCRIPT, Evidence, judge
from squizzle.rehearsal.version_run import Again, Backward, Course, Forward, VersionRun
from squizzle.rehearsal.workload import QueryMeasure, measure_workload
from squizzle.rehearsal.workload_changes import compare_workload


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalPlan:
    """What is going to be rehearsed, and what it is for.

    Attributes:
        target: The database that the versions are meant for.
        environment: Where it is; empty when it does not say.
        identity_id: Who it says it is; empty when it does not say.
        versions: To be rehearsed, in order.
        earlier: Pending versions that are only applied to the copy before them.
        schema_digest: Logical digest of the schema that scripts work in, as it is there now.
        database_digest: The same of all definitions of the database, as backups have it.
        settings: Those of the server that change what a script does, by name.
        server_version: Of that server, as `server_version_num`.
    """

    target: Target
    environment: str
    identity_id: str
    versions: tuple[str, ...]
    earlier: tuple[str, ...]
    schema_digest: str
    database_digest: str
    settings: Mapping[str, str]
    server_version: int


def plan_rehearsal(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    only: str | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> RehearsalPlan:
    """Find out what is to be rehearsed for a database, which is only read.

    Args:
        connection: A session in it.
        target: Who the caller means.
        migrations: What is on disk.
        only: One pending version; those before it are applied to the copy first. None for every pending one.
        policy: What the project allows.

    Raises:
        IdentityMismatchError: Another database than was meant.
        VersionConflictError: Nothing is pending, or that version is applied or unknown.
        ChecksumMismatchError, InvalidInputError: See `plan_apply`.
    """
    identity = read_identity(connection)
    steps = preview_apply(connection, target, migrations, to=only, policy=policy)
    versions = tuple(step.migration.version for step in steps)
    if not versions:
        what = f"{only} is applied already" if only else "every version is applied already"
        raise VersionConflictError(
            f"there is nothing to rehearse for {target.database}: {what}",
            hint="`squizzle status` lists what is pending",
        )
    chosen = versions[-1:] if only else versions
    return RehearsalPlan(
        target=target,
        environment=(identity.environment if identity else None) or target.environment or "",
        identity_id=str(identity.id) if identity else "",
        versions=chosen,
        earlier=versions[: len(versions) - len(chosen)],
        schema_digest=digest_schema(connection, schema=target.schema).logical,
        database_digest=digest_schema(connection).logical,
        settings=read_settings(connection),
        server_version=connection.info.server_version,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionResult:
    """What one version did on the copy.

    Attributes:
        version: Which.
        schema_before: Logical digest of the schema that it started from.
        schema_after: Of the one that it left; empty when it did not come to its end.
        forward: The first time.
        backward: The way back by script; None when there was nothing to take back.
        again: The second time; None when it did not come to that.
        half_way: What taking it back at a share of its rows did, for the certificate's notes; empty where it never is.
        workload: How queries fare.
        took: All of it.
    """

    version: str
    schema_before: str
    schema_after: str
    forward: Forward
    backward: Backward | None = None
    again: Again | None = None
    half_way: str = ""
    workload: tuple[PlanChange, ...] = ()
    took: timedelta = timedelta()

    @property
    def after(self) -> DatabaseDigest | None:
        """The copy as the next version finds it; None when nothing can follow."""
        return self.again.digest if self.again else None


def rehearse_version(
    course: Course, work: str, version: str, *, earlier: Sequence[str], before: DatabaseDigest
) -> VersionResult:
    """Take one version forward, back, and forward again on a work copy, and compare after each step.

    Nothing is raised for what the version does: that is what the result is about.

    Args:
        course: What is rehearsed.
        work: The work copy's name; afterwards it is in the state after the version, unless `after` is None.
        version: Which.
        earlier: The versions that were applied to that copy before.
        before: The copy's fingerprint.

    Raises:
        ConnectionFailedError: The scratch server is gone.
    """
    started = time.monotonic()
    run = VersionRun(course, work, version, earlier=earlier, before=before)
    with course.open(work) as connection:
        schema_before = digest_schema(connection, schema=course.schema).logical
    measured = _measure(course, work)
    forward = run.go_forward()
    result = VersionResult(version=version, schema_before=schema_before, schema_after="", forward=forward)
    if forward.digest is not None:
        with course.open(work) as connection:
            schema_after = digest_schema(connection, schema=course.schema).logical
        with run.kept_as_applied(forward.digest):
            result = replace(result, schema_after=schema_after, backward=run.go_back())
        if result.backward is not None and result.backward.proof.is_exact and not result.backward.proof.why:
            result = replace(result, half_way=take_back_half_way(course, work, run.migration, before))
        result = _once_more(course, run, result, forward.digest)
    if result.after is not None:
        result = replace(result, workload=compare_workload(measured, _measure(course, work)))
    return replace(result, took=timedelta(seconds=time.monotonic() - started))


def _measure(course: Course, work: str) -> tuple[QueryMeasure, ...]:
    """Measure the workload, if there is one, with the statistics of the rows that are there."""
    if not course.workload:
        return ()
    with course.open(work) as connection:
        # A column whose type changed, or an index on an expression, has none before that.
        connection.execute("ANALYZE")
        work_in_schema(connection, course.schema)
        return measure_workload(connection, course.workload, budget=course.budget)


def _once_more(course: Course, run: VersionRun, result: VersionResult, first: DatabaseDigest) -> VersionResult:
    """Forward again, where the way back came to its end; otherwise the copy is still in the state after the version."""
    proof = result.backward.proof if result.backward else None
    if proof is None or proof.script == NO_SCRIPT:
        return replace(result, again=Again(digest=first))
    if proof.why:
        return result
    course.say(f"{result.version}: applying it again")
    return replace(result, again=run.go_forward_again(first))


def evidence_of(plan: RehearsalPlan, result: VersionResult, ways: tuple[ProvenWay, ...]) -> Evidence:
    """Everything that was found out about one version, for the verdict. Pure."""
    forward, backward, again = result.forward, result.backward, result.again
    could_not = [one for one in (forward.could_not, backward and backward.could_not, again and again.could_not) if one]
    if result.schema_before != plan.schema_digest and not plan.earlier and result.version == plan.versions[0]:
        could_not.append(
            f"the schema of {plan.target.database} is not the one that was backed up (is {plan.schema_digest[:12]},"
            f" the backup has {result.schema_before[:12]}): take a new backup, and rehearse again"
        )
    nothing = RollbackProof(
        script=NO_SCRIPT, sha256="", schema=SchemaMatch.DIFFERENT, why="there was nothing to take back"
    )
    return Evidence(
        could_not=tuple(could_not),
        up_failed="" if forward.could_not else forward.failed,
        rollback=backward.proof if backward else nothing,
        taken_by_up=backward.taken_by_up if backward else (),
        again_failed="" if again is None or again.could_not else again.failed,
        again_differences=again.differences if again else (),
        ways=ways,
    )


def draft_certificate(
    plan: RehearsalPlan,
    course: Course,
    result: VersionResult,
    ways: tuple[ProvenWay, ...],
    *,
    by: str,
    now: datetime,
) -> Certificate:
    """What was proven of one version, without an id and a place in the chain. Pure."""
    place, migration = course.place, course.find(result.version)
    evidence = evidence_of(plan, result, ways)
    verdict, reasons = judge(evidence)
    return Certificate(
        id="",
        version=result.version,
        name=migration.name,
        verdict=verdict,
        reasons=reasons,
        issued_at=now,
        duration=result.took,
        by=by,
        database=plan.target.database,
        environment=plan.environment,
        identity_id=plan.identity_id,
        schema=plan.target.schema,
        backup_id=place.backup.id,
        backup_sha256=manifest_hash(place.backup),
        store=place.backup.store,
        backup_rows=place.base_digest.rows,
        files=files_of(migration),
        server_version=plan.server_version,
        rehearsed_on=place.where,
        rehearsed_version=place.version_num,
        settings=plan.settings,
        schema_before=result.schema_before,
        schema_after=result.schema_after,
        up=result.forward.trace if result.forward.is_done else None,
        again=result.again.took if result.again else None,
        rollback=evidence.rollback,
        ways=(*_by_script(result.backward), *ways),
        workload=result.workload,
        covers=COVERS,
        not_covered=NOT_COVERED,
        masked=place.proven.masked is not None,
        notes=_notes(result),
    )


def _by_script(backward: Backward | None) -> tuple[ProvenWay, ...]:
    if backward is None or backward.proof.script == NO_SCRIPT:
        return ()
    proof = backward.proof
    detail = f"the {proof.script} ran, and everything was compared" if not proof.why else proof.why
    return (
        ProvenWay(
            way=Way.ROLL_BACK,
            executed=not proof.why,
            complete=proof.is_exact,
            duration=backward.took,
            detail=detail,
        ),
    )


def _notes(result: VersionResult) -> tuple[str, ...]:
    again = result.again.notes if result.again else ()
    back = result.backward.notes if result.backward else ()
    worse = (f"a query fares worse: {one.why}: {one.query}" for one in result.workload if one.regressed)
    unknown = (f"a query could not be compared: {one.why}: {one.query}" for one in result.workload if one.inconclusive)
    half = (result.half_way,) if result.half_way else ()
    return (*back, *half, *again, *worse, *unknown)
