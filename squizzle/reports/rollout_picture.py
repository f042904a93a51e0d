"""A rollout as a picture: a lane for each stage, what took time in it, and how many of its targets were done when."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from squizzle.durations import words
from squizzle.rollout.orders import TargetResult, failures
from squizzle.rollout.report import RolloutReport, StageOutcome, StageReport
from squizzle.rollout.transitions import Doing, Span, spans_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Light fills on a light ground of their own: the page around may be dark. Words are dark on all of them.
_GROUND, _INK, _GRID = "#fafafa", "#1f2933", "#c5ced6"
_FILLS = {
    Doing.APPROVAL: "#d9c7f0",
    Doing.WINDOW: "#dfe3e8",
    Doing.SECURING: "#f6dfa4",
    Doing.APPLYING: "#a9cdf0",
    Doing.SOAKING: "#b7e2c2",
    Doing.TAKING_BACK: "#f3b3ad",
}
# Not by colour alone.
_HATCHES = {Doing.APPROVAL: "//", Doing.WINDOW: "..", Doing.TAKING_BACK: "xx"}
_DONE_LINE, _BAD_LINE = "#0b4f8a", "#b3261e"
_HEIGHT = 0.62
# Shares of the width: so that words fit into a bar, and between two times below.
_WORDS_NEED, _TICKS_NEED = 0.075, 0.07
# A moment is still seen.
_LEAST = 0.004


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Where a moment is drawn, from 0 to 1. Long times are drawn shorter: their width grows with the square root.

    Otherwise minutes of work could not be seen beside a night in which a person was waited for.

    Attributes:
        moments: Where something began or ended, ascending.
        places: Of each.
    """

    moments: tuple[datetime, ...]
    places: tuple[float, ...]

    @classmethod
    def of(cls, moments: Sequence[datetime]) -> Scale:
        """A scale for some moments, in any order; at least one."""
        ordered = tuple(sorted(set(moments)))
        widths = [(later - earlier).total_seconds() ** 0.5 for earlier, later in pairwise(ordered)]
        whole = sum(widths) or 1.0
        least = whole * _LEAST
        places = [0.0]
        for width in widths:
            places.append(places[-1] + max(width, least))
        return cls(moments=ordered, places=tuple(place / (places[-1] or 1.0) for place in places))

    def at(self, moment: datetime) -> float:
        """Where a moment is; what is outside is at the edge."""
        if moment <= self.moments[0]:
            return 0.0
        if moment >= self.moments[-1]:
            return self.places[-1]
        position = bisect_right(self.moments, moment) - 1
        begin, end = self.moments[position], self.moments[position + 1]
        share = (moment - begin) / (end - begin)
        return self.places[position] + share * (self.places[position + 1] - self.places[position])


def rollout_picture(report: RolloutReport) -> bytes:
    """The rollout as a PNG; empty where nothing took time, as in a dry run."""
    spans = spans_of(report.transitions, until=report.started_at + report.duration)
    if not spans:
        return b""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, that only a finished rollout waits for

    lanes = _lanes(report, spans)
    figure = Figure(figsize=(11, 1.5 + 0.75 * len(lanes)), layout="constrained", facecolor=_GROUND)
    axes = figure.subplots()
    axes.set_facecolor(_GROUND)
    scale = Scale.of([moment for span in spans for moment in (span.begin, span.end)])
    for row, name in enumerate(lanes):
        _draw_spans(axes, row, [span for span in spans if span.stage == name], scale)
        _draw_targets(axes, row, name, report, scale)
    _draw_frame(axes, lanes, scale, report)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor=_GROUND)
    return buffer.getvalue()


def _lanes(report: RolloutReport, spans: Sequence[Span]) -> tuple[str, ...]:
    planned = [one.stage.name for one in report.plan.stages] if report.plan else []
    return tuple(dict.fromkeys([*planned, *(span.stage for span in spans)]))


def _draw_spans(axes: Axes, row: int, spans: Sequence[Span], scale: Scale) -> None:
    for span in spans:
        left, right = scale.at(span.begin), scale.at(span.end)
        axes.barh(
            row,
            max(right - left, _LEAST / 2),
            left=left,
            height=_HEIGHT,
            color=_FILLS[span.doing],
            hatch=_HATCHES.get(span.doing),
            edgecolor="white",
            linewidth=0.8,
        )
        took = span.end - span.begin
        if right - left >= _WORDS_NEED:
            text = _span_words(took) + ("" if span.ended else ", not ended")
            axes.text(
                (left + right) / 2, row + 0.43, text, ha="center", va="center", fontsize=7.5, color=_INK, zorder=5
            )


