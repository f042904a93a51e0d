"""What a rehearsal as a whole found out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.backups.records import Backup
from squizzle.recovery.evidence import Step
from squizzle.rehearsal.lock_forecast_records import QueueForecast
from squizzle.rehearsal.records import Certificate, CertificateVerdict

_WORST_FIRST = (CertificateVerdict.FAILED, CertificateVerdict.INCONCLUSIVE, CertificateVerdict.PROVEN)


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalReport:
    """What a run did.

    Attributes:
        database: Whose migrations.
        started_at: When it began.
        duration: How long it took.
        backup: What was restored.
        versions: What was to be rehearsed, in order.
        certificates: Of the versions that were, in order; those behind one that could not be gone on from have none.
        forecast: Who would wait if all of it ran now; None when it was not asked.
        fleet: Of the database; empty when it belongs to none.
        steps: What was done, in order.
    """

    database: str
    started_at: datetime
    duration: timedelta
    backup: Backup
    versions: tuple[str, ...]
    certificates: tuple[Certificate, ...]
    steps: tuple[Step, ...]
    forecast: QueueForecast | None = None
    fleet: str = ""

    @property
    def not_reached(self) -> tuple[str, ...]:
        """Versions without a certificate."""
        return self.versions[len(self.certificates) :]

    @property
    def verdict(self) -> CertificateVerdict:
        """The worst of all; a version that was not reached is not proven."""
        verdicts = {one.verdict for one in self.certificates}
        if self.not_reached:
            verdicts.add(CertificateVerdict.INCONCLUSIVE)
        return next(one for one in _WORST_FIRST if one in verdicts)
