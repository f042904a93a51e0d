"""A certificate with something in every field, for tests that need one and not what it proves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.backups.manifest import manifest_hash
from squizzle.backups.records import Backup
from squizzle.migrations.records import Direction
from squizzle.proof.records import RowChange, RowDifference, SchemaMatch
from squizzle.recovery.ways import Way
from squizzle.rehearsal.records import (
    Certificate,
    CertificateVerdict,
    MigrationFiles,
    PlanChange,
    ProvenWay,
    RelationKind,
    RollbackProof,
    ScriptTrace,
    TracedLock,
    TracedStatement,
)

ISSUED = datetime(2025, 3, 2, 12, tzinfo=UTC)
TABLE = RelationName(schema="public", name="orders")


def certificate_of(backup: Backup) -> Certificate:
    """A proven certificate made with a backup; without an id, and in no chain."""
    lock = TracedLock(
        relation=TABLE,
        kind=RelationKind.TABLE,
        mode=LockMode.ACCESS_EXCLUSIVE,
        since=timedelta(milliseconds=1),
        held=timedelta(microseconds=2_345),
    )
    statement = TracedStatement(
        number=1,
        line=3,
        sql="UPDATE orders SET state = 'open'",
        transactional=True,
        since=timedelta(),
        duration=timedelta(milliseconds=7),
        locks=(lock,),
        rewrites=(TABLE,),
        rows_scanned=9,
        rows_changed=8,
        wal_bytes=4096,
    )
    up = ScriptTrace(
        version="0002", direction=Direction.APPLY, duration=timedelta(milliseconds=12), statements=(statement,)
    )
    lost = RowDifference(table="public.orders", change=RowChange.CHANGED, rows=8, columns=("state",), keys=("(1)",))
    rollback = RollbackProof(
        script="down script",
        sha256="d" * 64,
        schema=SchemaMatch.LOGICAL,
        differences=("changed: column orders.state",),
        rows=(lost,),
    )
    return Certificate(
        id="",
        version="0002",
        name="states",
        verdict=CertificateVerdict.PROVEN,
        reasons=("the way back by script loses 8 rows; the backup brings them back",),
        issued_at=ISSUED,
        duration=timedelta(seconds=61),
        by="ci@host",
        database=backup.database,
        environment="production",
        identity_id="6f3f8b54-5d67-4c9e-9d3e-000000000001",
        schema="public",
        backup_id=backup.id,
        backup_sha256=manifest_hash(backup),
        store=backup.store,
        backup_rows=17,
        files=MigrationFiles(up="a" * 64, down="b" * 64, verify=""),
        server_version=150018,
        rehearsed_on="an embedded server",
        rehearsed_version=150018,
        settings={"DateStyle": "ISO, MDY", "TimeZone": "UTC"},
        schema_before="e" * 64,
        schema_after="f" * 64,
        up=up,
        again=timedelta(milliseconds=11),
        rollback=rollback,
        ways=(
            ProvenWay(
                way=Way.ROLL_BACK, executed=True, complete=False, duration=timedelta(milliseconds=30), detail="lossy"
            ),
            ProvenWay(
                way=Way.RESTORE_BESIDE, executed=True, complete=True, duration=timedelta(seconds=41), detail="restored"
            ),
            ProvenWay(way=Way.CLOUD, executed=False, complete=False, duration=None, detail="not at a provider"),
        ),
        workload=(
            PlanChange(
                query="SELECT", before_ms=1.5, after_ms=None, before="scan", after="", regressed=True, why="gone"
            ),
        ),
        covers=("rows",),
    )
