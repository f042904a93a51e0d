"""Batches and tries of one statement become one statement of the trace."""

from __future__ import annotations

from datetime import timedelta

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.statements import split_statements
from squizzle.rehearsal.records import RelationKind
from squizzle.rehearsal.tracing_runs import Lock, Run, traced_statement

TABLE = RelationName(schema="public", name="t")
KEY = (TABLE, RelationKind.TABLE)


def test_batches_add_up_but_for_the_time_that_others_are_kept_out() -> None:
    (statement,) = split_statements("UPDATE t SET a = 1", source="up.sql")
    weak, strong = LockMode.ROW_EXCLUSIVE, LockMode.SHARE
    runs = [
        Run(
            number=1,
            statement=statement,
            transactional=True,
            since=since,
            duration=1.0,
            locks=[Lock(key=KEY, mode=mode, since=since, held=held, waited=0.5, waited_before=0.25)],
            rewrites=(TABLE,),
            scanned=10,
            changed=5,
            wal=100,
            temp=7,
        )
        for since, held, mode in ((2.0, 3.0, weak), (6.0, 4.0, strong), (11.0, 2.0, weak))
    ]

    traced = traced_statement(runs)

    (lock,) = traced.locks
    assert (traced.since, traced.duration) == (timedelta(seconds=2), timedelta(seconds=3))
    assert (traced.rows_scanned, traced.rows_changed, traced.wal_bytes, traced.temp_bytes) == (30, 15, 300, 21)
    assert traced.rewrites == (TABLE,)
    assert (lock.relation, lock.mode, lock.since) == (TABLE, strong, timedelta(seconds=2))
    # The longest of them, and all that was waited.
    assert (lock.held, lock.waited) == (timedelta(seconds=4), timedelta(seconds=2.25))
