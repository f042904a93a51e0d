"""What drills cost, kept for ever as frames: a row for each drill of a disaster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from squizzle.backups.store import BackupStore
from squizzle.drills.figures import DRILLS, MOST_BEFORE, DrillFigures
from squizzle.frames.folder import FrameFolder
from squizzle.recovery.ways import DrilledWay, Way

_EVER = datetime(2000, 1, 1, tzinfo=UTC)
# Frames hold times as seconds, under a name that says so.
_TIMES = {"rto": "rto_s", "rpo": "rpo_s", "detected_in": "detected_s"}
_WHOLE = ("size_bytes", "rows")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadDrills:
    """Drills that were kept.

    Attributes:
        figures: The oldest first.
        problems: What could not be read, a sentence each.
    """

    figures: tuple[DrillFigures, ...] = ()
    problems: tuple[str, ...] = ()


def drill_frame(figures: Sequence[DrillFigures]) -> pd.DataFrame:
    """Drills as a frame.

    Returns:
        A row each, columns as `DrillFigures` has them; `rto_s`, `rpo_s` and `detected_s` are seconds.
    """
    columns: dict[str, object] = {}
    for field in fields(DrillFigures):
        values = [getattr(one, field.name) for one in figures]
        if field.name == "at":
            columns["at"] = pd.to_datetime(values, utc=True)
        elif field.name in _TIMES:
            seconds = [None if one is None else one.total_seconds() for one in values]
            columns[_TIMES[field.name]] = pd.Series(seconds, dtype="float64")
        elif field.name in _WHOLE:
            columns[field.name] = pd.Series([None if one is None else float(one) for one in values], dtype="float64")
        else:
            columns[field.name] = values
    return pd.DataFrame(columns)


def keep_drill(store: BackupStore, figures: DrillFigures, now: datetime) -> tuple[str, ...]:
    """Keep one drill, and make the files of ended hours and days one.

    Returns:
        What is damaged in the store, a sentence each.

    Raises:
        ToolError: The store is full or fails. Nothing that was kept before is lost.
    """
    folder = FrameFolder(store, DRILLS)
    before = folder.pieces()
    folder.put(drill_frame([figures]), figures.at)
    return folder.tidy(before, now)


def read_drills(store: BackupStore, since: datetime = _EVER) -> ReadDrills:
    """Every drill that is kept.

    Raises:
        ToolError: The store cannot be read.
    """
    found = FrameFolder(store, DRILLS).read(since)
    rows: list[dict[str, Any]] = found.frame.to_dict("records")  # type: ignore[assignment]
    return ReadDrills(figures=tuple(_figures(row) for row in rows), problems=found.problems)


def _figures(row: dict[str, Any]) -> DrillFigures:
    known = {name: None if pd.isna(value) else value for name, value in row.items()}
    values: dict[str, Any] = {"at": row["at"].to_pydatetime()}
    for field in fields(DrillFigures):
        if field.name in _TIMES:
            seconds = known.get(_TIMES[field.name])
            values[field.name] = None if seconds is None else timedelta(seconds=seconds)
        elif field.name in _WHOLE:
            number = known.get(field.name)
            values[field.name] = None if number is None else int(number)
        elif field.name == "recovered":
            values["recovered"] = bool(known.get("recovered"))
        elif field.name != "at":
            values[field.name] = known.get(field.name) or ""
    return DrillFigures(**values)


def drilled_ways(figures: Iterable[DrillFigures]) -> tuple[DrilledWay, ...]:
    """What each way back took in the newest drills that took it, for a recovery to forecast its time."""
    found: list[DrilledWay] = []
    newest = sorted((one for one in figures if one.recovered and one.rto is not None), key=lambda one: one.at)
    for way in Way:
        taken = [one for one in newest if one.way == way.value][-MOST_BEFORE:]
        found += [DrilledWay(way=way, took=one.rto, rows=one.rows) for one in taken if one.rto is not None]
    return tuple(found)


def trend_of(figures: Iterable[DrillFigures]) -> pd.DataFrame:
    """How drills of each disaster, way and size develop.

    Returns:
        A row for each `scenario`, `way` and `size` (rows, as a power of ten from below; 0 for unknown): `drills`,
        `passed`, `usual_rto_s` (the median of those that recovered), `last_rto_s`, `usual_rpo_s`, `usual_detected_s`,
        `last_at`, `times` (the last one's RTO in terms of the usual one). Times are missing where none was measured.
    """
    frame = drill_frame(tuple(figures)).sort_values("at", kind="stable")
    frame["size"] = [0 if pd.isna(rows) or rows < 1 else 10 ** (len(str(int(rows))) - 1) for rows in frame["rows"]]
    frame["passed"] = frame["verdict"] == "pass"
    for name in ("rto_s", "rpo_s"):
        frame[f"usual_{name}"] = frame[name].where(frame["recovered"])
    grouped = frame.groupby(["scenario", "way", "size"], as_index=False).agg(
        drills=("run", "size"),
        passed=("passed", "sum"),
        usual_rto_s=("usual_rto_s", "median"),
        last_rto_s=("rto_s", "last"),
        usual_rpo_s=("usual_rpo_s", "median"),
        usual_detected_s=("detected_s", "median"),
        last_at=("at", "last"),
    )
    grouped["times"] = grouped["last_rto_s"] / grouped["usual_rto_s"]
    return grouped
