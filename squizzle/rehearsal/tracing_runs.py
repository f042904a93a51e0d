"""What the tracer keeps of each run of a statement, and how its runs become one statement of the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.records import Statement
from squizzle.rehearsal.records import RelationKind, TracedLock, TracedStatement
from squizzle.rehearsal.tracing_relations import Reading

# What locks are told by.
Key = tuple[RelationName, RelationKind]


@dataclass(kw_only=True, slots=True)
class Lock:
    """One lock that it took, or asked for; times as those of `Run`."""

    key: Key
    mode: LockMode
    since: float
    # In this try, and in those before that were given up.
    waited: float = 0.0
    waited_before: float = 0.0
    held: float = 0.0
    granted: bool = True


@dataclass(kw_only=True, slots=True)
class Run:
    """One run of one statement: a try, or a batch. Times in seconds from the script's begin, the tracer's left out."""

    number: int
    statement: Statement
    transactional: bool
    since: float = 0.0
    duration: float = 0.0
    locks: list[Lock] = field(default_factory=list)
    waits: dict[tuple[Key, LockMode], float] = field(default_factory=dict)
    rewrites: Sequence[RelationName] = ()
    scanned: int = 0
    changed: int = 0
    wal: int = 0
    temp: int = 0

    def take(self, reading: Reading) -> None:
        """What was read after it."""
        self.rewrites, self.scanned, self.changed = reading.rewrites, reading.scanned, reading.changed

    def lock_on(self, key: Key, mode: LockMode) -> Lock:
        """The lock that was waited for; when it is none of those that are held, it was never granted."""
        found = next((lock for lock in self.locks if lock.key == key), None)
        if found is None:
            found = Lock(key=key, mode=mode, since=self.since, granted=False)
            self.locks.append(found)
        return found


def traced_statement(runs: Sequence[Run]) -> TracedStatement:
    """One statement of all its batches, or of its one run."""
    first = runs[0]
    return TracedStatement(
        number=first.number,
        line=first.statement.line,
        sql=first.statement.sql,
        transactional=first.transactional,
        since=timedelta(seconds=first.since),
        duration=timedelta(seconds=sum(run.duration for run in runs)),
        locks=_locks(runs),
        rewrites=tuple(dict.fromkeys(relation for run in runs for relation in run.rewrites)),
        rows_scanned=sum(run.scanned for run in runs),
        rows_changed=sum(run.changed for run in runs),
        wal_bytes=sum(run.wal for run in runs),
        temp_bytes=sum(run.temp for run in runs),
        is_lower_bound=not first.transactional,
    )


def _locks(runs: Sequence[Run]) -> tuple[TracedLock, ...]:
    """The strongest lock of each relation, the strongest first; of batches, the longest hold and all waiting."""
    found: dict[Key, list[Lock]] = {}
    for lock in (lock for run in runs for lock in run.locks):
        found.setdefault(lock.key, []).append(lock)
    traced = (
        TracedLock(
            relation=relation,
            kind=kind,
            mode=max((lock.mode for lock in locks), key=lambda mode: mode.strength),
            since=timedelta(seconds=min(lock.since for lock in locks)),
            waited=timedelta(seconds=sum(lock.waited + lock.waited_before for lock in locks)),
            held=timedelta(seconds=max(lock.held for lock in locks)),
        )
        for (relation, kind), locks in found.items()
    )
    return tuple(sorted(traced, key=lambda lock: (-lock.mode.strength, lock.relation, lock.kind)))
