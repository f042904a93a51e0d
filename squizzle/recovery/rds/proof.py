"""Whether a restored instance has what its snapshot should have, as far as the manifest can say. Pure."""

from __future__ import annotations

import json

from squizzle.backups.proofs import Verdict
from squizzle.backups.records import CHANGED_DETAIL, Backup
from squizzle.backups.snapshot.take import SCHEMA_CHANGED, SCHEMA_DETAIL
from squizzle.errors import BackupDamagedError
from squizzle.proof.comparison import compare_digests
from squizzle.proof.records import DatabaseDigest, SchemaMatch


def compare_restored(backup: Backup, after: str, found: DatabaseDigest) -> tuple[Verdict, tuple[str, ...]]:
    """Hold a restored database against the fingerprints from before and after its snapshot.

    Args:
        backup: The manifest of the snapshot.
        after: The text of `fingerprints-after.json`; empty when the backup has none.
        found: The fingerprints of the restored database.

    Returns:
        The verdict and what was found, the worst first. `could_not_verify`: a table that was written to while the
        snapshot was made is neither as before nor as after, which may be right.

    Raises:
        BackupDamagedError: The manifest or the file cannot be read.
    """
    try:
        changed = frozenset(json.loads(backup.details.get(CHANGED_DETAIL, "[]")))
        later = json.loads(after)["tables"] if after else {}
    except (ValueError, KeyError, TypeError) as exc:
        raise BackupDamagedError(
            f"backup {backup.id} does not say which tables changed: {type(exc).__name__}", hint="use another backup"
        ) from exc
    comparison = compare_digests(backup.fingerprint, found)
    there = {one.table: {"rows": one.rows, "digest": one.digest} for one in found.tables}
    wrong: list[str] = []
    unsure: list[str] = []
    for table in (one.table for one in comparison.different_tables):
        if table not in changed:
            wrong.append(f"{table}: its rows are not those of the snapshot")
        elif there.get(table) != later.get(table):
            unsure.append(f"{table}: its rows are neither as before nor as after; it was written to in between")
    if comparison.schema is SchemaMatch.DIFFERENT:
        what = ", ".join((*comparison.missing, *comparison.changed, *comparison.unexpected))
        is_explained = backup.details.get(SCHEMA_DETAIL) == SCHEMA_CHANGED
        (unsure if is_explained else wrong).append(f"definitions differ: {what}")
    wrong += comparison.sequences
    verdict = Verdict.FAIL if wrong else Verdict.COULD_NOT_VERIFY if unsure else Verdict.PASS
    return verdict, (*wrong, *unsure)
