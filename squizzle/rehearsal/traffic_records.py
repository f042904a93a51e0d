"""What travels: how much a database is used, and who holds locks in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who holds a lock on a table or one of its indexes.

    Attributes:
        mode: The lock, the strongest one that it has there.
        pid: Of its session; None for a prepared transaction, which has none.
        who: In a few words.
        what: What it does since when; for a prepared transaction, what ends it.
        transaction_age: How long its transaction has been open; None where we may not see that.
        is_autovacuum: Whether it is autovacuum.
        prevents_wraparound: Whether it is the autovacuum that must not be ended.
    """

    mode: LockMode
    pid: int | None
    who: str
    what: str
    transaction_age: timedelta | None
    is_autovacuum: bool = False
    prevents_wraparound: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationTraffic:
    """How one relation is used; an index counts for its table, and a partitioned table for all of its partitions.

    Attributes:
        relation: What was asked about.
        table: Whose use this is.
        reads_per_s: Scans of it and of its indexes; None where nobody counts them (a view, a sequence).
        writes_per_s: Rows that were inserted, updated or deleted; None likewise.
        changes_per_s: Of those, the updated and deleted ones; None likewise.
        rows: As the planner believes, or as was counted where it was never analysed; None for what has none.
        size_bytes: With indexes, TOAST and partitions; None where asking would have had to wait for a lock.
        holders: Who holds a lock on it, the oldest transaction first, those of hidden age before.
        waiting: Sessions that wait for a lock on it already.
        within: The tables that were asked about as well and that it is a partition or child of; its use is part of
            theirs.
    """

    relation: RelationName
    table: RelationName
    reads_per_s: float | None
    writes_per_s: float | None
    changes_per_s: float | None
    rows: int | None = None
    size_bytes: int | None = None
    holders: tuple[Holder, ...] = ()
    waiting: int = 0
    within: tuple[RelationName, ...] = ()

    @property
    def autovacuum(self) -> Holder | None:
        """The autovacuum that is on it."""
        return next((one for one in self.holders if one.is_autovacuum), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """How a database is used.

    Attributes:
        database: Its name.
        at: When this was read, by the server's clock.
        over: The time that rates are of.
        is_average: Whether that is all the time since the server counts, and not a moment that we watched.
        transactions_per_s: That ended in the database, whatever they touched.
        clients: Sessions of clients in this database, our own left out.
        active: How many of them run a query; None where some may not be seen.
        used: Connections of clients to the server in all, our own included.
        limit: How many ordinary roles may have (`max_connections` less the reserved ones; a limit of the database).
        hidden: Sessions of which we may not see what they do: we are no member of pg_read_all_stats.
        longest_transaction: The oldest transaction in this database that we may see; None for none.
        prepared: Prepared transactions of this database.
        relations: What was asked about, in that order.
        missing: What is not there.
    """

    database: str
    at: datetime
    over: timedelta
    is_average: bool
    transactions_per_s: float
    clients: int
    active: int | None
    used: int
    limit: int
    hidden: int = 0
    longest_transaction: timedelta | None = None
    prepared: int = 0
    relations: tuple[RelationTraffic, ...] = ()
    missing: tuple[RelationName, ...] = ()

    @property
    def free(self) -> int:
        """Connections that clients may still open."""
        return max(0, self.limit - self.used)

    def by_name(self) -> dict[RelationName, RelationTraffic]:
        """How each relation is used, by the name that was asked about; without those that are not there."""
        return {one.relation: one for one in self.relations}


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What the server has counted for one table so far: scans, rows inserted, rows updated or deleted."""

    reads: int
    inserted: int
    changed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """One look at what the server counts.

    Attributes:
        at: When, by the server's clock.
        since: Since when it counts.
        transactions: That ended in this database.
        tables: What was counted, by OID.
    """

    at: datetime
    since: datetime
    transactions: int
    tables: Mapping[int, Counted]
