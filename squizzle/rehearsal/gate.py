"""Nothing is applied where a project asks for certificates before there is one that counts, or a person's word."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from squizzle.backups.store import BackupStore
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.migrations.approvals import Approval, Approvals
from squizzle.migrations.history import read_history
from squizzle.migrations.records import Migration
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from squizzle.rehearsal.certificate_store import Certificates, read_certificates
from squizzle.rehearsal.matching import Situation, mismatches, remarks
from squizzle.rehearsal.records import Certificate, CertificateVerdict
from squizzle.rehearsal.situation import begun_with, drift_since_backup, files_of, read_situation
from squizzle.settings.rehearsal import RehearsalSettings

NO_CERTIFICATE = "none: "
"""Begins what the history says of a version that was applied without a certificate; the reason follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """A person's word instead of a certificate.

    Attributes:
        reason: Why it is applied all the same.
        approver: Who says so.
    """

    reason: str
    approver: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the certificates say about one version.

    Attributes:
        version: Which.
        certificate: The one that counts; None when none does.
        reasons: Why none does, a sentence each; none when one does.
        remarks: What differs and is no reason against it, a sentence each.
        situation: What certificates were compared with; None when they could not be looked at.
    """

    version: str
    certificate: Certificate | None
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    situation: Situation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What the certificates say about versions that would be applied one after the other.

    Attributes:
        answers: In that order.
        environment: Where, for messages.
        schema_digest: Of the schema that the first one would start from; empty when nothing was compared with it.
    """

    answers: tuple[Answer, ...]
    environment: str
    schema_digest: str = ""

    @property
    def missing(self) -> tuple[Answer, ...]:
        """The versions without a certificate that counts."""
        return tuple(one for one in self.answers if one.certificate is None)


def is_asked_for(policy: RehearsalSettings, environments: Collection[str | None]) -> bool:
    """Whether an environment asks for certificates.

    Args:
        policy: What the project wants.
        environments: What the caller calls it, and what the database says.
    """
    return any(one in policy.required_for for one in environments)


def override_of(reason: str | None, approver: str | None, policy: RehearsalSettings) -> Override | None:
    """A person's word, which needs both; None where neither was given.

    Raises:
        InvalidInputError: One of the two is missing or empty.
        RefusedError: The project does not allow it.
    """
    if reason is None and approver is None:
        return None
    if not (reason and reason.strip()) or not (approver and approver.strip()):
        raise InvalidInputError(
            "applying without a certificate needs a reason and the name of who approves it",
            hint="give both: --without-certificate REASON --approver NAME",
        )
    if not policy.may_override:
        raise RefusedError(
            "this project applies nothing without a certificate ([rehearsal] may_override = false)",
            hint="rehearse it: squizzle rehearse VERSION --env NAME",
        )
    return Override(reason=reason.strip(), approver=approver.strip())


