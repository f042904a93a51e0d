"""A lock forecast for people and programs: lines for a terminal, Markdown for forms and reports, and a document."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from squizzle.rehearsal.lock_forecast_records import QueueForecast, QueueVerdict, RelationQueue
from squizzle.rehearsal.lock_forecast_words import crowd_words, rate, span
from squizzle.rehearsal.traffic_records import Holder
from squizzle.reports.markdown import bullets

# More than a person reads; the document has them all.
_MOST_LINES = 12


def lock_forecast_markdown(forecast: QueueForecast) -> str:
    """The forecast as Markdown, without a heading; for the form of an approval and the report of a rehearsal."""
    parts = [
        f"**{_capital(forecast.verdict)}**: {forecast.sentence}.",
        bullets([f"`{one.relation}` {_queue_words(one)}" for one in _telling(forecast)]),
        "To make it better:" if forecast.advice else "",
        bullets(forecast.advice),
        "Not seen:" if forecast.not_seen else "",
        bullets(forecast.not_seen),
        f"{_capital(forecast.basis)}. {_connections(forecast)}.",
    ]
    return "\n\n".join(part for part in parts if part)


def lock_forecast_lines(forecast: QueueForecast) -> list[str]:
    """The same as lines of a terminal."""
    telling = _telling(forecast)
    lines = [forecast.sentence, *(f"{one.relation} {_queue_words(one)}" for one in telling[:_MOST_LINES])]
    if len(telling) > _MOST_LINES:
        lines.append(f"… and {len(telling) - _MOST_LINES} more; --json has them all")
    lines += [f"better: {one}" for one in forecast.advice]
    lines += [f"not seen: {one}" for one in forecast.not_seen]
    return [*lines, f"{forecast.basis}; {_connections(forecast)}"]


def lock_forecast_document(forecast: QueueForecast) -> dict[str, object]:
    """The same for programs; times in milliseconds, null for what is not known."""
    return {
        "at": forecast.at.isoformat(),
        "sentence": forecast.sentence,
        "verdict": forecast.verdict.value,
        "sessions": forecast.sessions,
        "at_most": forecast.at_most,
        "clients": forecast.clients,
        "connections": {"used": forecast.used, "limit": forecast.limit},
        "basis": forecast.basis,
        "locks": [_queue_document(one) for one in forecast.queues],
        "advice": list(forecast.advice),
        "not_seen": list(forecast.not_seen),
    }


def _telling(forecast: QueueForecast) -> list[RelationQueue]:
    """The queues that somebody has to know of: who waits, who is waited for, what is not known.

    A partition is left out where its parent says the same.
    """
    known = {(one.version, one.line, one.mode, one.table) for one in forecast.queues}
    return [
        one
        for one in forecast.queues
        if (one.verdict is not QueueVerdict.NOBODY or one.blockers or one.notes)
        and (one.blockers or not any((one.version, one.line, one.mode, parent) in known for parent in one.within))
    ]


def _queue_words(one: RelationQueue) -> str:
    return f"({one.place}): {one.verdict}; {'; '.join(_queue_parts(one))}"


def _queue_parts(one: RelationQueue) -> Iterator[str]:
    if one.held is not None:
        least = "at least " if one.held_is_least else ""
        scaled = f" ({one.scaled:.1f} times as long as rehearsed)" if abs(one.scaled - 1) > _WORTH_SAYING else ""
        yield f"held {least}{span(one.held)}{scaled}"
    if one.waits:
        yield f"a try waits {span(one.waits)} for it, and clients behind it"
    if one.arriving_per_s is not None:
        yield f"{rate(one.arriving_per_s)} sessions a second come that it keeps out"
    if one.held is None and one.arriving_per_s:
        yield f"each 0.1 s that it is held {one.arriving_per_s / 10:,.1f} more wait"
    if one.sessions:
        yield f"{crowd_words(one.sessions, one.at_most)} wait"
    if one.full_after is not None:
        yield f"no connection is left after {span(one.full_after)} if clients open one for each"
    yield from (f"{holder.mode} is held by {_holder_words(holder)}" for holder in one.blockers[:_MOST_HOLDERS])
    if len(one.blockers) > _MOST_HOLDERS:
        yield f"and by {len(one.blockers) - _MOST_HOLDERS} more"
    yield from one.notes


_WORTH_SAYING = 0.05
_MOST_HOLDERS = 3


def _holder_words(holder: Holder) -> str:
    age = "for a time that may not be seen" if holder.transaction_age is None else f"for {span(holder.transaction_age)}"
    return f"{holder.who} {age}"


def _connections(forecast: QueueForecast) -> str:
    return (
        f"{forecast.clients:,} sessions of clients are in the database, {forecast.used:,} of {forecast.limit:,}"
        " connections are used"
    )


def _queue_document(one: RelationQueue) -> dict[str, object]:
    return {
        "version": one.version,
        "relation": str(one.relation),
        "table": str(one.table),
        "mode": one.mode.value,
        "line": one.line,
        "statement": one.statement,
        "verdict": one.verdict.value,
        "held_ms": _ms(one.held),
        "held_is_least": one.held_is_least,
        "scaled": round(one.scaled, 3),
        "waits_ms": _ms(one.waits),
        "arriving_per_s": None if one.arriving_per_s is None else round(one.arriving_per_s, 3),
        "sessions": one.sessions,
        "at_most": one.at_most,
        "connections_full_after_ms": _ms(one.full_after),
        "held_by": [
            {
                "pid": holder.pid,
                "who": holder.who,
                "mode": holder.mode.value,
                "transaction_age_ms": _ms(holder.transaction_age),
                "autovacuum": holder.is_autovacuum,
                "prevents_wraparound": holder.prevents_wraparound,
            }
            for holder in one.blockers
        ],
        "notes": list(one.notes),
    }


def _ms(duration: timedelta | None) -> int | None:
    return None if duration is None else round(duration / timedelta(milliseconds=1))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
