"""What a drill cost, beside what it may cost and what drills before it did; kept in the store."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from squizzle.backups.open_store import configured_store
from squizzle.backups.store import BackupStore
from squizzle.chaos.settings import VARIABLE
from squizzle.config import CONFIG_NAME, Config, load_config
from squizzle.drills.figures import DrillFigures, figures_of, judged_by_cost
from squizzle.drills.records import DrillReport, DrillVerdict
from squizzle.drills.scenarios import SCENARIOS
from squizzle.drills.verdict import judge_drill
from squizzle.errors import SquizzleError
from squizzle.reports.drill_trend import costs_picture, trend_markdown
from squizzle.settings.drills import DrillBudget
from tasks.markdown_artifact import create_markdown_artifact, create_picture_artifact
from tasks.outage import publish
from tasks.pages import with_pages
from tasks.reporting import artifact_key, path_of, write_file
from tasks.sources import StoreSource
from tasks.steps import log_line, now, step


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillCosts:
    """What drills may cost, and where it is kept what they did.

    Attributes:
        store: Opens the store; None where nothing is kept.
        budget: What they may cost.
    """

    store: Callable[[], BackupStore] | None = None
    budget: DrillBudget = field(default_factory=DrillBudget)


def drill_costs(store: StoreSource | None, configuration: Path) -> DrillCosts:
    """What a store and squizzle.toml say; without the file nothing is compared with a budget.

    Where chaos is on nothing is compared or kept: what its blows cost says nothing about a recovery.

    Raises:
        InvalidInputError: A file that was named is missing, or a setting is wrong.
    """
    if os.environ.get(VARIABLE):
        return DrillCosts()
    is_missing = configuration == Path(CONFIG_NAME) and not configuration.is_file()
    config = Config() if is_missing else load_config(configuration)
    return DrillCosts(store=store.open if store else configured_store(config.backups), budget=config.drills)


def _cost_words(report: DrillReport) -> str:
    by_itself, _ = judge_drill(SCENARIOS[report.scenario], report.findings)
    if by_itself is not DrillVerdict.PASS:
        return "not judged: the drill itself has not passed"
    return report.reasons[0] if report.verdict is DrillVerdict.FAIL else "as it may be"


@step("Compare with drills before", timeout=timedelta(minutes=10), detail=_cost_words)
def weigh_costs(report: DrillReport, costs: DrillCosts) -> DrillReport:
    """Keep what a drill cost; gives its report, failed where that is more than it may be.

    A store that cannot be read or written is told, and is no reason for a drill to fail.
    """
    if costs.store is None:
        return judged_by_cost(report, (), costs.budget)
    from squizzle.frames.drills import keep_drill, read_drills, trend_of  # noqa: PLC0415 - pandas costs 0.7 s

    problems: tuple[str, ...] = ()
    before: tuple[DrillFigures, ...] = ()
    judged = judged_by_cost(report, (), costs.budget)
    try:
        store = costs.store()
        found = read_drills(store)
        before, problems = found.figures, found.problems
        judged = judged_by_cost(report, before, costs.budget)
        own = _figures(report, judged)
        problems = tuple(dict.fromkeys([*problems, *keep_drill(store, own, now())]))
    except SquizzleError as exc:
        own = _figures(report, judged)
        problems = (*problems, f"what this drill cost is not kept: {exc.message}")
    for problem in problems:
        log_line(problem, logging.WARNING)
    alike = [one for one in (*before, own) if one.scenario == own.scenario]
    _publish(judged, trend_markdown(trend_of(alike), problems=problems), costs_picture(alike, costs.budget))
    return judged


def _figures(report: DrillReport, judged: DrillReport) -> DrillFigures:
    """What is kept: whether it recovered is told by what was found, whether it passed by what it cost, too."""
    return replace(figures_of(judged), recovered=report.verdict is DrillVerdict.PASS)


def _publish(report: DrillReport, text: str, picture: bytes) -> None:
    key = f"drill-{artifact_key(report.scenario.value)}-trend"
    title = f"What drills of {report.scenario.value} cost"
    linked = with_pages(text, {"the last one": key.removesuffix("-trend")})
    publish(create_markdown_artifact, linked, key=key, description=title)
    if picture:
        write_file(picture, path_of(report).with_suffix(".png"))
        publish(create_picture_artifact, picture, key=f"{key}-picture", description=title)
