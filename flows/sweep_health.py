"""The health sweep: every few minutes over a whole fleet."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, cast

from prefect import flow
from prefect.runtime import flow_run

from blocks import BackupBucket, BackupFolder, Fleet, Notifier, PostgresDatabase
from blocks.fleet import chosen_fleet
from blocks.references import refuse_inline
from flows.auto_recover import recover_each, tell_together
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.incidents.attempts import Attempt
from squizzle.notify.records import Deliveries, Link
from squizzle.sweep.records import Sweep
from tasks.auto_recovery_case import AutoRecoveryCase, auto_recovery_case
from tasks.kept_sweeps import keep_what_was_found, publish_moves
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_health
from tasks.steps import keep_journal
from tasks.sweep_case import SweepCase, sweep_case
from tasks.sweeping import Looked, look, tell_held, tell_people
from tasks.watched import Sign, give_sign

STEPS = 5
# A failed migration that is taken back a moment later wakes nobody; but nobody waits for longer to hear of one, whether
# for the recovery of other targets, or for that of one whose rows all have to be read: 5 GiB take a minute.
_HELD_FOR = timedelta(minutes=2)
_HELD_BYTES = 5 * 2**30

DESCRIPTION = """\
Looks how every database of a fleet is, and tells people what is new.

1. one session for each target, many at the same time, each with a deadline: connections, locks, replication, the log's
   archive, slots, transaction ids, damaged pages, failed migrations, the age of backups, and your own alert rules
2. compares with what was known: people are told once when something begins, and once when it is over
3. keeps what was found in the store of backups, where there is one, and shows what moved once an hour
4. writes a table of all targets, the worst first

