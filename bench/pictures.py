"""Bars as a small SVG that stays the same byte by byte as long as the numbers do."""

from __future__ import annotations

from pathlib import Path

from bench.report import Picture, shown

_OURS, _OTHERS, _SPREAD = "#2f6f4f", "#b9bfc7", "#444444"
_WIDTH_INCHES = 8.0
_BAR_INCHES = 0.34
_ROOM_INCHES = 1.1


def draw(picture: Picture, file: Path) -> None:
    """Draw the bars from top to bottom, with a line from the least to the most that was measured."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second, that only whoever draws waits for
    from matplotlib.figure import Figure  # noqa: PLC0415 - same

    bars = picture.bars
    places = range(len(bars), 0, -1)
    # Text stays text (small), and what is drawn has no random names in it.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "squizzle", "font.size": 9}):
        figure = Figure(figsize=(_WIDTH_INCHES, _ROOM_INCHES + _BAR_INCHES * len(bars)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(
            list(places), [bar.value for bar in bars], height=0.7, color=[_OURS if b.is_ours else _OTHERS for b in bars]
        )
        axes.hlines(list(places), [bar.low for bar in bars], [bar.high for bar in bars], color=_SPREAD, linewidth=1.2)
        for place, bar in zip(places, bars, strict=True):
            axes.annotate(f" {shown(bar.value)}", (max(bar.high, bar.value), place), va="center", color=_SPREAD)
        axes.set_yticks(list(places), [bar.name for bar in bars])
        if picture.is_logarithmic:
            axes.set_xscale("log")
        axes.set_xlabel(picture.unit)
        axes.set_title(picture.title, loc="left", fontsize=10)
        axes.margins(x=0.12)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, format="svg", metadata={"Date": None})
