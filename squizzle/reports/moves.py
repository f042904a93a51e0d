"""What moved between sweeps, for people: a table, and a picture of each metric where it moved most."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from squizzle.backups.space import size_words
from squizzle.durations import words
from squizzle.reports.markdown import bullets, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from squizzle.frames.moves import Course, HourOfFleet, Move

# A ground of its own: the page around may be light or dark. Blue and vermilion are told apart by everybody, and the
# newest value has a shape besides (Okabe and Ito, Color Universal Design).
_GROUND, _INK, _GRID, _LINE, _NOW = "#fafafa", "#1f2933", "#d5dbe1", "#0b4f8a", "#d55e00"
MOST_PANELS = 6
_COLUMNS = 2
# What a picture of that size can show of a line.
_MOST_POINTS = 400
_MOST_TARGETS = 50
_TICKS = 3


def metric_words(metric: str, value: float) -> str:
    """A value for a person; the end of a metric's name says what it is in."""
    if metric.endswith("_bytes"):
        return size_words(value)
    if metric.endswith("_s") and value >= 0:
        return words(timedelta(seconds=value))
    if metric.endswith("_pct"):
        return f"{value:,.1f} %"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def moves_summary(fleet: str, moves: Sequence[Move]) -> str:
    """In a line: what moved most."""
    if not moves:
        return f"{fleet}: nothing moved"
    one = moves[0]
    more = f", and {len(moves) - 1} more" if len(moves) > 1 else ""
    return f"{fleet}: {one.metric} moved at {one.target}, {_from_to(one)}{more}"


def moves_markdown(
    fleet: str, moves: Sequence[Move], *, since: datetime, sweeps: int, problems: Sequence[str] = ()
) -> str:
    """What moved, as Markdown.

    Args:
        fleet: Its name.
        moves: The farthest first.
        since: From when on sweeps were read.
        sweeps: How many there were.
        problems: What could not be read of them.
    """
    rows = [(one.metric, f"{one.target}{_others(one)}", _from_to(one)) for one in moves]
    parts = [
        f"# {moves_summary(fleet, moves)}",
        f"Newest values beside each target's own median, {sweeps:,} sweeps since {since:%Y-%m-%d %H:%M %Z}.",
        table(("metric", "where most", "usual → now"), rows) if rows else "",
        bullets([f"**{one}**" for one in problems]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _others(move: Move) -> str:
    return f" and {move.targets - 1:,} more" if move.targets > 1 else ""


def _from_to(move: Move) -> str:
    return f"{metric_words(move.metric, move.usual)} → {metric_words(move.metric, move.now)}"


def moves_picture(moves: Sequence[Move]) -> bytes:
    """Up to six metrics over time as a PNG, the farthest first; empty where nothing moved."""
    shown = moves[:MOST_PANELS]
    if not shown:
        return b""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, that only a sweep in which something moved waits

    rows = -(-len(shown) // _COLUMNS)
    columns = min(_COLUMNS, len(shown))
    figure = Figure(figsize=(5.2 * columns, 2.1 * rows), layout="constrained", facecolor=_GROUND)
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place < len(shown):
            _draw(axes, shown[place])
        else:
            axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor=_GROUND)
    return buffer.getvalue()


def _draw(axes: Axes, move: Move) -> None:
    points = _thinned(move.points)
    times = [at.timestamp() for at, _ in points]
    axes.set_facecolor(_GROUND)
    axes.plot(times, [value for _, value in points], color=_LINE, linewidth=1.4)
    axes.axhline(move.usual, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(times[-1:], [move.now], marker="X", markersize=8, color=_NOW, linestyle="", zorder=5)
    axes.set_title(
        f"{move.metric}: {_from_to(move)}\n{move.target}{_others(move)}", color=_INK, fontsize=8.5, loc="left"
    )
    axes.yaxis.set_major_formatter(lambda value, _place: metric_words(move.metric, value))
    ticks = [times[0] + (times[-1] - times[0]) * part / _TICKS for part in range(_TICKS + 1)]
    form = "%H:%M" if times[-1] - times[0] <= timedelta(days=1).total_seconds() else "%d %b\n%H:%M"
    axes.set_xticks(ticks, labels=[f"{datetime.fromtimestamp(one, UTC):{form}}" for one in ticks])
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(colors=_INK, labelsize=7.5, length=0)
    axes.grid(visible=True, color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _thinned(points: Sequence[tuple[datetime, float]]) -> Sequence[tuple[datetime, float]]:
    """Not more than can be seen; the newest is among them."""
    step = -(-len(points) // _MOST_POINTS)
    return points[::-step][::-1]


def course_markdown(
    fleet: str,
    metric: str,
    targets: Sequence[Course],
    hours: Sequence[HourOfFleet],
    *,
    sweeps: int,
    problems: Sequence[str] = (),
) -> str:
    """One metric over time: by target, where it moved most first, and by hour over all of them."""
    rows = [
        (one.target, *(metric_words(metric, value) for value in (one.least, one.usual, one.most, one.now)))
        for one in targets[:_MOST_TARGETS]
    ]
    by_hour = [
        (f"{one.at:%Y-%m-%d %H:%M}", *(metric_words(metric, value) for value in (one.least, one.median, one.most)))
        for one in hours[-_MOST_TARGETS:]
    ]
    more = f"… and {len(targets) - _MOST_TARGETS:,} more." if len(targets) > _MOST_TARGETS else ""
    parts = [
        f"# {metric} of {fleet}, in {sweeps:,} sweeps",
        "## Where it moved most",
        table(("target", "least", "usual", "most", "now"), rows),
        more,
        "## By hour, UTC, all targets",
        table(("hour", "least", "median", "most"), by_hour),
        bullets([f"**{one}**" for one in problems]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def moves_document(moves: Sequence[Move]) -> list[dict[str, object]]:
    """As `squizzle health --trend --json` prints them."""
    return [
        {
            "metric": one.metric,
            "target": one.target,
            "targets": one.targets,
            "usual": one.usual,
            "now": one.now,
            "score": round(one.score, 2),
        }
        for one in moves
    ]


def course_document(targets: Sequence[Course], hours: Sequence[HourOfFleet]) -> dict[str, object]:
    """As `squizzle health --trend METRIC --json` prints it."""
    return {
        "targets": [
            {
                "name": one.target,
                "sweeps": one.sweeps,
                "least": one.least,
                "usual": one.usual,
                "most": one.most,
                "now": one.now,
                "score": None if one.score is None else round(one.score, 2),
            }
            for one in targets
        ],
        "hours": [
            {"at": one.at.isoformat(), "least": one.least, "median": one.median, "most": one.most} for one in hours
        ],
    }
