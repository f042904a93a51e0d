"""Which backups may go. Pure: decides from what is known, removes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from squizzle.backups.notes import Notes
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.settings import Retention


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A backup with what is known of it beside its manifest."""

    backup: Backup
    notes: Notes


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What is to become of one backup.

    Attributes:
        backup: Which.
        reasons: Why it is kept, each a few words; empty: it may go.
    """

    backup: Backup
    reasons: tuple[str, ...]

    @property
    def keeps(self) -> bool:
        """Whether it stays."""
        return bool(self.reasons)


def choose_kept(known: Iterable[Known], retention: Retention, *, now: datetime) -> tuple[Choice, ...]:
    """Decide for every backup of a store, newest first.

    Kept are, for each database and each kind of backup by itself: the newest ones of the days, weeks and months; the
    newest one; the newest one that was verified, by a restore and by reading its files; what is held or pinned; what
    lies in the future, since a clock was wrong; and every backup that one of these needs. A copy of a cluster and a
    dump do not replace each other, so neither counts for the other; an increment counts with the full copy that it
    builds on. Marks cost next to nothing and are asked for by the hour: all of the days that are kept stay, older go.

    Args:
        known: Every readable backup of the store.
        retention: How many to keep.
        now: The time.
    """
    everything = sorted(known, key=_age_key, reverse=True)
    reasons: dict[str, list[str]] = {one.backup.id: [] for one in everything}
    for series in _series_of(everything).values():
        _keep_series(series, retention, now, reasons)
    for one in everything:
        _keep_held(one, now, reasons)
    by_id = {one.backup.id for one in everything}
    for one in [one for one in everything if reasons[one.backup.id]]:
        for member in one.backup.chain:
            if member in by_id and member != one.backup.id:
                reasons[member].append(f"needed by {one.backup.id}")
    return tuple(Choice(backup=one.backup, reasons=tuple(dict.fromkeys(reasons[one.backup.id]))) for one in everything)


def _age_key(one: Known) -> tuple[datetime, str]:
    return one.backup.started_at, one.backup.id


def _series_of(known: Iterable[Known]) -> Mapping[tuple[str, ...], list[Known]]:
    found: dict[tuple[str, ...], list[Known]] = {}
    for one in known:
        backup = one.backup
        # A database that was recovered by a rename is still the same one: its identity says so, where it has one.
        which = (backup.identity_id,) if backup.identity_id else (backup.system_identifier, backup.database)
        kind = BackupKind.PHYSICAL if backup.kind.is_cluster else backup.kind
        found.setdefault((kind.value, *which), []).append(one)
    return found


def _keep_series(series: list[Known], retention: Retention, now: datetime, reasons: dict[str, list[str]]) -> None:
    reasons[series[0].backup.id].append("the newest")
    if series[0].backup.kind is BackupKind.MARK:
        for one in series:
            if one.backup.started_at > now - timedelta(days=retention.daily):
                reasons[one.backup.id].append("a mark of these days")
        return
    for kind, name in _VERIFIED.items():
        proven = next((one for one in series if _is_proven(one, kind)), None)
        if proven is not None:
            reasons[proven.backup.id].append(name)
    for count, name, period in _periods(retention):
        _keep_periods(series, count, name, period, reasons)
    for one in series:
        if one.backup.started_at > now:
            reasons[one.backup.id].append("its time lies in the future")


def _periods(retention: Retention) -> tuple[tuple[int, str, Callable[[datetime], tuple[int, ...]]], ...]:
    return (
        (retention.daily, "day", lambda at: (at.year, at.month, at.day)),
        (retention.weekly, "week", lambda at: tuple(at.isocalendar())[:2]),
        (retention.monthly, "month", lambda at: (at.year, at.month)),
    )


def _keep_periods(
    series: list[Known],
    count: int,
    name: str,
    period: Callable[[datetime], tuple[int, ...]],
    reasons: dict[str, list[str]],
) -> None:
    seen: set[tuple[int, ...]] = set()
    for one in series:
        which = period(one.backup.started_at.astimezone(UTC))
        if which in seen or _has_failed(one):
            continue
        if len(seen) == count:
            return
        seen.add(which)
        reasons[one.backup.id].append(f"the newest of a {name}")


def _keep_held(one: Known, now: datetime, reasons: dict[str, list[str]]) -> None:
    reasons[one.backup.id].extend(f"held by {hold.by}: {hold.reason}" for hold in one.notes.holds if hold.holds_at(now))
    if any("/hold-" in text for text in one.notes.damaged):
        reasons[one.backup.id].append("a hold of it cannot be read")


_VERIFIED = {
    ProofKind.RESTORE: "the newest that was proven by a restore",
    ProofKind.FILES: "the newest whose files were read again without a fault",
}


def _is_proven(one: Known, kind: ProofKind) -> bool:
    last = one.notes.last(kind)
    return last is not None and last.verdict is Verdict.PASS and not _has_failed(one)


def _has_failed(one: Known) -> bool:
    """Whether the newest look of any kind found it damaged: such a backup must not stand in for a good one."""
    last = (one.notes.last(kind) for kind in ProofKind)
    return any(proof is not None and proof.verdict is Verdict.FAIL for proof in last)
