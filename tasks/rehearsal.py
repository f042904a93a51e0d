"""Rehearsing: choose a backup, restore it, take every version there and back, write certificates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from squizzle.backups.notes import write_hold
from squizzle.backups.proofs import Hold
from squizzle.backups.records import Backup
from squizzle.backups.wal.open_archive import archive_of
from squizzle.durations import words
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import CONTROL_DATABASE, connect
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.means import find_backups, opened, system_identifier
from squizzle.recovery.scratch_copy import ScratchPlace
from squizzle.rehearsal.certificate_store import write_certificate
from squizzle.rehearsal.choosing import Choice, choose_backup
from squizzle.rehearsal.lock_forecast import forecast_certificates, relations_of
from squizzle.rehearsal.lock_forecast_records import QueueForecast
from squizzle.rehearsal.place import PlaceOrder, RehearsalPlace, rehearsal_place
from squizzle.rehearsal.record_json import relation_of
from squizzle.rehearsal.records import Certificate, CertificateVerdict, ProvenWay
from squizzle.rehearsal.rehearse import (
    RehearsalPlan,
    VersionResult,
    draft_certificate,
    plan_rehearsal,
    rehearse_version,
)
from squizzle.rehearsal.signature import signing_key
from squizzle.rehearsal.traffic import read_traffic
from squizzle.rehearsal.version_run import Course, apply_earlier
from squizzle.rehearsal.ways import PointSource, measure_ways
from squizzle.rehearsal.workload import Query, read_workload, workload_of
from tasks.folders import read_folders
from tasks.rehearsal_case import RehearsalCase
from tasks.steps import log_line, now, run_name, step


def _planned(plan: RehearsalPlan) -> str:
    earlier = f", after {', '.join(plan.earlier)}" if plan.earlier else ""
    return f"{', '.join(plan.versions)}{earlier}"


@step("Look at the database", timeout=timedelta(minutes=10), detail=_planned)
def look_at_target(case: RehearsalCase) -> RehearsalPlan:
    """Which versions are pending, which schema and settings the database has. It is only read."""
    migrations = read_folders(case.folder)
    target = case.database.target()
    with connect(case.database.access(), target.database, purpose="rehearsal", read_only=True) as connection:
        return plan_rehearsal(connection, target, migrations, only=case.version or None, policy=case.policy)


@step("Choose a backup", timeout=timedelta(minutes=30), detail=lambda choice: choice.why)
def choose(case: RehearsalCase, plan: RehearsalPlan) -> Choice:
    """The backup that was named, else the newest fresh one; none when a new one has to be taken."""
    store = case.store.open()
    if case.backup_id:
        return Choice(backup=store.read(case.backup_id), why=f"{case.backup_id} was named")
    with connect(case.database.access(), CONTROL_DATABASE, purpose="rehearsal", read_only=True) as control:
        identifier = system_identifier(control)
    backups = find_backups(store, plan.target.database, system_identifier=identifier)
    whole = (opened(store, one) for one in backups)
    return choose_backup(whole, schema_digest=plan.database_digest, max_age=case.max_backup_age, now=now())


def _restored(place: RehearsalPlace) -> str:
    if place.base is None:
        return f"{place.backup.id} is NOT what was saved: {place.problems[0]}"
    return f"{place.backup.id} on {place.where}: equal, {place.base_digest.rows:,} rows"


@contextmanager
def opened_place(case: RehearsalCase, plan: RehearsalPlan, backup: Backup) -> Iterator[RehearsalPlace]:
    """The restored and compared copy, for the length of the block; if we are killed, the next run drops it.

    Raises:
        CouldNotVerifyError: There is no server of that version, no room, or something is missing on the server.
        InvalidInputError: The backup is of another database.
    """
    with ExitStack() as stack:
        yield _restore(case, plan, backup, stack)


@step("Restore it to a scratch place, and compare", timeout=timedelta(hours=24), detail=_restored)
def _restore(case: RehearsalCase, plan: RehearsalPlan, backup: Backup, stack: ExitStack) -> RehearsalPlace:
    order = PlaceOrder(
        store=case.store.open(),
        backup=backup,
        database=plan.target.database,
        identity_id=plan.identity_id,
        scratch=ScratchPlace(server=case.scratch.access() if case.scratch else None),
        mask=_text(case.mask) if case.mask else "",
        by=run_name(),
        say=log_line,
    )
    return stack.enter_context(rehearsal_place(order))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInputError(
            f"{path} cannot be read: {exc}", hint="name a file of SQL that the worker can read"
        ) from exc


def _measured(ways: tuple[ProvenWay, ...]) -> str:
    return "; ".join(f"{one.way.words} {words(one.duration) if one.duration else 'not executed'}" for one in ways)


@step("Measure the other ways back", timeout=timedelta(hours=24), detail=_measured)
def measure(case: RehearsalCase, plan: RehearsalPlan, place: RehearsalPlace) -> tuple[ProvenWay, ...]:
    """Carry out the ways back that need no script, on the scratch server."""
    store = case.store.open()
    point = PointSource(
        store=store,
        archive=archive_of(store),
        system_identifier=place.backup.system_identifier,
        measure=case.with_point_in_time,
    )
    return measure_ways(place, schema=plan.target.schema, point=point, say=log_line)


def _workload(case: RehearsalCase) -> tuple[Query, ...]:
    queries = read_workload(case.workload) if case.workload else ()
    if not case.top_queries:
        return queries
    with connect(case.database.access(), case.database.database, purpose="rehearsal", read_only=True) as connection:
        return (*queries, *workload_of(connection, top=case.top_queries))


def course_of(case: RehearsalCase, plan: RehearsalPlan, place: RehearsalPlace) -> Course:
    """What every version's rehearsal has in common."""
    return Course(
        place=place,
        schema=plan.target.schema,
        migrations=read_folders(case.folder),
        policy=case.policy,
        budget=case.budget,
        workload=_workload(case),
        may_grow=frozenset(case.may_grow),
        say=log_line,
    )


