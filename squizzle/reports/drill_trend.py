"""How drills develop, for people: a table by disaster, way and size, and a picture of RTO and RPO over time."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from squizzle.drills.figures import DrillFigures
from squizzle.durations import words
from squizzle.reports.markdown import bullets, table
from squizzle.settings.drills import DrillBudget

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# As in the pictures of sweeps: a ground of its own, colours that everybody tells apart, and shapes besides.
_GROUND, _INK, _GRID, _BAD = "#fafafa", "#1f2933", "#d5dbe1", "#d55e00"
_COLOURS = ("#0b4f8a", "#009e73", "#cc79a7", "#e69f00")
_MARKERS = ("o", "s", "^", "D")
_TICKS = 3


def trend_markdown(trend: pd.DataFrame, *, problems: Sequence[str] = ()) -> str:
    """The table of `trend_of`, as Markdown."""
    rows = [
        (
            one["scenario"],
            one["way"] or "none",
            _size(one["size"]),
            f"{one['passed']} of {one['drills']}",
            _seconds(one["usual_rto_s"]),
            f"{_seconds(one['last_rto_s'])}, {one['last_at']:%Y-%m-%d}",
            _seconds(one["usual_rpo_s"]),
            _seconds(one["usual_detected_s"]),
        )
        for one in trend.to_dict("records")
    ]
    heads = ("disaster", "way back", "rows", "passed", "RTO usual", "RTO last", "RPO usual", "noticed in")
    parts = ["# What drills cost", table(heads, rows), bullets([f"**{one}**" for one in problems])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _size(rows: int) -> str:
    return f"{rows:,} or more" if rows else "not known"


def _seconds(value: float) -> str:
    return "not measured" if math.isnan(value) else words(timedelta(seconds=value))


def trend_document(trend: pd.DataFrame) -> list[dict[str, Any]]:
    """As `squizzle drill --trend --json` prints it."""
    return [
        {
            "scenario": one["scenario"],
            "way": one["way"] or None,
            "rows_from": int(one["size"]) or None,
            "drills": int(one["drills"]),
            "passed": int(one["passed"]),
            "usual_rto_ms": _milliseconds(one["usual_rto_s"]),
            "last_rto_ms": _milliseconds(one["last_rto_s"]),
            "usual_rpo_ms": _milliseconds(one["usual_rpo_s"]),
            "usual_detected_ms": _milliseconds(one["usual_detected_s"]),
            "last_at": one["last_at"].isoformat(),
        }
        for one in trend.to_dict("records")
    ]


def _milliseconds(seconds: float) -> int | None:
    return None if math.isnan(seconds) else round(seconds * 1000)


def costs_picture(figures: Sequence[DrillFigures], budget: DrillBudget) -> bytes:
    """RTO and RPO of the drills of one disaster over time, as a PNG; empty where fewer than two were measured."""
    shown = sorted((one for one in figures if one.rto is not None), key=lambda one: one.at)
    if len(shown) <= 1:
        return b""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, that only a drill with others before it waits

    figure = Figure(figsize=(10.4, 2.8), layout="constrained", facecolor=_GROUND)
    for axes, name, most in zip(figure.subplots(1, 2), ("rto", "rpo"), (budget.rto, budget.rpo), strict=True):
        _draw(axes, shown, name, most)
    figure.suptitle(f"Drills of {shown[-1].scenario}", color=_INK, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, facecolor=_GROUND)
    return buffer.getvalue()


def _draw(axes: Axes, figures: Sequence[DrillFigures], name: str, most: timedelta | None) -> None:
    axes.set_facecolor(_GROUND)
    for place, way in enumerate(dict.fromkeys(one.way for one in figures)):
        axes.plot(
            *_points([one for one in figures if one.way == way], name),
            color=_COLOURS[place % len(_COLOURS)],
            marker=_MARKERS[place % len(_MARKERS)],
            linewidth=1.4,
            markersize=5,
            label=way.replace("_", " ") or "none",
        )
    times, took = _points([one for one in figures if one.verdict != "pass"], name)
    if times:
        axes.plot(times, took, color=_BAD, marker="X", markersize=9, linestyle="", label="did not pass")
    if most is not None:
        axes.axhline(most.total_seconds(), color=_INK, linewidth=1, linestyle=(0, (4, 3)), label="budget")
    first, last = figures[0].at.timestamp(), figures[-1].at.timestamp()
    ticks = [first + (last - first) * part / _TICKS for part in range(_TICKS + 1)]
    form = "%d %b %Y" if last - first > timedelta(days=2).total_seconds() else "%d %b\n%H:%M"
    axes.set_xticks(ticks, labels=[f"{datetime.fromtimestamp(one, UTC):{form}}" for one in ticks])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _place: words(timedelta(seconds=value)))
    axes.set_title(name.upper(), color=_INK, fontsize=9, loc="left")
    axes.tick_params(colors=_INK, labelsize=7.5, length=0)
    axes.grid(visible=True, color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, frameon=False, labelcolor=_INK)
    for side in axes.spines.values():
        side.set_visible(False)


def _points(figures: Sequence[DrillFigures], name: str) -> tuple[list[float], list[float]]:
    """When it was measured, and what, in seconds; nothing lost is a measurement, too."""
    known = [(one.at.timestamp(), took) for one in figures if (took := getattr(one, name)) is not None]
    return [at for at, _ in known], [took.total_seconds() for _, took in known]
