"""Numbers as Prometheus reads them: its text format, version 0.0.4 (prometheus.io, Exposition formats)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.backups.catalogue import Entry
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.drills.figures import DrillFigures
from squizzle.drills.records import DrillVerdict
from squizzle.rehearsal.records import Certificate
from squizzle.severity import Severity
from squizzle.sweep.ledger import SweepNote

Labels = Mapping[str, str]
# Of these a database can be brought back.
_SAVES_ROWS = frozenset({BackupKind.FULL, BackupKind.PHYSICAL, BackupKind.INCREMENTAL, BackupKind.RDS})


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One metric, always a gauge.

    Attributes:
        name: `squizzle_…`, with its unit.
        help: What it is.
        samples: Labels and value, one each.
    """

    name: str
    help: str
    samples: tuple[tuple[Labels, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetFacts:
    """What is known of a fleet.

    Attributes:
        fleet: Its name.
        is_read: Whether its control database could be asked.
        note: The last sweep; None where there was none.
        firing: Alerts that fire, by severity.
    """

    fleet: str
    is_read: bool
    note: SweepNote | None = None
    firing: Mapping[Severity, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreFacts:
    """What is known of a store.

    Attributes:
        is_read: Whether it could be read.
        entries: Its backups.
        certificates: What rehearsals proved, newest first.
        drills: What drills cost, in any order.
    """

    is_read: bool
    entries: tuple[Entry, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    drills: tuple[DrillFigures, ...] = ()


def fleet_families(facts: Sequence[FleetFacts]) -> Iterator[Family]:
    """The numbers of fleets; nothing for none."""
    if not facts:
        return
    yield Family(
        name="squizzle_control_up",
        help="Whether the fleet's control database could be asked.",
        samples=tuple(({"fleet": one.fleet}, float(one.is_read)) for one in facts),
    )
    read = [one for one in facts if one.is_read]
    yield Family(
        name="squizzle_sweep_timestamp_seconds",
        help="When the last sweep was taken; 0 for never.",
        samples=tuple(({"fleet": one.fleet}, one.note.at.timestamp() if one.note else 0.0) for one in read),
    )
    yield Family(
        name="squizzle_alerts_firing",
        help="Alerts that fire, silenced ones included.",
        samples=tuple(
            ({"fleet": one.fleet, "severity": severity.value}, float(count))
            for one in read
            for severity, count in (one.firing or {}).items()
        ),
    )
    swept = [(one.fleet, one.note) for one in read if one.note]
    yield Family(
        name="squizzle_sweep_duration_seconds",
        help="How long the last sweep took.",
        samples=tuple(({"fleet": fleet}, note.duration.total_seconds()) for fleet, note in swept),
    )
    yield Family(
        name="squizzle_targets",
        help="Targets of the last sweep, by how they are.",
        samples=tuple(
            ({"fleet": fleet, "state": state}, float(count)) for fleet, note in swept for state, count in _states(note)
        ),
    )
    yield Family(
        name="squizzle_servers_unreachable",
        help="Servers that could not be asked which targets they have.",
        samples=tuple(({"fleet": fleet}, float(note.servers_unreachable)) for fleet, note in swept),
    )
    yield Family(
        name="squizzle_migrations_pending",
        help="Migrations on the worker's disk that targets lack, of all targets together.",
        samples=tuple(({"fleet": fleet}, float(note.pending)) for fleet, note in swept if note.pending is not None),
    )
    yield Family(
        name="squizzle_migrations_failed",
        help="Versions whose newest run failed, of all targets together.",
        samples=tuple(({"fleet": fleet}, float(note.failed)) for fleet, note in swept),
    )


def _states(note: SweepNote) -> tuple[tuple[str, int], ...]:
    return ("healthy", note.healthy), ("unhealthy", note.unhealthy), ("unreachable", note.unreachable)


def store_families(facts: StoreFacts, now: datetime) -> Iterator[Family]:
    """The numbers of a store."""
    yield Family(
        name="squizzle_store_up", help="Whether the store could be read.", samples=(({}, float(facts.is_read)),)
    )
    if not facts.is_read:
        return
    usable = [(one.backup, one.notes.proofs) for one in facts.entries if one.backup is not None and not one.problems]
    newest = {_whose(one): one for one in newest_backups(backup for backup, _ in usable)}
    proven: dict[tuple[str, str], Proof] = {}
    for backup, proofs in usable:
        key = _whose(backup)
        for proof in proofs:
            is_proof = proof.kind is ProofKind.RESTORE and proof.verdict is Verdict.PASS
            if is_proof and (key not in proven or proof.at > proven[key].at):
                proven[key] = proof
    backups = [({"database": key[0], "cluster": key[1]}, one) for key, one in sorted(newest.items())]
    restores = [({"database": key[0], "cluster": key[1]}, one) for key, one in sorted(proven.items())]
    yield Family(
        name="squizzle_backup_timestamp_seconds",
        help="When the newest backup was taken of which the database can be brought back.",
        samples=tuple((labels, one.started_at.timestamp()) for labels, one in backups),
    )
    yield Family(
        name="squizzle_backup_size_bytes",
        help="How much that backup holds.",
        samples=tuple((labels, float(sum(file.size_bytes for file in one.files))) for labels, one in backups),
    )
    yield Family(
        name="squizzle_rpo_seconds",
        help="Age of that backup when this was written: what a restore of it alone would lose.",
        samples=tuple((labels, _seconds(now - one.started_at)) for labels, one in backups),
    )
    yield Family(
        name="squizzle_restore_proven_timestamp_seconds",
        help="When a backup was last restored and found equal.",
        samples=tuple((labels, one.at.timestamp()) for labels, one in restores),
    )
    yield Family(
        name="squizzle_restore_duration_seconds",
        help="How long that restore took.",
        samples=tuple((labels, one.duration.total_seconds()) for labels, one in restores),
    )
    yield from _certificate_families(facts.certificates)
    yield from _drill_families(facts.drills)


def newest_backups(backups: Iterable[Backup]) -> tuple[Backup, ...]:
    """Of each database the newest of which it can be brought back: only of these the size is told."""
    newest: dict[tuple[str, str], Backup] = {}
    for one in backups:
        key = _whose(one)
        if one.kind in _SAVES_ROWS and (key not in newest or one.started_at > newest[key].started_at):
            newest[key] = one
    return tuple(newest.values())


def _whose(backup: Backup) -> tuple[str, str]:
    return backup.database, backup.system_identifier


def _drill_families(drills: Iterable[DrillFigures]) -> Iterator[Family]:
    newest = {one.scenario: one for one in sorted(drills, key=lambda one: one.at)}
    last = [({"scenario": name}, one) for name, one in sorted(newest.items())]
    yield Family(
        name="squizzle_drill_timestamp_seconds",
        help="When the last drill of that disaster began.",
        samples=tuple((labels, one.at.timestamp()) for labels, one in last),
    )
    yield Family(
        name="squizzle_drill_passed",
        help="Whether it passed.",
        samples=tuple((labels, float(one.verdict == DrillVerdict.PASS.value)) for labels, one in last),
    )
    measured: tuple[tuple[str, str, Callable[[DrillFigures], timedelta | None]], ...] = (
        ("squizzle_drill_rto_seconds", "From noticing the disaster to letting clients in again.", lambda one: one.rto),
        ("squizzle_drill_rpo_seconds", "For so long what was written was lost.", lambda one: one.rpo),
        ("squizzle_drill_detection_seconds", "From the disaster to noticing it.", lambda one: one.detected_in),
    )
    for name, words, value_of in measured:
        yield Family(
            name=name,
            help=words,
            samples=tuple(
                (labels | {"way": one.way}, value.total_seconds())
                for labels, one in last
                if (value := value_of(one)) is not None
            ),
        )


def _certificate_families(certificates: Iterable[Certificate]) -> Iterator[Family]:
    newest: dict[tuple[str, str], Certificate] = {}
    for one in certificates:
        newest.setdefault((one.database, one.environment), one)
    found = [({"database": key[0], "environment": key[1]}, one) for key, one in sorted(newest.items())]
    yield Family(
        name="squizzle_certificate_timestamp_seconds",
        help="When a rehearsal last wrote a certificate.",
        samples=tuple((labels, one.issued_at.timestamp()) for labels, one in found),
    )
    yield Family(
        name="squizzle_rto_seconds",
        help="How long each way back took in that rehearsal, where it was carried out and brought everything back.",
        samples=tuple(
            (labels | {"version": one.version, "way": way.way.value}, way.duration.total_seconds())
            for labels, one in found
            for way in one.ways
            if way.executed and way.complete and way.duration is not None
        ),
    )


def _seconds(span: timedelta) -> float:
    return max(0.0, span.total_seconds())


def written_at(now: datetime) -> Family:
    """When all this was looked up: what stands still is seen by it."""
    return Family(
        name="squizzle_metrics_timestamp_seconds",
        help="When these numbers were looked up.",
        samples=(({}, now.timestamp()),),
    )


def exposition(families: Iterable[Family]) -> str:
    """The text; a family without a sample is left out."""
    return "".join(f"{line}\n" for one in families if one.samples for line in _lines(one))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} gauge"
    for labels, value in family.samples:
        pairs = ",".join(f'{name}="{_quoted(text)}"' for name, text in labels.items())
        yield f"{family.name}{{{pairs}}} {value!r}" if pairs else f"{family.name} {value!r}"


def _escaped(text: str) -> str:
    # What Python makes of a byte that is not UTF-8 would make the whole file unreadable.
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return clean.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
