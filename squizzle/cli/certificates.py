"""The verb that shows what rehearsals proved, and whether it still counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from squizzle.cli.backups import store_of, store_options, words_for
from squizzle.cli.names import versions
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.config import load_config
from squizzle.durations import words
from squizzle.errors import BackupDamagedError, InvalidInputError
from squizzle.migrations.operations import preview_apply
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.rehearsal.certificate import document_of
from squizzle.rehearsal.certificate_store import Certificates, check_certificates, read_certificates
from squizzle.rehearsal.gate import Answers, ask_for_certificates, why_not
from squizzle.rehearsal.records import Certificate, RollbackProof, ScriptTrace
from squizzle.rehearsal.signature import signing_key


class _Listed(click.Group):
    """`certificates` alone, or with a version or an option, lists; a subcommand is the first word or nothing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in {*self.commands, "-h", "--help"}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Listed)
def certificates() -> None:
    """List what rehearsals proved, newest first: `certificates [VERSION]`; `show ID`; `check`.

    \b
    Examples:
      squizzle certificates --env production          # and whether each counts there now
      squizzle certificates 0007 --database shop
      squizzle certificates show 20250302T120000000000Z-0007-1f2e3d
      squizzle certificates check
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"


@certificates.command("list")
@click.argument("version", required=False, shell_complete=versions)
@click.option("--database", metavar="NAME", help="Only those of this database.")
@click.option("--store", "address", metavar="URL", help="Where they lie; without it: [backups] store.")
@common_options
def list_certificates(invocation: Invocation, version: str | None, database: str | None, address: str | None) -> None:
    """List certificates, newest first; with --env or --url also whether each counts there now, and why not.

    \b
    Examples:
      squizzle certificates list 0013 --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    store = store_of(address, invocation.config)
    answers = None
    if invocation.environment or invocation.url:
        access, target = invocation.target()
        policy = invocation.config.rehearsal
        with connect(access, target.database, purpose="certificates", read_only=True) as connection:
            pending = preview_apply(connection, target, invocation.migrations(), policy=invocation.config.policy)
            migrations = [step.migration for step in pending]
            asks = target.environment or ""
            answers = ask_for_certificates(connection, target, migrations, store, policy, environment=asks)
        if not policy.same_schema:
            database = database or target.database
    known = read_certificates(store, database=database, version=version)
    now = datetime.now(UTC)
    document = {
        "certificates": [_summary(one, answers, now) for one in known.found],
        "damaged": list(known.damaged),
        "locked": list(known.locked),
    }
    print_result(document, _listed(store.address, known, answers, now), as_json=invocation.as_json)


def _why_not(certificate: Certificate, answers: Answers | None) -> tuple[str, ...] | None:
    """Why it does not count; None where nobody asked."""
    if answers is None:
        return None
    answer = next((one for one in answers.answers if one.version == certificate.version), None)
    return ("its version is not pending there",) if answer is None else why_not(certificate, answer)


def _summary(certificate: Certificate, answers: Answers | None, now: datetime) -> dict[str, object]:
    reasons = _why_not(certificate, answers)
    return {
        "id": certificate.id,
        "version": certificate.version,
        "name": certificate.name,
        "verdict": certificate.verdict.value,
        "reasons": list(certificate.reasons),
        "issued_at": certificate.issued_at.isoformat(),
        "age_s": round((now - certificate.issued_at).total_seconds()),
        "database": certificate.database,
        "environment": certificate.environment or None,
        "backup_id": certificate.backup_id,
        "signed": bool(certificate.signature),
        "counts": None if reasons is None else not reasons,
        "why_not": list(reasons or ()),
    }


def _listed(store: str, known: Certificates, answers: Answers | None, now: datetime) -> str:
    lines = [f"no certificate in {store}"]
    if known.found:
        asked = answers is not None
        headings = ("certificate", "version", "verdict", "age", "database", "backup", *(("counts",) if asked else ()))
        lines = [table(headings, [_row(one, answers, now) for one in known.found])]
    for one in known.found:
        lines += [f"{one.id} does not count: {reason}" for reason in _why_not(one, answers) or ()]
    lines += [f"PROBLEM {text}" for text in (*known.damaged, *known.locked)]
    return "\n".join(lines)


def _row(certificate: Certificate, answers: Answers | None, now: datetime) -> tuple[str, ...]:
    reasons = _why_not(certificate, answers)
    row = (
        certificate.id,
        certificate.version,
        certificate.verdict.value,
        words_for(now - certificate.issued_at),
        certificate.database,
        certificate.backup_id,
    )
    return row if reasons is None else (*row, "NO" if reasons else "yes")