@step(
    "Apply the versions before it",
    timeout=timedelta(hours=24),
    detail=lambda digest: f"{digest.rows:,} rows fingerprinted",
)
def come_to(course: Course, work: str, plan: RehearsalPlan) -> DatabaseDigest:
    """Bring the work copy to the state that the first rehearsed version starts from."""
    return apply_earlier(course, work, plan.earlier)


def _rehearsed(result: VersionResult) -> str:
    forward, backward = result.forward, result.backward
    if not forward.is_done:
        return f"{result.version} does not come to its end: {forward.failed}"
    trace = forward.trace
    proof = backward.proof if backward else None
    back = proof.why or ("back exactly" if proof.is_exact else "back, with differences") if proof else "not taken back"
    return f"{result.version}: {len(trace.statements) if trace else 0} statements, {back}"


@step("Forward, back, and forward again", timeout=timedelta(hours=24), detail=_rehearsed)
def rehearse_one(
    course: Course, work: str, version: str, earlier: tuple[str, ...], before: DatabaseDigest
) -> VersionResult:
    """Take one version there and back on the work copy, compared after each step."""
    return rehearse_version(course, work, version, earlier=earlier, before=before)


# One for each backup: the newest certificate keeps it the longest.
HOLD = "certificate"
_WATCH = timedelta(seconds=1.5)


@step("See who would wait if it ran now", timeout=timedelta(minutes=5), detail=lambda forecast: forecast.sentence)
def foresee(case: RehearsalCase, backup: Backup, certificates: tuple[Certificate, ...]) -> QueueForecast:
    """The locks that were traced, times what clients do in the database now. It is only read."""
    relations = [one for certificate in certificates if certificate.up for one in relations_of(certificate.up)]
    target = case.database.target()
    with connect(case.database.access(), target.database, purpose="forecast", read_only=True) as connection:
        traffic = read_traffic(connection, relations, over=_WATCH, schema=target.schema)
    rows = {relation_of(one.table): one.rows for one in backup.fingerprint.tables}
    return forecast_certificates(certificates, traffic, timeouts=case.policy.timeouts, rehearsed_rows=rows)


def _issued(certificate: Certificate) -> str:
    reason = f": {certificate.reasons[0]}" if certificate.reasons else ""
    return f"{certificate.version} is {certificate.verdict.value}{reason}"


@step("Write the certificate", timeout=timedelta(minutes=10), detail=_issued)
def certify(
    case: RehearsalCase, plan: RehearsalPlan, course: Course, result: VersionResult, ways: tuple[ProvenWay, ...]
) -> Certificate:
    """Put what was proven beside the backup, and keep that while it counts. Safe to repeat: it says the same."""
    draft = draft_certificate(plan, course, result, ways, by=run_name(), now=now())
    store = case.store.open()
    certificate = write_certificate(store, draft, key=signing_key(case.signing_key_env))
    if certificate.verdict is CertificateVerdict.PROVEN:
        until = certificate.issued_at + case.keep_backup
        reason = f"it is the proven way back of {certificate.version} (certificate {certificate.id})"
        hold = Hold(
            backup_id=certificate.backup_id,
            name=HOLD,
            reason=reason,
            by=certificate.by,
            at=certificate.issued_at,
            until=until,
        )
        write_hold(store, hold)
    return certificate
