"""Reading what certificates are compared with: the database as it is, the scripts, the backups."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import psycopg

from squizzle.backups.manifest import manifest_hash
from squizzle.backups.notes import read_notes
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.store import BackupStore
from squizzle.errors import BackupDamagedError, InvalidInputError, ToolError
from squizzle.migrations.history import History, read_history
from squizzle.migrations.layouts.files import checksum
from squizzle.migrations.records import Migration
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.translation import translate_error
from squizzle.proof.comparison import differing_objects
from squizzle.proof.digests import digest_schema
from squizzle.rehearsal.matching import KnownBackup, Situation
from squizzle.rehearsal.record_json import quoted_name
from squizzle.rehearsal.records import Certificate, MigrationFiles
from squizzle.rehearsal.signature import signing_key
from squizzle.settings.rehearsal import RehearsalSettings

SETTINGS: Mapping[str, str] = {
    # What the text of a script means (manual, "Platform and Client Compatibility" and "Locale and Formatting").
    "standard_conforming_strings": "whether a backslash in '...' is an escape",
    "transform_null_equals": "whether `= NULL` means IS NULL",
    "array_nulls": "whether NULL in an array's text is a null",
    "DateStyle": "whether 01/02/2025 is in January or in February, and how dates become text",
    "IntervalStyle": "how '-1 2:00' is read, and how intervals become text",
    "TimeZone": "which moment a time without a zone is, and on which day a moment lies",
    "timezone_abbreviations": "which zone CST is",
    "xmloption": "whether a text is read as an XML document or as content",
    "xmlbinary": "how bytea goes into XML",
    "lc_monetary": "how money is read and written",
    "lc_numeric": "how to_number and to_char see a decimal point",
    "lc_time": "which names of months and days to_date and to_char know",
    "server_encoding": "how many bytes a text has, and which characters it may have",
    # What values become that a script writes.
    "bytea_output": "how bytea becomes text",
    "extra_float_digits": "how floating point becomes text",
    "default_text_search_config": "which words to_tsvector(text) finds",
    # What a script makes where it does not say ("Statement Behavior").
    "default_tablespace": "where tables and indexes lie",
    "default_table_access_method": "how a new table keeps its rows",
    "default_toast_compression": "how long values of new columns are compressed",
    "createrole_self_grant": "whether whoever makes a role is a member of it",
    # Whether a statement succeeds, and what happens beside it.
    "check_function_bodies": "whether CREATE FUNCTION looks at the body",
    "default_transaction_isolation": "whether statements see what is committed meanwhile, or fail",
    "row_security": "whether rows that policies hide are passed over, or the statement fails",
    "session_replication_role": "which triggers and rules fire; foreign keys are triggers",
    "event_triggers": "whether event triggers fire",
    "lo_compat_privileges": "whether large objects have privileges",
    # What is written to the write-ahead log for the same statement ("Write Ahead Log").
    "wal_level": "whether filling a new table is logged, and how much an UPDATE is",
}
"""Settings that change what a script does or means, each with how (manual, chapter "Server Configuration").

