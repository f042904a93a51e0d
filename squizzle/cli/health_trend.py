"""`squizzle health --trend`: what the sweeps that are kept in the store tell over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from squizzle.backups.open_store import open_store
from squizzle.cli.backups import store_address
from squizzle.cli.options import Invocation
from squizzle.cli.output import print_result
from squizzle.cli.points import point_in_time
from squizzle.durations import words
from squizzle.errors import InvalidInputError
from squizzle.reports.terminal import print_markdown

DEFAULT_SINCE = "7d"
# A week of 1,000 targets has 2 million rows. Of more than memory should hold, one sweep an hour is enough.
_ALL_OF_ONE, _ALL_OF_ALL, _EVERY = timedelta(days=8), timedelta(days=1), timedelta(hours=1)


def show_trend(invocation: Invocation, fleet: str, metric: str, since: str, address: str | None) -> int:
    """Print what moved most, or one metric over time; nothing but the store is looked at.

    Args:
        invocation: The common options.
        fleet: Whose sweeps.
        metric: Which metric; empty for what moved most of all.
        since: From when on, as a person writes it.
        address: Of the store; None for that of squizzle.toml.

    Raises:
        InvalidInputError: No store is named, or nothing is kept of that fleet or metric.
        ToolError: The store cannot be read.
    """
    from squizzle.frames.moves import courses, find_moves, hours, sweeps_in  # noqa: PLC0415 - pandas costs 0.7 s
    from squizzle.frames.sweeps import read_sweeps  # noqa: PLC0415 - same
    from squizzle.reports.moves import (  # noqa: PLC0415 - only this verb's
        course_document,
        course_markdown,
        moves_document,
        moves_markdown,
    )

    begin = point_in_time(since, datetime.now(UTC))
    store = open_store(store_address(address, invocation.config))
    most = _ALL_OF_ONE if metric else _ALL_OF_ALL
    every = _EVERY if datetime.now(UTC) - begin > most else None
    found = read_sweeps(store, fleet, begin, metric=metric or None, every=every)
    sweeps = sweeps_in(found.frame)
    if not sweeps:
        raise InvalidInputError(
            f"no sweep of {fleet} since {begin:%Y-%m-%d %H:%M %Z} is kept in {store.address}",
            hint="sweeps are kept by the deployment `health` where [backups] store or its field Store names one",
        )
    document = {"fleet": fleet, "since": begin.isoformat(), "sweeps": sweeps, "problems": list(found.problems)}
    if not metric:
        moves = find_moves(found.frame)
        text = moves_markdown(fleet, moves, since=begin, sweeps=sweeps, problems=found.problems)
        document |= {"metric": None, "moved": moves_document(moves)}
    else:
        targets = courses(found.frame, metric)
        if not targets:
            age = words(datetime.now(UTC) - begin)
            raise InvalidInputError(
                f"no sweep of {fleet} in {age} knows a metric {metric}",
                hint=f"`squizzle health {fleet} --json` shows the metrics of each target",
            )
        by_hour = hours(found.frame, metric)
        text = course_markdown(fleet, metric, targets, by_hour, sweeps=sweeps, problems=found.problems)
        document |= {"metric": metric, **course_document(targets, by_hour)}
    if invocation.as_json:
        print_result(document, "", as_json=True)
    else:
        print_markdown(text)
    return 0
