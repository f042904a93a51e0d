"""How the command says that a statement runs in batches."""

from __future__ import annotations

from datetime import timedelta

from squizzle.analysis.records import BatchOptions
from squizzle.migrations.batch_records import BatchPolicy


def batch_document(options: BatchOptions, policy: BatchPolicy) -> dict[str, object]:
    """For JSON: the key, and what counts for the statement."""
    ours = policy.with_mark(options)
    return {
        "key": list(options.key),
        "size": ours.size,
        "pause_ms": _ms(ours.pause),
        "target_ms": _ms(ours.target),
        "max_replication_lag_ms": _ms(ours.max_replication_lag),
        "automatic": options.automatic,
    }


def batch_words(options: BatchOptions, policy: BatchPolicy) -> str:
    """For a person, in parentheses behind the place."""
    size = policy.with_mark(options).size
    return f"in batches by {', '.join(options.key)}, {size:,} rows at first, a transaction each"


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
