"""The report of a rehearsal: the verdict first, what stops whom, and no wall of partitions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.backups.records import Backup
from squizzle.rehearsal.records import CertificateVerdict, RelationKind, TracedLock
from squizzle.rehearsal.report import RehearsalReport
from squizzle.reports.rehearsal import rehearsal_markdown, rehearsal_summary
from tests.support.certificates import certificate_of


def report_of(backup: Backup, *verdicts: CertificateVerdict) -> RehearsalReport:
    certificate = certificate_of(backup)
    return RehearsalReport(
        database="shop",
        started_at=datetime(2025, 3, 1, 12, 0, tzinfo=UTC),
        duration=timedelta(seconds=61),
        backup=backup,
        versions=tuple(f"{number:04}" for number in range(1, len(verdicts) + 2)),
        certificates=tuple(
            replace(certificate, version=f"{number:04}", verdict=verdict) for number, verdict in enumerate(verdicts, 1)
        ),
        steps=(),
    )


def test_the_summary_names_each_version_and_why_one_is_not_proven(backup: Backup) -> None:
    report = report_of(backup, CertificateVerdict.PROVEN, CertificateVerdict.FAILED)
    reason = report.certificates[1].reasons[0]

    assert rehearsal_summary(report) == (f"Rehearsal for shop: 0001 proven, 0002 failed ({reason}), 0003 not reached")
    assert report.verdict is CertificateVerdict.FAILED
    assert report_of(backup, CertificateVerdict.PROVEN).verdict is CertificateVerdict.INCONCLUSIVE
    text = rehearsal_markdown(report)
    assert text.startswith(
        "# Rehearsal for shop: failed\n\nNot everything is proven, so production refuses it. 0003 could"
    )
    assert "## 0002 states: FAILED" in text
    assert "  - public.orders: 8 rows changed in state, such as (1)" in text
    assert text.count("restore beside: 41 s, everything came back: restored") == 1
    assert "- **worse**, 1.5 ms before, not timed after: `SELECT`: gone" in text


def test_many_partitions_that_are_locked_alike_share_a_line(backup: Backup) -> None:
    report = report_of(backup, CertificateVerdict.PROVEN)
    (certificate,) = report.certificates
    assert certificate.up is not None
    locks = [
        TracedLock(
            relation=RelationName(schema="public", name=name),
            kind=kind,
            mode=LockMode.ACCESS_EXCLUSIVE,
            since=timedelta(),
            held=timedelta(milliseconds=40),
        )
        for name, kind in [
            ("orders", RelationKind.PARTITIONED_TABLE),
            *((f"orders_{number}", RelationKind.PARTITION) for number in range(9)),
        ]
    ]
    shared = replace(locks[0], relation=RelationName(schema="public", name="users"), mode=LockMode.ROW_SHARE)
    statement = replace(certificate.up.statements[0], locks=(*locks, shared))
    traced = replace(certificate, up=replace(certificate.up, statements=(statement,)))
    lines = rehearsal_markdown(replace(report, certificates=(traced,))).splitlines()

    assert [line for line in lines if "ACCESS EXCLUSIVE" in line] == [
        "  - **ACCESS EXCLUSIVE** on partitioned table `public.orders` for 40 ms: stops readers and writers",
        (
            "  - **ACCESS EXCLUSIVE** on partition `public.orders_0` and 8 more of its kind for 40 ms:"
            " stops readers and writers"
        ),
    ]
    assert not any("users" in line for line in lines)
