"""What sweeps found, kept for as long as the fleet says, as one frame a sweep: a row for each target."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from squizzle.alerts.records import AlertResult
from squizzle.backups.store import BackupStore
from squizzle.frames.folder import FrameFolder, ReadFrames, folder_name, remove_ended
from squizzle.sweep.records import Sweep

SWEEPS = "sweeps"
METRIC = "metric."
RULE = "rule."
_STATES: Mapping[bool | None, str] = {True: "firing", False: "well", None: "unknown"}


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptSweep:
    """What became of a sweep.

    Attributes:
        is_first_of_hour: Whether no other sweep of that fleet is kept of that hour.
        problems: What is damaged in the store, a sentence each.
    """

    is_first_of_hour: bool
    problems: tuple[str, ...] = ()


def sweeps_of(store: BackupStore, fleet: str) -> FrameFolder:
    """Where the sweeps of a fleet are kept."""
    return FrameFolder(store, f"{SWEEPS}/{folder_name(fleet)}")


def sweep_frame(sweep: Sweep) -> pd.DataFrame:
    """A sweep as a frame.

    Returns:
        A row for each target. Columns: `at` (when the sweep began), `fleet`, `target`, `server`, `database_id` (the id
        in its `squizzle.identity`; empty when it has none), `is_reached`, `took_s`; `metric.NAME`, a number, yes as 1,
        missing where it is not known; `rule.NAME`: `firing`, `well` or `unknown`, missing where it was not asked.
    """
    targets = sweep.targets
    columns: dict[str, object] = {
        "at": pd.to_datetime([sweep.at] * len(targets), utc=True),
        "fleet": [sweep.fleet] * len(targets),
        "target": [one.target.name for one in targets],
        "server": [one.target.server for one in targets],
        "database_id": [one.identity_id for one in targets],
        "is_reached": [one.is_reached for one in targets],
        "took_s": [one.took.total_seconds() for one in targets],
    }
    for name in sorted({name for one in targets for name in one.metrics}):
        values = [one.metrics.get(name) for one in targets]
        columns[METRIC + name] = pd.Series([None if one is None else float(one) for one in values], dtype="float64")
    looked: list[dict[str, AlertResult]] = [{it.rule.name: it for it in one.results} for one in targets]
    for name in sorted({name for one in looked for name in one}):
        columns[RULE + name] = pd.Series(
            [_STATES[one[name].is_true] if name in one else None for one in looked], dtype="object"
        )
    return pd.DataFrame(columns)


def keep_sweep(store: BackupStore, sweep: Sweep, now: datetime, *, keep: timedelta) -> KeptSweep:
    """Keep a sweep, make the ended hours and days one file each, and remove what is older than it is kept.

    Raises:
        ToolError: The store is full or fails. Nothing that was kept before is lost.
    """
    folder = sweeps_of(store, sweep.fleet)
    before = folder.pieces()
    own = folder.put(sweep_frame(sweep), sweep.at)
    hour = own.begin.replace(minute=0, second=0)
    is_first = not any(one.begin < hour + timedelta(hours=1) and one.end > hour for one in before)
    return KeptSweep(is_first_of_hour=is_first, problems=folder.tidy(before, now, keep=keep))


def forget_fleets(store: BackupStore, fleets: Collection[str], now: datetime, *, keep: timedelta) -> tuple[str, ...]:
    """Remove what was kept of fleets that are gone: nobody has named them for as long as sweeps are kept.

    Args:
        store: Where they are kept.
        fleets: Those that there are.
        now: The time.
        keep: How long sweeps are kept. A fleet that is not among those, but of which there is a younger sweep, is
            somebody else's, and stays as it is.

    Returns:
        How the fleets that went are called, as a part of a path.

    Raises:
        ToolError: The store cannot be read, or refuses.
    """
    return remove_ended(store, SWEEPS, but={folder_name(one) for one in fleets}, before=now - keep)


def read_sweeps(
    store: BackupStore, fleet: str, since: datetime, *, metric: str | None = None, every: timedelta | None = None
) -> ReadFrames:
    """Targets and metrics of a fleet's sweeps from a moment on; a day that has ended is one file.

    Args:
        store: Where they are kept.
        fleet: Its name.
        since: The first moment.
        metric: Only this one, without its prefix; None for all.
        every: Of each such time only the newest sweep; None for all.

    Raises:
        ToolError: The store cannot be read.
    """

    def wants(column: str) -> bool:
        return column == "target" or (column.startswith(METRIC) if metric is None else column == METRIC + metric)

    return sweeps_of(store, fleet).read(since, wants=wants, every=every)
