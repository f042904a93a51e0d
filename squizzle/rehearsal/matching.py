"""Whether what was proven is what would happen now. Only compares; what is compared is read in `situation`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from squizzle.durations import words
from squizzle.postgres.secret import Secret
from squizzle.rehearsal.records import Certificate, CertificateVerdict, MigrationFiles
from squizzle.rehearsal.signature import is_signed_by
from squizzle.settings.rehearsal import RehearsalSettings

_SHORT = 12
# Of a drifted schema: so many names tell where to look.
_MOST_NAMES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownBackup:
    """A backup as its store has it now.

    Attributes:
        sha256: Of its manifest.
        problem: Why nothing could be restored from it, in a clause; empty when nothing is known against it.
    """

    sha256: str
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What a certificate is compared with: one migration, and the database that it would be applied to, now.

    Attributes:
        now: The time.
        version: Of the migration.
        files: Its scripts as they are on disk.
        database: The database's name.
        environment: As it was named, else as the database says; empty when neither says.
        identity_id: Who the database says it is; empty when it does not say.
        schema: The schema that the scripts work in.
        schema_digest: Logical digest of the schema that the script would start from; empty when it is not known.
        unknown_because: Why it is not known; empty otherwise.
        drift: Objects that are not as the last run left them, where somebody looked.
        server_version: `server_version_num`.
        settings: As `read_settings` reads them.
        backups: The backups of the store that certificates name, by id; one that is gone is not there.
        generated_sha256: Of the generated way back that would run now; None where none was generated.
        begun_with: The certificate with which a run began that left the migration half done; empty for none. Then the
            schema is no longer the one that the script began with, and it has to be finished all the same.
        signing_key: The key that certificates must be signed with; None where none is configured.
        policy: What the project wants.
    """

    now: datetime
    version: str
    files: MigrationFiles
    database: str
    environment: str
    identity_id: str
    schema: str
    schema_digest: str
    server_version: int
    settings: Mapping[str, str]
    backups: Mapping[str, KnownBackup]
    unknown_because: str = ""
    drift: tuple[str, ...] = ()
    generated_sha256: str | None = None
    begun_with: str = ""
    signing_key: Secret | None = None
    policy: RehearsalSettings = field(default_factory=RehearsalSettings)


def mismatches(certificate: Certificate, situation: Situation) -> tuple[str, ...]:
    """Every reason why a certificate does not count here and now, a sentence each with what to do; none when it does.

    Args:
        certificate: What was proven.
        situation: What would happen now.
    """
    return (
        *_by_itself(certificate, situation),
        *_files(certificate, situation),
        *_database(certificate, situation),
        *_server(certificate, situation),
        *_backup(certificate, situation),
    )


def remarks(certificate: Certificate, situation: Situation) -> tuple[str, ...]:
    """What differs and is no reason against a certificate, a sentence each."""
    found = []
    if _is_other_minor(certificate, situation) and situation.policy.allow_minor:
        found.append(
            f"it was rehearsed on PostgreSQL {_version(certificate.rehearsed_version)},"
            f" the server is {_version(situation.server_version)}"
        )
    if _other_database(certificate, situation) and situation.policy.same_schema:
        found.append(f"it was rehearsed with a backup of {certificate.database}, whose schema has the same digest")
    return tuple(found)


def _by_itself(certificate: Certificate, situation: Situation) -> Iterator[str]:
    again = _rehearse(situation)
    if certificate.verdict is not CertificateVerdict.PROVEN:
        why = certificate.reasons[0] if certificate.reasons else "it does not say why"
        yield f"its verdict is {certificate.verdict}: {why}; repair that, then {again}"
    if situation.signing_key is not None and not is_signed_by(certificate, situation.signing_key):
        what = "its signature is not of this key, or it was changed" if certificate.signature else "it is not signed"
        yield f"{what}; find out who wrote it (`squizzle certificates check`), then {again}"
    age = situation.now - certificate.issued_at
    if age > situation.policy.max_age:
        yield f"it is {words(age)} old, allowed are {words(situation.policy.max_age)} ([rehearsal] max_age); {again}"