Those are not here that only change how long it takes (memory, parallel workers, the planner's), those that Squizzle
sets itself for every script (`search_path`, the timeouts: `squizzle.migrations.session.prepare_session`) or session
(`default_transaction_read_only`), and those of extensions, which are there only after the extension was loaded. A
server that does not know one has no value for it.
"""

# Not `setting`: what this session has set itself since is no part of what a script starts with.
_READ = "SELECT name, reset_val FROM pg_catalog.pg_settings WHERE name = ANY(%s)"


def read_settings(connection: Connection) -> dict[str, str]:
    """What a script finds of `SETTINGS` in a session like this one, by name. Nothing is changed.

    It is what the server, the database, the role and the variables of libpq (`PGTZ`, `PGOPTIONS` …) come to.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        return {str(name): str(value) for name, value in connection.execute(_READ, (list(SETTINGS),))}
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the settings") from exc


def files_of(migration: Migration) -> MigrationFiles:
    """The hashes of a migration's scripts, with Unix line ends.

    What was put in for placeholders is part of them, and so is what the file declares of its transaction. A migration
    that is a program has one file, which is its way forward and back.
    """
    if migration.program is not None:
        return MigrationFiles(up=migration.checksum, down="", verify=_hash(migration.verify_sql))
    return MigrationFiles(
        up=_hash(migration.up_sql, in_transaction=migration.in_transaction),
        down=_hash(migration.down_sql, in_transaction=migration.down_in_transaction),
        verify=_hash(migration.verify_sql),
    )


def _hash(script: str | None, *, in_transaction: bool | None = None) -> str:
    if script is None:
        return ""
    declared = "" if in_transaction is None else f"\n-- in a transaction: {in_transaction}"
    return checksum(script + declared)


def script_hash(script: str) -> str:
    """SHA-256 of a generated script, as a certificate's rollback and `Situation.generated_sha256` have it."""
    return checksum(script)


def read_situation(
    connection: Connection,
    target: Target,
    migration: Migration,
    store: BackupStore,
    *,
    policy: RehearsalSettings,
    backup_ids: Collection[str],
    now: datetime | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Situation:
    """What a certificate of a migration is compared with, if it were applied next. Nothing is changed.

    Args:
        connection: A session in the target's database, as migrations use it.
        target: The database, and who the caller means by it.
        migration: What would be applied.
        store: Where the backups lie.
        policy: What the project wants.
        backup_ids: The backups that the certificates name which are to be compared.
        now: The time; None for the clock's.
        environ: Where the signing key is.

    Raises:
        IdentityMismatchError: Another database than was meant.
        KeyNotUsableError: A signing key is configured and is not there.
        DatabaseError: The session was lost, or something may not be read.
        ToolError: The store cannot be read.
    """
    identity = read_identity(connection)
    check_identity(identity, target.expected, database=target.database)
    history = read_history(connection, target.schema)
    found = identity.environment if identity else None
    return Situation(
        now=now or datetime.now(UTC),
        version=migration.version,
        files=files_of(migration),
        database=target.database,
        environment=target.environment or found or "",
        identity_id=str(identity.id) if identity else "",
        schema=target.schema,
        schema_digest=digest_schema(connection, schema=target.schema).logical,
        server_version=connection.info.server_version,
        settings=read_settings(connection),
        backups=read_known_backups(store, backup_ids),
        begun_with=begun_with(history, migration.version),
        signing_key=signing_key(policy.signing_key_env, environ),
        policy=policy,
    )


def begun_with(history: History, version: str) -> str:
    """The certificate with which a version was begun that is half done; empty for none."""
    row = history.half_done().get(version)
    return (row.certificate or "") if row else ""


def read_known_backups(store: BackupStore, backup_ids: Collection[str]) -> Mapping[str, KnownBackup]:
    """What is known now of some backups; those that are gone are not in it. Nothing is changed."""
    there = frozenset(store.list_ids())
    known = {}
    for backup_id in sorted(set(backup_ids) & there):
        try:
            backup = store.read_header(backup_id)
        except InvalidInputError:
            continue  # removed since
        except BackupDamagedError as exc:
            known[backup_id] = KnownBackup(sha256="", problem=exc.message)
            continue
        missing = [member for member in backup.chain if member not in there]
        problem = f"{missing[0]}, which it builds on, is missing" if missing else _failed_proof(store, backup_id)
        known[backup_id] = KnownBackup(sha256=manifest_hash(backup), problem=problem)
    return known


def _failed_proof(store: BackupStore, backup_id: str) -> str:
    """Of each kind of proof the newest one counts: what was damaged may have been repaired."""
    notes = read_notes(store, backup_id)
    for kind in ProofKind:
        proof = notes.last(kind)
        if proof is not None and proof.verdict is Verdict.FAIL:
            what = "reading its files" if kind is ProofKind.FILES else "restoring it"
            return f"{what} failed on {proof.at:%Y-%m-%d %H:%M} UTC ({'; '.join(proof.sentences[:1]) or 'no reason'})"
    return ""


def drift_since_backup(
    connection: Connection, target: Target, store: BackupStore, certificate: Certificate
) -> tuple[str, ...]:
    """Objects of the schema that are not as in a certificate's backup, in a fixed order. Nothing is changed.

    Only where the backup is of the version that is the newest now: otherwise migrations are what differs. None also
    where its fingerprints cannot be read.

    Args:
        connection: A session in the target's database.
        target: The database.
        store: Where the backup lies.
        certificate: Whose.
    """
    try:
        backup = store.read(certificate.backup_id)
    except (BackupDamagedError, InvalidInputError, ToolError):
        return ()  # the backup is said to be gone, damaged or locked by itself
    if backup.digest is None or backup.migration_version != read_history(connection, target.schema).current:
        return ()
    found = differing_objects(backup.digest.schema, digest_schema(connection))
    inside = f"{quoted_name(target.schema)}."
    return tuple(sorted(f"{kind} {name}" for kind, name in found if name.startswith(inside)))
