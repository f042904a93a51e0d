"""The disaster drill: break a copy of a database on purpose, get it back, and prove that it is back."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from secrets import randbits
from typing import Annotated, cast
from uuid import uuid4

from prefect import flow
from prefect.runtime import flow_run

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from blocks.references import refuse_inline
from flows.disasters.plays import PLAYS
from flows.forms import shown
from squizzle import __version__
from squizzle.disturbance import exposed, spared, strikes_so_far
from squizzle.drills.records import EXAMPLE_COMPANY, DrillBook, DrillReport, DrillRun, DrillScenario, DrillVerdict
from squizzle.drills.scenarios import UNTOUCHED, Scenario, scenarios_of
from squizzle.drills.verdict import judge_drill
from squizzle.errors import CouldNotVerifyError, SquizzleError
from tasks.drill_case import DrillCase
from tasks.drill_costs import DrillCosts, drill_costs, weigh_costs
from tasks.drill_source import choose_source, restore_source
from tasks.drilling import Base, Stage
from tasks.migrations import apply_migrations
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_drills, publish_report
from tasks.scratch import (
    MIGRATIONS,
    DrillPlace,
    DrillServer,
    clean_up,
    drill_place,
    drill_server,
    load_shop_data,
    make_shop_database,
)
from tasks.steps import about, keep_journal, log_line, now, steps_so_far
from tasks.surroundings import Bystander, compare_with, look_at
from tasks.watched import Sign, give_sign

STEPS = 24

DESCRIPTION = """\
Plays disasters on databases of its own and recovers from them with the procedures of a real emergency.

For each disaster it

1. makes a database with data, and takes a backup with fingerprints
2. breaks it, and waits until what should notice that does: the **time to detect**
3. recovers as in an emergency, compares every row, lets clients in
4. reports what it cost: **RTO** and **RPO**, measured, beside the budget and the drills before

It never touches a database that it did not make, and refuses a production server. Each ends with **pass**, **fail** or
**could not verify**; a check that did not run never counts as passed. One that fails does not end the others.
"""

Disaster = Annotated[
    DrillScenario,
    shown(title="Scenario", description="Which disaster is played, and recovered from. all: each in turn."),
]
Scale = Annotated[
    float, shown(gt=0, le=100, title="Scale", description="1 is about 200,000 rows; 10 is about 2,000,000.")
]
Server = Annotated[
    PostgresDatabase | None,
    shown(title="Server", description="Empty: an embedded PostgreSQL that ends with the drill. Never production."),
]
Store = Annotated[
    BackupFolder | BackupBucket | None,
    shown(
        title="Store",
        description="Where its backup goes, and what it cost is kept. Empty: a folder that goes with the drill.",
    ),
]
Configuration = Annotated[
    Path, shown(title="Configuration", description="squizzle.toml, on the worker: [drills], and [backups] store.")
]

Source = Annotated[
    PostgresDatabase | None,
    shown(
        title="Source",
        description="Played with its newest backup in Store, on copies; not touched itself, so it may be production."
        " Empty: the example company.",
    ),
]
Seed = Annotated[
    int | None,
    shown(ge=0, title="Seed", description="Plays the same random moment again that a report names. Empty: a new one."),
]

Production = Annotated[
    PostgresDatabase | None,
    shown(title="Production", description="Read before and after, to prove that no drill touched it. Never played on."),
]
ProductionStore = Annotated[
    BackupFolder | BackupBucket | None,
    shown(title="Production's store", description="The same for its backups and the archive of its log."),
]


def _run_name() -> str:
    """What is played, with whose data, and where."""
    given = flow_run.parameters
    server, source = given.get("server"), given.get("source")
    whose = getattr(source, "database", "the source")
    data = f"with the newest backup of {whose}" if source else f"at scale {given.get('scale')}"
    where = getattr(server, "host", "the chosen server") if server else "an embedded server"
    return f"drill {given.get('scenario')} {data} on {where}"


@flow(name="drill", flow_run_name=_run_name, description=DESCRIPTION, persist_result=False, version=__version__)
@ends_in_our_words
def run_drill(  # noqa: PLR0913 - each is a field of the form
    scenario: Disaster = DrillScenario.ALL,
    scale: Scale = 1.0,
    server: Server = None,
    store: Store = None,
    source: Source = None,
    *,
    seed: Seed = None,
    production: Production = None,
    production_store: ProductionStore = None,
    configuration: Configuration = Path("squizzle.toml"),
) -> DrillRun:
    """Play disasters and recover from them; nothing but the drill's own databases is touched.

    Args:
        scenario: The disaster; all for every one that a recovery can answer, in turn.
        scale: Size of the example's data; 1 is about 200,000 rows.
        server: Where to play; None starts an embedded PostgreSQL.
        store: Where the backup goes, and what the drill cost; None uses a folder that goes with the drill, and
            `[backups] store` of squizzle.toml, if any, for what it cost.
        source: Whose newest backup in the store is played with; it is not touched itself, and may be production. None
            plays with the example company.
        seed: Draws what is random; a report names it, and with it the same is played again. None draws one.
        production: Production's server, to prove that nothing of it was touched; it is only read. None proves that of
            the server that the drill is played on, alone.
        production_store: Its backups, and the archive of its log.
        configuration: squizzle.toml, on the worker; need not be there.

    Returns:
        The reports; inside a Failed state when the verdict is not `pass`.
    """
    refuse_inline(server, store, source, production, production_store)
    return carry_out_drill(
        DrillCase(
            scenario=scenario,
            scale=scale,
            seed=seed,
            server=server,
            store=None if source else store,
            source=source,
            source_store=store if source else None,
            production=production,
            production_store=production_store,
            configuration=configuration,
        )
    )


def carry_out_drill(case: DrillCase) -> DrillRun:
    """The whole drill, inside a flow; the reports come in a Failed state when the verdict is not `pass`."""
    run_id = str(flow_run.id or uuid4()).replace("-", "")[:8]
    started_at = now()
    chosen, costs = scenarios_of(case.scenario), drill_costs(case.source_store or case.store, case.configuration)
    with ExitStack() as stack:
        stack.enter_context(keep_journal(progress_artifact("drill-progress", total=STEPS * len(chosen))))
        stack.enter_context(spared())
        saved = choose_source(case.source, case.source_store) if case.source and case.source_store else None
        schema = case.source.target().schema if case.source else "public"
        on = stack.enter_context(drill_server(server=case.server, store=case.store, source=saved, schema=schema))
        around = _bystanders(on, case)
        shared = stack.enter_context(drill_place(on, uuid4().hex[:8]))
        base = None
        if saved is not None and case.source_store is not None:
            base = restore_source(shared, case.source_store, saved, makes_roles=on.is_ours)
        elif any(one.shares for one in chosen):
            base = make_base(shared, case.scale)
        reports = []
        for one, each in zip(chosen, [run_id, *(uuid4().hex[:8] for _ in chosen[1:])], strict=True):
            with about(one.name.value if len(chosen) > 1 else ""):
                drawn = randbits(31) if case.seed is None else case.seed
                reports.append(play_disaster(on, base, one, each, around, costs, scale=case.scale, seed=drawn))
        run = DrillRun(run_id=run_id, started_at=started_at, reports=tuple(reports))
        if len(reports) > 1:
            publish_drills(run)
    return _ended(run)


def _bystanders(on: DrillServer, case: DrillCase) -> tuple[Bystander, ...]:
    """What must not be touched: whatever else is on the drill's server, and production."""
    here = Bystander(server=on.server, store=on.store, books=False)
    if case.production is None:
        return (here,)
    return (here, Bystander(server=case.production, store=case.production_store))