def _files(certificate: Certificate, situation: Situation) -> Iterator[str]:
    again = _rehearse(situation)
    if certificate.version != situation.version:
        yield f"it is about version {certificate.version}, not {situation.version}; {again}"
    pairs = (
        ("up", certificate.files.up, situation.files.up),
        ("down", certificate.files.down, situation.files.down),
        ("verify", certificate.files.verify, situation.files.verify),
    )
    for name, then, now in pairs:
        if then != now:
            change = "was added" if not then else "is gone" if not now else "was changed"
            yield (
                f"the {name} script {change} since the rehearsal (SHA-256 was {_short(then)}, is {_short(now)});"
                f" put it back, or {again}"
            )
    generated = situation.generated_sha256
    if generated is not None and generated != certificate.rollback.sha256:
        yield (
            f"the generated way back is not the one that was proven (SHA-256 was {_short(certificate.rollback.sha256)},"
            f" is {_short(generated)}); {again}"
        )


def _database(certificate: Certificate, situation: Situation) -> Iterator[str]:
    again = _rehearse(situation)
    if not situation.policy.same_schema:
        for sentence in _other_database(certificate, situation):
            yield f"{sentence}; {again}, or allow it with [rehearsal] same_schema"
    if certificate.schema != situation.schema:
        yield f"it was rehearsed in the schema {certificate.schema}, not in {situation.schema}; {again}"
    if situation.begun_with == certificate.id:
        return
    if not situation.schema_digest:
        yield f"the schema that the script would start from is not known: {situation.unknown_because}; {again}"
    elif certificate.schema_before != situation.schema_digest:
        names = ", ".join(situation.drift[:_MOST_NAMES])
        more = f", and {len(situation.drift) - _MOST_NAMES} more" if len(situation.drift) > _MOST_NAMES else ""
        where = f" in {names}{more}" if names else ""
        yield (
            f"the schema is not the one that it was rehearsed on{where} (its digest was"
            f" {_short(certificate.schema_before)}, is {_short(situation.schema_digest)});"
            f" look at `squizzle verify`, then {again}"
        )


def _other_database(certificate: Certificate, situation: Situation) -> tuple[str, ...]:
    """What says that it was another database. Names count only where one of the two has no id; they change."""
    found = []
    if certificate.identity_id and situation.identity_id:
        if certificate.identity_id != situation.identity_id:
            found.append(
                f"it is about another database: {certificate.database} with the id {certificate.identity_id},"
                f" not {situation.database} with {situation.identity_id}"
            )
    elif certificate.database != situation.database:
        found.append(f"it is about another database: {certificate.database}, not {situation.database}")
    if certificate.environment and situation.environment and certificate.environment != situation.environment:
        found.append(f"it is about the environment {certificate.environment}, not {situation.environment}")
    return tuple(found)


def _server(certificate: Certificate, situation: Situation) -> Iterator[str]:
    again = _rehearse(situation)
    then, now = certificate.rehearsed_version, situation.server_version
    if then // 10000 != now // 10000:
        age = "newer" if now > then else "older"
        versions = f"PostgreSQL was {_version(then)}, is {_version(now)}"
        yield f"the server is {age} than the rehearsed one ({versions}); {again}"
    elif _is_other_minor(certificate, situation) and not situation.policy.allow_minor:
        yield (
            f"the server has another minor version than the rehearsed one (PostgreSQL was {_version(then)}, is"
            f" {_version(now)}); {again}, or allow it with [rehearsal] allow_minor"
        )
    for name in sorted({*certificate.settings, *situation.settings}):
        was, found = certificate.settings.get(name), situation.settings.get(name)
        if was != found:
            yield f"the setting {name} differs (was {_value(was)}, is {_value(found)}); set it back, or {again}"


def _is_other_minor(certificate: Certificate, situation: Situation) -> bool:
    then, now = certificate.rehearsed_version, situation.server_version
    return then != now and then // 10000 == now // 10000


def _backup(certificate: Certificate, situation: Situation) -> Iterator[str]:
    again = _rehearse(situation)
    found = situation.backups.get(certificate.backup_id)
    if found is None:
        yield f"its backup {certificate.backup_id} is not in the store; {again}"
    elif found.sha256 != certificate.backup_sha256:
        yield (
            f"the manifest of its backup {certificate.backup_id} is not the one of then (SHA-256 was"
            f" {_short(certificate.backup_sha256)}, is {_short(found.sha256)});"
            f" find out who can write to the store, then {again}"
        )
    elif found.problem:
        yield f"its backup {certificate.backup_id} can no longer be counted on: {found.problem}; {again}"


def _rehearse(situation: Situation) -> str:
    where = f" --env {situation.environment}" if situation.environment else ""
    return f"rehearse again: squizzle rehearse {situation.version}{where}"


def _short(sha256: str) -> str:
    return sha256[:_SHORT] or "none"


def _value(value: str | None) -> str:
    return "not recorded" if value is None else repr(value)


def _version(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"
