"""Which backup a rehearsal restores: the very one that would be used, if it is fresh and intact. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.backups.proofs import Proof, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.durations import words
from squizzle.recovery.ways import BackupMeans

_RESTORABLE = frozenset({BackupKind.FULL, BackupKind.PHYSICAL, BackupKind.INCREMENTAL})


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        backup: The backup; None when a new one has to be taken.
        why: Why this one, or why none, in one sentence.
    """

    backup: Backup | None
    why: str


def choose_backup(backups: Iterable[BackupMeans], *, schema_digest: str, max_age: timedelta, now: datetime) -> Choice:
    """The newest backup that is fresh, whole, of the schema as it is now, and not known to be damaged.

    Args:
        backups: Of the database, newest first.
        schema_digest: Logical digest of the whole database's definitions as they are now.
        max_age: An older one does not count.
        now: The time.
    """
    reasons = []
    for one in backups:
        if one.backup is not None and one.backup.kind not in _RESTORABLE:
            continue
        if reason := _unfit(one, schema_digest=schema_digest, max_age=max_age, now=now):
            reasons.append(f"{one.id}: {reason}")
            continue
        if one.backup is not None:
            return Choice(backup=one.backup, why=f"{one.id} is {words(now - one.backup.started_at)} old")
    return Choice(backup=None, why=reasons[0] if reasons else "the store holds no backup of this database")


def _unfit(one: BackupMeans, *, schema_digest: str, max_age: timedelta, now: datetime) -> str:
    backup = one.backup
    if backup is None or one.problems:
        return one.problems[0] if one.problems else "its manifest is damaged"
    if age := _too_old(backup, max_age, now):
        return age
    if backup.digest is None:
        return "it has no fingerprints to compare with"
    if backup.digest.schema.logical != schema_digest:
        return "the schema has changed since it was taken"
    return _known_bad(one.restored) or _known_bad(one.verified)


def _too_old(backup: Backup, max_age: timedelta, now: datetime) -> str:
    age = now - backup.started_at
    return f"it is {words(age)} old, more than {words(max_age)}" if age > max_age else ""


def _known_bad(proof: Proof | None) -> str:
    if proof is None or proof.verdict is not Verdict.FAIL:
        return ""
    return f"a look at it failed: {proof.sentences[0] if proof.sentences else proof.kind.value}"
