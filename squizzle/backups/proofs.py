"""What became of a backup after it was published: was it read again, was it restored, may it be removed?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Verdict(StrEnum):
    """Three answers, so that a check that did not run never counts as passed."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    COULD_NOT_VERIFY = "could_not_verify"


class ProofKind(StrEnum):
    """How a backup was looked at.

    `files`: every file was read and its hash compared with the manifest. `restore`: it was restored to a scratch place
    and compared with its fingerprints.
    """

    FILES = "files"
    RESTORE = "restore"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """One look at a backup, and what was found.

    Attributes:
        backup_id: Which backup.
        kind: How it was looked at.
        verdict: What came of it.
        at: When it began.
        duration: How long it took; of a restore: how long a restore takes.
        by: Who did it (user and host, or the flow run).
        sentences: What was found, one short sentence each, the worst first.
        details: Figures, such as the rows compared and where it was restored.
    """

    backup_id: str
    kind: ProofKind
    verdict: Verdict
    at: datetime
    duration: timedelta
    by: str
    sentences: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Somebody needs a backup: it is not removed before the hold is lifted or has ended.

    Attributes:
        backup_id: Which backup.
        name: Of the hold, unique for the backup: a rollout, a drill, or `pin` for a person's wish.
        reason: Why, for a person.
        by: Who.
        at: Since when.
        until: When it ends by itself; None never.
    """

    backup_id: str
    name: str
    reason: str
    by: str
    at: datetime
    until: datetime | None = None

    def holds_at(self, moment: datetime) -> bool:
        """Whether it still counts."""
        return self.until is None or moment < self.until


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreCheck:
    """A look at everything in a store.

    Attributes:
        store: Its address.
        files: Every backup, its files read again; newest first.
        restores: The newest of each database and kind that is restored alone, brought back to life and compared.
        problems: Damaged manifests, missing members of chains, gaps: one sentence each.
    """

    store: str
    files: tuple[Proof, ...]
    restores: tuple[Proof, ...]
    problems: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all; an empty store could not be verified: there is nothing to fall back on."""
        verdicts = {proof.verdict for proof in (*self.files, *self.restores)}
        if self.problems or Verdict.FAIL in verdicts:
            return Verdict.FAIL
        if Verdict.COULD_NOT_VERIFY in verdicts or not self.files:
            return Verdict.COULD_NOT_VERIFY
        return Verdict.PASS

    @property
    def reason(self) -> str:
        """The worst finding in one sentence."""
        if self.problems:
            return self.problems[0]
        for proof in sorted((*self.files, *self.restores), key=lambda one: one.verdict is not Verdict.FAIL):
            if proof.verdict is not Verdict.PASS:
                return f"{proof.backup_id}: {proof.sentences[0] if proof.sentences else proof.verdict.value}"
        return "everything passed" if self.files else "the store holds no backup"