@certificates.command()
@click.argument("certificate_id", metavar="ID")
@store_options
def show(*, certificate_id: str, address: str | None, config_file: Path | None, as_json: bool) -> None:
    """Show everything that one certificate says; the beginning of its id is enough where no other has it.

    \b
    Examples:
      squizzle certificates show 1f2e3d4c
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    known = read_certificates(store_of(address, load_config(config_file)))
    found = [one for one in known.found if one.id.startswith(certificate_id)]
    if len(found) != 1:
        unread = (*known.damaged, *known.locked)
        raise InvalidInputError(
            f"{len(found) or 'no'} certificates begin with {certificate_id!r}"
            + (f"; and cannot be read: {'; '.join(unread)}" if unread else ""),
            hint="`squizzle certificates` lists them",
        )
    print_result(document_of(found[0]), "\n".join(_told(found[0])), as_json=as_json)


def _told(certificate: Certificate) -> Iterator[str]:
    yield f"certificate {certificate.id}"
    yield f"  version {certificate.version} {certificate.name}: {certificate.verdict.value.upper()}"
    yield from (f"  because: {reason}" for reason in certificate.reasons)
    yield (
        f"  {certificate.issued_at:%Y-%m-%d %H:%M:%S %Z} by {certificate.by}, in {words(certificate.duration)},"
        f" {'signed' if certificate.signature else 'not signed'}"
    )
    yield f"  of {certificate.database} {f'({certificate.environment})' if certificate.environment else ''}".rstrip()
    yield (
        f"  with backup {certificate.backup_id}, {certificate.backup_rows:,} rows compared and as they were"
        f"{', then masked' if certificate.masked else ''}"
    )
    yield f"  on {certificate.rehearsed_on}, PostgreSQL {_version(certificate.rehearsed_version)}"
    if certificate.up is not None:
        yield from _trace("up", certificate.up)
    if certificate.again is not None:
        yield f"up again: {words(certificate.again)}"
    yield from _rollback(certificate.rollback)
    for way in certificate.ways:
        took = f"in {words(way.duration)}" if way.duration is not None else "not carried out"
        yield f"{way.way.words}: {took}, {'everything came back' if way.complete else 'NOT COMPLETE'}: {way.detail}"
    for change in certificate.workload:
        if change.regressed:
            yield f"WORSE {change.query}: {change.why}"
    yield from (f"note: {note}" for note in certificate.notes)
    yield from (f"not compared: {clause}" for clause in certificate.not_covered)


def _trace(name: str, trace: ScriptTrace) -> Iterator[str]:
    yield f"{name}: {words(trace.duration)}"
    for one in trace.statements:
        first = one.sql.strip().splitlines()[0] if one.sql.strip() else ""
        yield f"  line {one.line}, {_ms(one.duration)}, {one.rows_changed:,} rows, {one.wal_bytes:,} B of log: {first}"
        for lock in one.locks:
            least = "at least " if one.is_lower_bound else ""
            yield f"    {lock.mode} on {lock.relation} for {least}{_ms(lock.held)}"
        yield from (f"    writes {relation} anew" for relation in one.rewrites)


def _rollback(proof: RollbackProof) -> Iterator[str]:
    took = f" in {words(proof.trace.duration)}" if proof.trace else ""
    data = "rows equal" if proof.data_is_equal else "rows DIFFERENT"
    yield f"rollback by {proof.script}{took}: schema {proof.schema.value}, {data}"
    if proof.why:
        yield f"  {proof.why}"
    yield from (f"  {difference}" for difference in proof.differences)
    yield from (f"  {difference.sentence()}" for difference in proof.rows)


def _ms(duration: timedelta) -> str:
    return f"{duration.total_seconds() * 1000:,.1f} ms"


def _version(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"


@certificates.command()
@store_options
def check(*, address: str | None, config_file: Path | None, as_json: bool) -> int:
    """Look for certificates that were changed or taken away, and with a signing key for those that others wrote.

    Exit codes: 0; 7 when something is not as it was written.

    \b
    Examples:
      squizzle certificates check --store file:///var/backups/shop
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    config = load_config(config_file)
    key = signing_key(config.rehearsal.signing_key_env)
    found = check_certificates(store_of(address, config), key=key)
    document: Mapping[str, Any] = {
        "ok": not found.problems,
        "count": found.count,
        "signatures": key is not None,
        "problems": list(found.problems),
        "notes": list(found.notes),
    }
    print_result(document, "\n".join(_checked(found.count, found.problems, found.notes)), as_json=as_json)
    return BackupDamagedError.code if found.problems else 0


def _checked(count: int, problems: Sequence[str], notes: Sequence[str]) -> Iterator[str]:
    yield from (f"PROBLEM {problem}" for problem in problems)
    yield from (f"note: {note}" for note in notes)
    yield f"{number_of(count, 'certificate')}, {len(problems) or 'no'} problems"