def _span_words(took: timedelta) -> str:
    whole = timedelta(seconds=round(took.total_seconds()))
    return words(whole) if whole >= timedelta(seconds=10) else f"{took.total_seconds():.1f} s"


def _draw_targets(axes: Axes, row: int, name: str, report: RolloutReport, scale: Scale) -> None:
    stage = next((one for one in report.stages if one.name == name), None)
    every = _targets_of(report, name)
    if stage is None:
        return
    for results, color in ((stage.results, _DONE_LINE), (stage.taken_back, _BAD_LINE)):
        good, bad = _times(results)
        if good:
            # From the bottom of the lane to its top; the axis points down.
            heights = [row + _HEIGHT / 2 - _HEIGHT * n / max(every, len(good)) for n in range(1, len(good) + 1)]
            xs = [scale.at(one) for one in good]
            axes.step([xs[0], *xs], [row + _HEIGHT / 2, *heights], where="post", color=color, linewidth=1.8, zorder=4)
        for moment in bad:
            axes.plot(scale.at(moment), row, marker="X", color=_BAD_LINE, markersize=7, zorder=6)


def _times(results: Sequence[TargetResult]) -> tuple[list[datetime], list[datetime]]:
    bad = {one.target.name for one in failures(results)}
    ended = [(one.ended_at, one.target.name in bad) for one in results if one.ended_at is not None]
    return sorted(at for at, is_bad in ended if not is_bad), sorted(at for at, is_bad in ended if is_bad)


def _targets_of(report: RolloutReport, name: str) -> int:
    return next((len(one.targets) for one in report.plan.stages if one.stage.name == name), 0) if report.plan else 0


def _draw_frame(axes: Axes, lanes: Sequence[str], scale: Scale, report: RolloutReport) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - as above
    from matplotlib.patches import Patch  # noqa: PLC0415 - as above

    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_xlim(-0.005, 1.005)
    ended = {one.name: one for one in report.stages}
    labels = [_label(name, ended.get(name), _targets_of(report, name)) for name in lanes]
    axes.set_yticks(range(len(lanes)), labels=labels, color=_INK, fontsize=9)
    shown = _ticks(scale)
    days = len({one.date() for one in scale.moments}) > 1
    form = "%d %b\n%H:%M" if days else "%H:%M:%S"
    axes.set_xticks([scale.at(one) for one in shown], labels=[f"{one:{form}}" for one in shown], color=_INK, fontsize=8)
    axes.grid(visible=True, axis="x", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    handles: list[Patch | Line2D] = [
        Patch(facecolor=_FILLS[one], hatch=_HATCHES.get(one), edgecolor="white", label=one.value) for one in Doing
    ]
    handles += [
        Line2D([], [], color=_DONE_LINE, label="targets done"),
        Line2D([], [], color=_BAD_LINE, label="taken back"),
        Line2D([], [], color=_BAD_LINE, marker="X", linestyle="", label="failed"),
    ]
    axes.legend(
        handles=handles,
        ncols=9,
        loc="upper center",
        bbox_to_anchor=(0.47, -0.16 - 0.1 / len(lanes)),
        fontsize=7.5,
        frameon=False,
        labelcolor=_INK,
        handlelength=1.4,
        columnspacing=1.2,
    )
    what = f"{', '.join(report.versions)} to {report.fleet}: {report.outcome.value}"
    axes.set_title(f"{what}\nUTC; long times are drawn shorter", color=_INK, fontsize=10, loc="left")


def _label(name: str, stage: StageReport | None, targets: int) -> str:
    if stage is None:
        return f"{name}\nnot reached, {targets:,} targets"
    done = len(stage.results) - len(failures(stage.results))
    outcome = stage.outcome.value.lower()
    if not stage.results or not targets:
        return f"{name}\n{outcome}"
    ended = "" if stage.outcome is StageOutcome.DONE else f", {outcome}"
    return f"{name}\n{done:,} of {targets:,} done{ended}"


def _ticks(scale: Scale) -> list[datetime]:
    """Moments that are far enough from each other, the first and the last among them."""
    shown = [scale.moments[0]]
    for one in scale.moments[1:-1]:
        far = scale.at(one) - scale.at(shown[-1]) >= _TICKS_NEED and one - shown[-1] >= timedelta(seconds=1)
        if far and scale.at(scale.moments[-1]) - scale.at(one) >= _TICKS_NEED:
            shown.append(one)
    return [*shown, scale.moments[-1]] if len(scale.moments) > 1 else shown