def _ended(run: DrillRun) -> DrillRun:
    """Tell how it ended; the reports come in a Failed state when the verdict is not `pass`."""
    if run.verdict is DrillVerdict.PASS:
        for one in run.reports:
            give_sign(Sign.DRILLED, one.scenario.value)
        return run
    # A flow that returns a state ends in that state; the reports travel as its data.
    return cast("DrillRun", failed(f"{run.verdict.value}: {run.reasons[0]}", run))


def make_base(place: DrillPlace, scale: float) -> Base:
    """The example company, in a database of which each disaster gets a copy."""
    make_shop_database(place)
    apply_migrations(place.database, MIGRATIONS)
    load_shop_data(place, scale=scale)
    return Base(database=place.names.database)


def play_disaster(
    on: DrillServer,
    base: Base | None,
    scenario: Scenario,
    run_id: str,
    around: tuple[Bystander, ...],
    costs: DrillCosts,
    *,
    scale: float,
    seed: int,
) -> DrillReport:
    """One disaster, with its report; nothing that goes wrong in it is raised, so that it does not end the others.

    Args:
        on: The server.
        base: The data; None for a disaster that makes its own.
        scenario: The disaster.
        run_id: Eight hexadecimal digits.
        around: What must not be touched.
        costs: What drills cost before, and may cost.
        scale: Size of the example's data, where a disaster makes its own.
        seed: Draws what is random.
    """
    started_at, book = now(), DrillBook()
    steps, strikes = len(steps_so_far()), len(strikes_so_far())
    with drill_place(on, run_id) as place:
        was = look_at(around)
        stage = Stage(scenario=scenario, place=place, book=book, scale=scale, base=base, seed=seed)
        try:
            with exposed():  # to chaos, which spares what looks on and cleans up
                PLAYS[scenario.name](stage)
        except CouldNotVerifyError as exc:
            book.could_not_verify(exc.in_one_line)
        except SquizzleError as exc:
            if not book.evidence.error:
                book.note(error=exc.message)
        except Exception as exc:  # noqa: BLE001 - a defect in one disaster is a failed drill, and the others go on
            log_line(f"{scenario.name.value} broke off: {exc!r}", logging.ERROR)
            book.note(error=f"it broke off: {type(exc).__name__}: {exc}")
        leftovers = clean_up(place)
        book.check_untouched(UNTOUCHED, compare_with(around, was))
        verdict, reasons = judge_drill(scenario, book.findings)
        report = DrillReport(
            run_id=run_id,
            scenario=scenario.name,
            verdict=verdict,
            reasons=reasons,
            started_at=started_at,
            server_version=place.server_version,
            steps=steps_so_far()[steps:],
            findings=book.findings,
            leftovers=leftovers,
            source=base.source if base and scenario.shares else EXAMPLE_COMPANY,
            struck=strikes_so_far()[strikes:],
        )
        report = weigh_costs(report, costs)
        publish_report(report)
    return report