def ask_for_certificates(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    store: BackupStore | None,
    policy: RehearsalSettings,
    *,
    environment: str,
    now: datetime | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Answers:
    """Which certificates count for versions that would be applied now, one after the other. Nothing is changed.

    The first starts from the schema as it is, each other one from the schema that the one before it leaves by its
    certificate. Of several certificates that match the newest counts; a newer one that matches and has failed takes the
    word of the older ones away.

    Args:
        connection: A session in the target's database.
        target: The database, and who the caller means by it.
        migrations: What would be applied, in order.
        store: Where backups and certificates lie; None when nobody named one.
        policy: What the project wants.
        environment: Which one asks, for messages.
        now: The time; None for the clock's.
        environ: Where the signing key is.

    Raises:
        IdentityMismatchError: Another database than was meant.
        KeyNotUsableError: A signing key is configured and is not there.
        DatabaseError: The session was lost, or something may not be read.
        ToolError: The store cannot be read.
    """
    if store is None:
        why = "no store is named where certificates lie; give --store URL or write it to [backups] store"
        return unanswered(migrations, environment, why)
    if not migrations:
        return Answers(answers=(), environment=environment)
    known = read_certificates(store)
    wanted = {one.version for one in migrations}
    backup_ids = {one.backup_id for one in known.found if one.version in wanted}
    first = read_situation(
        connection, target, migrations[0], store, policy=policy, backup_ids=backup_ids, now=now, environ=environ
    )
    candidates = [one for one in known.found if one.version == migrations[0].version]
    if candidates and first.schema_digest not in {one.schema_before for one in candidates}:
        first = replace(first, drift=drift_since_backup(connection, target, store, candidates[0]))
    history = read_history(connection, target.schema)
    situation, answers = first, []
    for migration in migrations:
        version = migration.version
        situation = replace(
            situation, version=version, files=files_of(migration), begun_with=begun_with(history, version)
        )
        answer = choose_certificate(known, situation)
        answers.append(answer)
        situation = _after(answer, situation)
    return Answers(answers=tuple(answers), environment=environment, schema_digest=first.schema_digest)


def unanswered(migrations: Sequence[Migration], environment: str, why: str) -> Answers:
    """The answer when certificates cannot be looked at: none counts.

    Args:
        migrations: What would be applied.
        environment: Where.
        why: They cannot be, in a sentence.
    """
    answers = (Answer(version=one.version, certificate=None, reasons=(why,)) for one in migrations)
    return Answers(answers=tuple(answers), environment=environment)


def _after(answer: Answer, situation: Situation) -> Situation:
    if answer.certificate is not None:
        return replace(situation, schema_digest=answer.certificate.schema_after)
    why = f"{answer.version}, which comes before it, has no certificate that counts"
    return replace(situation, schema_digest="", unknown_because=situation.unknown_because or why)


def choose_certificate(known: Certificates, situation: Situation) -> Answer:
    """The certificate that counts in a situation, or why none does. Only compares.

    Args:
        known: Everything in the store.
        situation: What would happen now.
    """
    version = situation.version
    best: tuple[Certificate, tuple[str, ...]] | None = None
    for certificate in (one for one in known.found if one.version == version):
        reasons = mismatches(certificate, situation)
        if not reasons:
            more = remarks(certificate, situation)
            return Answer(version=version, certificate=certificate, remarks=more, situation=situation)
        if best is None or len(reasons) < len(best[1]):
            best = certificate, reasons
        if len(reasons) == 1 and certificate.verdict is CertificateVerdict.FAILED:
            break  # It is about just this, and newer than any that says otherwise.
    reasons = (*_why_none(best, situation), *known.damaged, *known.locked)  # one of those may be the one that is missed
    return Answer(version=version, certificate=None, reasons=reasons, situation=situation)


def _why_none(best: tuple[Certificate, tuple[str, ...]] | None, situation: Situation) -> Iterator[str]:
    if best is None:
        where = f" --env {situation.environment}" if situation.environment else ""
        yield f"there is no certificate of it; rehearse it: squizzle rehearse {situation.version}{where}"
        return
    certificate, reasons = best
    for reason in reasons:
        yield f"certificate {certificate.id} does not count: {reason}"


def require_certificates(answers: Answers, policy: RehearsalSettings, override: Override | None = None) -> Approvals:
    """What may be applied, by a certificate that counts or by a person's word.

    Args:
        answers: What `ask_for_certificates` found.
        policy: What the project wants.
        override: A person's word; it counts only for versions without a certificate that counts.

    Raises:
        RefusedError: A version has neither; every reason is named, and the next step. Nothing was changed.
    """
    missing = answers.missing
    if missing and override is None:
        versions = ", ".join(one.version for one in missing)
        lines = [f"{one.version}: {reason}" for one in missing for reason in one.reasons]
        by_word = "; with somebody's word: --without-certificate REASON --approver NAME" if policy.may_override else ""
        first = f"{answers.environment} asks for certificates, and none counts for {versions}"
        raise RefusedError(
            "\n  ".join([first, *lines]),
            hint=f"{_rehearse(missing, answers.environment)}{by_word}",
        )
    return Approvals(
        by_version={one.version: _approval(one, override) for one in answers.answers},
        schema_digest="" if answers.answers and answers.answers[0].certificate is None else answers.schema_digest,
    )


def _rehearse(missing: Sequence[Answer], environment: str) -> str:
    what = missing[0].version if len(missing) == 1 else "--all"
    return f"squizzle rehearse {what} --env {environment}"


def _approval(answer: Answer, override: Override | None) -> Approval:
    if answer.certificate is not None:
        return Approval(certificate=answer.certificate.id)
    if override is None:
        raise AssertionError("a version without a certificate needs somebody's word")
    return Approval(certificate=f"{NO_CERTIFICATE}{override.reason}", approved_by=override.approver)


def warnings_of(answers: Answers, override: Override | None) -> Iterable[str]:
    """What has to be said aloud before anything is applied, a line each."""
    for one in answers.answers:
        for remark in one.remarks:
            yield f"note: {one.version}: certificate {one.certificate.id if one.certificate else ''}: {remark}"
    if override is None:
        return
    if not answers.missing:
        yield "note: every version has a certificate that counts; nobody's word was needed, and none is written down"
    for one in answers.missing:
        yield (
            f"WARNING: {one.version} is applied WITHOUT A CERTIFICATE: its way back is not proven."
            f" Reason: {override.reason}. Approved by {override.approver}."
        )
        yield from (f"  {reason}" for reason in one.reasons)


def why_not(certificate: Certificate, answer: Answer) -> tuple[str, ...]:
    """Why a certificate is not the one that counts for its version; nothing when it is.

    Args:
        certificate: Any of that version.
        answer: What was found about the version.
    """
    if answer.certificate is not None and answer.certificate.id == certificate.id:
        return ()
    if answer.situation is None:
        return answer.reasons
    found = mismatches(certificate, answer.situation)
    if found:
        return found
    newer = answer.certificate.id if answer.certificate else "one that failed"
    return (f"a newer certificate of {certificate.version} takes its place: {newer}",)
