"""Which scripts of a plan were rehearsed as they are on disk now, and what they did."""

from __future__ import annotations

from squizzle.analysis.locks.records import RelationName
from squizzle.backups.store import BackupStore
from squizzle.errors import BackupDamagedError, CloudError, InvalidInputError, ToolError
from squizzle.migrations.records import Direction, Plan
from squizzle.rehearsal.certificate_store import read_certificates
from squizzle.rehearsal.plan_forecast import RehearsedScript, RehearsedScripts
from squizzle.rehearsal.record_json import relation_of
from squizzle.rehearsal.records import Certificate
from squizzle.rehearsal.situation import files_of


def find_rehearsed(store: BackupStore, plan: Plan) -> RehearsedScripts:
    """The newest rehearsal of each script of a plan as it is on disk now. Only reads, and fails for no store.

    Whether the certificate counts for anything else is not asked: a way back that is not proven takes nothing from the
    times that the way forward was seen to take.

    Args:
        store: Where the certificates are.
        plan: What would run; a script that an earlier run began is not looked up, for it goes on where that ended.
    """
    wanted = {
        one.migration.version: files_of(one.migration).up
        for one in plan.steps
        if one.direction is Direction.APPLY and not one.is_begun
    }
    if not wanted:
        return RehearsedScripts()
    try:
        certificates = read_certificates(store, database=plan.database).found
    except (ToolError, CloudError) as exc:
        return RehearsedScripts(problem=f"certificates could not be read: {exc.message}")
    found: dict[str, RehearsedScript] = {}
    for one in certificates:
        if one.version not in found and one.up is not None and wanted.get(one.version) == one.files.up:
            found[one.version] = RehearsedScript(trace=one.up, at=one.issued_at, rows=rehearsed_rows(store, one))
    return RehearsedScripts(found=found)


def rehearsed_rows(store: BackupStore, certificate: Certificate) -> dict[RelationName, int]:
    """Rows of the tables in the backup that was restored for a rehearsal; empty where that cannot be read any more."""
    try:
        digest = store.read(certificate.backup_id).digest
    except (InvalidInputError, BackupDamagedError, ToolError, CloudError):
        return {}  # removed since, damaged or locked: times are taken as they were measured
    return {relation_of(one.table): one.rows for one in digest.tables} if digest else {}