Nothing in the targets is changed; what is known is kept in the control database. It ends *Completed* when the look was
taken, whatever was found; *Failed* when people should have been told and nobody was, or what is known cannot be kept.
"""

FleetName = Annotated[
    str, shown(title="Fleet", description="A section [fleets.NAME] of squizzle.toml. Empty where a block is chosen.")
]
FleetBlock = Annotated[Fleet | None, shown(title="Fleet block", description="Instead of a section of squizzle.toml.")]
Config = Annotated[Path, shown(title="Configuration", description="squizzle.toml, on the worker.")]
Alerts = Annotated[
    list[str],
    shown(title="Alerts", description="Files of alert rules, on the worker. guide: the two of the guide."),
]
NotifierBlock = Annotated[
    Notifier | None, shown(title="Notifier", description="Who is told. Empty: [notify] of squizzle.toml.")
]
Control = Annotated[
    PostgresDatabase | None,
    shown(title="Control database", description="Where alerts are kept. Empty: the first canary."),
]
Store = Annotated[
    BackupFolder | BackupBucket | None,
    shown(title="Store", description="Where their backups are. Empty: [backups] store of squizzle.toml, if any."),
]
Drift = Annotated[bool, shown(title="Drift", description="Compare schemas with what the last run left, too.")]
Tell = Annotated[bool, shown(title="Tell people", description="Off: look and write the table only.")]


@flow(
    name="sweep-health",
    flow_run_name=run_named("health of {fleet}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def sweep_health(  # noqa: PLR0913 - the fields of a form
    fleet: FleetName = "",
    fleet_block: FleetBlock = None,
    configuration: Config = Path("squizzle.toml"),
    alerts: Alerts = [],  # noqa: B006 - a form's default; nobody changes it
    notifier: NotifierBlock = None,
    control: Control = None,
    store: Store = None,
    *,
    drift: Drift = False,
    tell: Tell = True,
) -> Sweep:
    """Look how every database of a fleet is, and tell people what is new.

    Args:
        fleet: A section `[fleets.NAME]` of squizzle.toml; empty where a block is chosen.
        fleet_block: The fleet, where it is not in squizzle.toml.
        configuration: squizzle.toml, on the worker; secrets are in the worker's environment.
        alerts: Files of alert rules, besides those of the fleet.
        notifier: Who is told; None for `[notify]` of squizzle.toml.
        control: Where alerts are kept; None for the first canary.
        store: Where their backups are; None for `[backups] store` of squizzle.toml.
        drift: Compare schemas with what the last run left, too.
        tell: Whether people are told.

    Returns:
        What was found; inside a Failed state when nobody could be told, or alerts could not be kept.
    """
    refuse_inline(fleet_block, notifier, control, store)
    chosen, secrets = chosen_fleet(fleet, fleet_block)
    environ = {**os.environ, **secrets}
    case = sweep_case(
        chosen,
        configuration,
        alerts=tuple(alerts),
        notify=notifier.settings() if notifier else None,
        environ=environ,
    )
    opens = store.open if store is not None else case.store
    case = replace(case, control=control, store=opens, drift=drift, tell=tell)
    helps = case.settings.auto_recover and tell
    return carry_out_sweep(
        case, auto_recovery_case(case, configuration, store=store, environ=environ) if helps else None
    )


def carry_out_sweep(case: SweepCase, recovers: AutoRecoveryCase | None = None) -> Sweep:
    """The order of the steps; failed migrations are taken back where the fleet says so."""
    progress = progress_artifact("health-progress", total=STEPS, what=f"Progress of the look at {case.settings.name}")
    with keep_journal(progress):
        looked = look(case)
        url = flow_run.ui_url
        links = (Link(name="run", url=url),) if url else ()
        held = held_back(looked.sweep) if recovers else frozenset()
        told = tell_people(case, looked, links=links, held=held)
        kept = keep_what_was_found(case, looked.sweep, has_news=bool(told.advance and told.advance.messages))
        publish_health(looked.sweep, told.advance, told.deliveries, tuple(filter(None, (told.problem, *kept.problems))))
        if kept.moves is not None:
            publish_moves(looked.sweep.fleet, kept)
        # Behind it: what goes wrong there costs nobody the table.
        attempts, late = _recover(case, recovers, looked, frozenset() if told.problem else held, links)
    unheard = [one.notification.title for one in (*told.deliveries, *late) if not one.is_heard]
    unheard += [f"{one.incident.target}: {one.why}" for one in attempts if not one.is_heard]
    if not unheard and not told.problem:
        give_sign(Sign.SWEPT, case.settings.name)
        return looked.sweep
    why = told.problem or f"NOBODY was told: {unheard[0]}"
    # A flow that returns a state ends in that state; what was found travels as its data.
    return cast("Sweep", failed(why, looked.sweep))


def held_back(sweep: Sweep) -> frozenset[str]:
    """The targets of whose failed migration people hear from the recovery alone: those where it will not take long."""
    sizes = {one.target.name: one.metrics.get("size_bytes") or 0 for one in sweep.targets if one.failed}
    return frozenset(name for name, size in sizes.items() if size <= _HELD_BYTES)


def _recover(
    case: SweepCase,
    recovers: AutoRecoveryCase | None,
    looked: Looked,
    held: Collection[str],
    links: Sequence[Link],
) -> tuple[tuple[Attempt, ...], tuple[Deliveries, ...]]:
    """Take back what failed; whoever was held back and is not told of by that, or not soon, is told of as an alert."""
    attempts: list[Attempt] = []
    late: list[Deliveries] = []
    untold = set(held)
    ends = time.monotonic() + _HELD_FOR.total_seconds()
    try:
        for attempt in recover_each(recovers, looked) if recovers else ():
            attempts.append(attempt)
            untold -= _told_of([attempt])
            if time.monotonic() > ends:
                late += tell_held(case, looked, untold, links=links)
                untold.clear()
        attempts = list(tell_together(recovers, looked.fleet, tuple(attempts))) if recovers else []
    finally:
        late += tell_held(case, looked, untold - _told_of(attempts), links=links)
    return tuple(attempts), tuple(late)


def _told_of(attempts: Sequence[Attempt]) -> set[str]:
    return {one.incident.target for one in attempts if one.is_told and one.is_heard}
