"""A lock forecast in words: its one sentence, what would make it better, and what it cannot see. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, timedelta

from squizzle.analysis.findings import Finding
from squizzle.durations import words
from squizzle.rehearsal.lock_forecast_records import QueueVerdict, RelationQueue
from squizzle.rehearsal.traffic_records import Holder, Traffic

_MOST_ADVICE = 6
# So many that wait are gone again before anybody else comes.
_FEW = 10
_IN_MS_BELOW = timedelta(seconds=1)


def span(duration: timedelta) -> str:
    """A length of time, down to milliseconds: `40 ms`, `1.8 s`, `3 min 20 s`."""
    return f"{duration / timedelta(milliseconds=1):.0f} ms" if duration < _IN_MS_BELOW else words(duration)


def rate(per_s: float) -> str:
    """How often, for a person: `220`, `3.5`, `0.02`."""
    return f"{per_s:,.0f}" if per_s >= _FEW else f"{per_s:.2g}"


def crowd_words(least: int | None, most: int | None) -> str:
    """How many wait: `about 20 sessions`, `20 to 98 sessions`."""
    if least is None or most is None:
        return "an unknown number of sessions"
    if least == most:
        return f"about {most:,} {'session' if most == 1 else 'sessions'}"
    return f"{least:,} to {most:,} sessions"


def sentence_of(
    queues: Sequence[RelationQueue], verdict: QueueVerdict, crowd: tuple[int, int] | None, traffic: Traffic
) -> str:
    """All of it in one sentence.

    Args:
        queues: The worst first.
        verdict: The worst of them, or worse where those of one transaction add up.
        crowd: Connected sessions that wait in the worst moment, and those that wait if clients open connections.
        traffic: Of the database.
    """
    at = f"at {traffic.at.astimezone(UTC):%H:%M} UTC"
    if not queues:
        return f"{at} nobody would wait: nothing is locked that keeps anybody out"
    worst = queues[0]
    where = f"on {worst.relation} ({worst.place})"
    if verdict is QueueVerdict.NOBODY:
        if not worst.arriving_per_s:
            return f"{at} nobody would notice the locks: nobody comes whom they keep out"
        longest = f"whoever comes waits up to {span(worst.longest_wait)} " if worst.longest_wait is not None else ""
        return f"{at} nobody would notice: {longest}{where}"
    if verdict is QueueVerdict.UNKNOWN:
        coming = "" if worst.arriving_per_s is None else f": {rate(worst.arriving_per_s)} sessions a second come"
        return f"{at} clients have to wait {where}{coming}; {_why_unknown(worst)}"
    least, most = crowd if crowd is not None else (None, None)
    longest = f" up to {span(worst.longest_wait)}" if worst.longest_wait is not None else ""
    sentence = f"{at} {crowd_words(least, most)} would wait{longest} {where}"
    return f"{sentence}; {_no_room(worst, traffic)}" if verdict is QueueVerdict.EXHAUST else sentence


def _no_room(worst: RelationQueue, traffic: Traffic) -> str:
    after = f" after {span(worst.full_after)}" if worst.full_after is not None else ""
    return f"if clients open a connection for each, all {traffic.limit:,} are used up{after}"


def _why_unknown(worst: RelationQueue) -> str:
    if worst.held is None:
        return f"how long is not known until it is rehearsed (squizzle rehearse {worst.version})"
    return "how many is not known, for nobody counts its use"


def basis_of(traffic: Traffic) -> str:
    """Where the rates come from."""
    if not traffic.is_average:
        return f"rates as seen in {span(traffic.over)}"
    return f"rates are averages of the last {words(traffic.over)}, so now it may be more or less; --watch 2s looks"


def unseen(queues: Sequence[RelationQueue], traffic: Traffic) -> tuple[str, ...]:
    """What may not be seen or is not counted; it is never taken for zero."""
    found = []
    if traffic.hidden:
        found.append(
            f"what {traffic.hidden} of {traffic.clients} sessions do since when is shown to members of"
            " pg_read_all_stats only, so a transaction that is long may be among them"
        )
    uncounted = sorted({str(one.table) for one in queues if one.arriving_per_s is None})
    found += [f"how often {one} is used is not counted by the server" for one in uncounted]
    if traffic.prepared:
        found.append(f"{traffic.prepared} prepared transactions are open; each keeps its locks until somebody ends it")
    found += [f"{one} is not in this database yet" for one in traffic.missing]
    return tuple(found)


def advice_for(queues: Sequence[RelationQueue], traffic: Traffic) -> tuple[str, ...]:
    """What would make it better: whom to wait for first, another way to write it, a quieter time."""
    found = list(dict.fromkeys(_about_blockers(queues)))
    # The worst lock of each statement; a partitioned table has a thousand.
    statements = {(one.version, one.line): one for one in reversed(queues) if one.verdict in _WORTH_ANOTHER_WAY}
    for one in sorted(statements.values(), key=queues.index)[: _MOST_ADVICE - 1]:
        found += [way for way in _other_way(one, traffic) if way not in found]
    worst = next((one for one in queues if one.verdict.rank >= QueueVerdict.QUEUE.rank), None)
    if worst is not None and worst.longest_wait:
        few = _FEW / worst.longest_wait.total_seconds()
        found.append(
            f"choose a quieter time: {rate(worst.arriving_per_s or 0.0)} sessions a second come to {worst.table} now;"
            f" at less than {rate(few)} a second fewer than {_FEW} would wait"
        )
    return tuple(found[:_MOST_ADVICE])


_WORTH_ANOTHER_WAY = frozenset({QueueVerdict.UNKNOWN, QueueVerdict.QUEUE, QueueVerdict.EXHAUST})


def _about_blockers(queues: Sequence[RelationQueue]) -> Iterator[str]:
    for queue in queues:
        for one in queue.blockers:
            # Of a session that hides its age nobody can say that it is in the way; that it is hidden is said elsewhere.
            if one.transaction_age is not None:
                yield _end_first(one, queue)


def _end_first(holder: Holder, queue: RelationQueue) -> str:
    if holder.prevents_wraparound:
        return f"wait until autovacuum is done with {queue.table} (session {holder.pid}): it must not be ended"
    if holder.is_autovacuum:
        return f"wait until autovacuum is done with {queue.table}, or SELECT pg_cancel_backend({holder.pid})"
    if holder.pid is None:
        return f"have {holder.who} ended first, it holds {queue.table}: {holder.what}"
    age = f", its transaction is open for {words(holder.transaction_age or timedelta())}"
    return f"wait for {holder.who} or end it first (squizzle locks): it holds {queue.table} {holder.mode}{age}"


def _other_way(queue: RelationQueue, traffic: Traffic) -> Iterator[str]:
    """What the rules say about the statement."""
    if queue.statement.endswith("…"):
        return
    from squizzle.analysis.lint import Script, lint_scripts  # noqa: PLC0415 - costs 40 ms, and most need no advice

    script = Script(text=queue.statement, source="statement")
    for found in lint_scripts([script], today=traffic.at.date()).findings:
        if found.hint and found.lock and _is_about(found, queue):
            way = "squizzle lint shows another way in steps" if "\n" in found.hint else found.hint.rstrip(";")
            yield f"line {queue.line}: {way} ({found.rule} {found.name})"
            return


def _is_about(finding: Finding, queue: RelationQueue) -> bool:
    return finding.lock == queue.mode.value and finding.relation.rpartition(".")[2] in {
        queue.table.name,
        queue.relation.name,
        "",
    }
