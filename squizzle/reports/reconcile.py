"""Where the targets of a fleet stand, and both ways out: for a person and for a program."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from squizzle.durations import words
from squizzle.reports.markdown import seconds, table
from squizzle.rollout.reconciling import FleetState, Move, Reconciliation
from squizzle.rollout.standing import Standing, Stands

_MOST_ROWS = 1000
_WORST_FIRST = (Stands.HALF_DONE, Stands.FAILED, Stands.NOT_SEEN, Stands.PART, Stands.NONE, Stands.ALL)
HEADINGS = ("target", "stage", "version", "stands", "to go on", "to go back")


def standing_rows(found: Reconciliation) -> list[tuple[str, ...]]:
    """A row for each target, the worst first: target, stage, version, stands, to go on, to go back."""
    order = sorted(found.standings, key=lambda one: (_WORST_FIRST.index(one.stands), one.target.name))
    return [
        (
            one.target.name,
            found.stage(one.target),
            one.version or ("" if one.stands is Stands.NOT_SEEN else "none"),
            _stands(one),
            _move(found.onward(one)),
            _move(found.backward(one)),
        )
        for one in order
    ]


def standing_table(found: Reconciliation) -> str:
    """The same as Markdown; the end of a long one is only counted."""
    rows = standing_rows(found)
    text = table(HEADINGS, rows[:_MOST_ROWS])
    left_out = len(rows) - _MOST_ROWS
    return f"{text}\n\n… and {left_out:,} more" if left_out > 0 else text


def summary_of(found: Reconciliation) -> str:
    """One line: the fleet's state, and how many stand where."""
    counts = Counter(one.stands for one in found.standings)
    told = ", ".join(f"{counts[word]:,} {word.value}" for word in _WORST_FIRST if counts[word])
    return f"{found.fleet}: {found.state.value} ({told})"


def whole_move(move: Move) -> str:
    """How many targets are to be brought on, or back, and how long that takes in all."""
    if not move.targets:
        return "nothing is to be done"
    if move.takes is None:
        return f"{move.what}; how long that takes was never measured"
    return f"{move.what}; about {_took(move.takes)} in all, by what was measured ({move.measured_by})"


def reconciliation_json(found: Reconciliation) -> dict[str, object]:
    """For programs; times in milliseconds, null where nothing was measured."""
    row = found.row
    return {
        "fleet": found.fleet,
        "state": found.state.value,
        "rollout_id": row.id if row else None,
        "started_at": row.started_at.isoformat() if row else None,
        "started_by": row.started_by if row else None,
        "taking_back": (row.failed_stage or None) if row else None,
        "versions": list(found.versions),
        "on": _json(found.on),
        "back": _json(found.back),
        "targets": [
            {
                "name": one.target.name,
                "stage": found.stage(one.target) or None,
                "version": one.version,
                "stands": one.stands.value,
                "lacking": list(one.lacking),
                "brought": list(one.brought),
                "by_others": list(one.by_others),
                "partly": list(one.partly),
                "broken": list(one.broken),
                "error": one.error,
                "on": _json(found.onward(one)),
                "back": _json(found.backward(one)),
            }
            for one in found.standings
        ],
        "remarks": list(found.remarks),
    }


def reconciliation_text(found: Reconciliation, columns: str) -> str:
    """The whole, for a terminal.

    Args:
        found: Where targets stand.
        columns: The table, as terminals have it.
    """
    row = found.row
    lines = [summary_of(found)]
    if row is not None:
        lines.append(f"rollout {row.id} of {', '.join(found.versions)}, begun {row.started_at:%Y-%m-%d %H:%M %Z}")
        if row.failed_stage:
            lines.append(f"its stage {row.failed_stage} is being taken back: {row.failure}")
    lines += [f"note: {one}" for one in found.remarks]
    lines += ["", columns, ""]
    lines += [f"to go on: {whole_move(found.on)}", f"to go back: {whole_move(found.back)}"]
    if found.state is FleetState.HALF_MIGRATED:
        start = f"squizzle reconcile {found.fleet} --stages FILE"
        lines.append(f"`{start} --on` or `{start} --back` does it; they are `squizzle roll-out`, which asks as always")
    return "\n".join(lines)


def _stands(one: Standing) -> str:
    if one.stands is Stands.NOT_SEEN:
        return f"NOT SEEN: {one.error}"
    text = one.stands.value
    if one.broken:
        text = f"{text.upper()}: {', '.join(one.broken)}{' on its way back' if one.going_back else ''}: {one.error}"
    elif one.stands is Stands.PART:
        text = f"{text}, lacks {', '.join(one.lacking)}"
    text += "".join(f"; of {part}" for part in one.partly)
    return f"{text}; not by this rollout: {', '.join(one.by_others)}" if one.by_others else text


def _move(move: Move | None) -> str:
    if move is None:
        return ""
    took = f" ({_took(move.takes)})" if move.takes is not None else ""
    return f"{move.what}{took}{f': `{move.command}`' if move.command else ''}"


def _took(duration: timedelta) -> str:
    # Most scripts take less than a tenth of a second.
    return seconds(duration) if duration < timedelta(seconds=10) else words(duration)


def _json(move: Move | None) -> dict[str, object] | None:
    if move is None:
        return None
    return {
        "what": move.what,
        "takes_ms": None if move.takes is None else round(move.takes.total_seconds() * 1000),
        "measured_by": move.measured_by,
        "command": move.command or None,
        "targets": move.targets,
    }
