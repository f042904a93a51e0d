"""Taking back a failed migration by itself, where that is safe; else a person is told, and nothing is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, cast

from prefect import flow
from prefect.runtime import flow_run

from blocks import BackupBucket, BackupFolder, Fleet, Notifier, PostgresDatabase
from blocks.fleet import chosen_fleet
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.alerts.states import AlertLimits
from squizzle.backups.records import Backup
from squizzle.errors import SquizzleError
from squizzle.incidents.attempts import Attempt, AttemptOutcome
from squizzle.incidents.failure import Failure
from squizzle.incidents.records import Incident
from squizzle.numbers import number_of
from squizzle.recovery.assess import Assessment
from squizzle.recovery.decide import decide_recovery, undo_request, undone_tables
from squizzle.recovery.ways import Means, RecoveryPolicy, ScriptMeans, Way
from squizzle.rollout.records import Fleet as FoundFleet
from squizzle.rollout.records import FleetTarget
from tasks.auto_recovery import (
    claim,
    close_where_well,
    compare_schema,
    examine,
    has_down_script,
    nobody_else,
    open_one,
    settle,
    tell_of_attempts,
    untold,
    why_unproven,
    write_down,
    write_down_undone,
)
from tasks.auto_recovery_case import AutoRecoveryCase, auto_recovery_case
from tasks.fencing import put_up_fences
from tasks.migrations import try_down_scripts
from tasks.outcome import ends_in_our_words, failed
from tasks.recovery import assess_damage, find_backup, look_for_means
from tasks.reporting import progress_artifact, publish_attempt
from tasks.sources import DatabaseSource
from tasks.steps import about, keep_journal, log_line, now, steps_so_far
from tasks.sweep_case import sweep_case
from tasks.sweeping import Looked, look
from tasks.undo import plan_undo_behind_fence, undo_behind_fence

STEPS = 15
# As for alerts: of so many targets people are told in one message.
_TOGETHER_FROM = AlertLimits().grouped_from
# Nothing that loses anything: what else there is asks a person (the deployment `recover`).
_POLICY = RecoveryPolicy(ways=frozenset({Way.ROLL_BACK, Way.UNDO}), max_rpo=timedelta())

DESCRIPTION = """\
Takes back a migration that failed a moment ago, where that is safe; else tells people, and leaves everything as it is.

1. looks which targets of the fleet have a failed migration, and opens an incident for each
2. stays away in a freeze, after a *hands off*, and from a rollout, a migration, a recovery or a person at work
3. where the server took back the whole script: compares the schema, and the history says so
4. else runs the down script, or undoes by the change log what it did to rows; compares both with what was before
5. tells people: in passing when it helped; as *critical* when it did not, or when nothing could be done

One try for an incident. Nothing that loses data. Off unless `auto_recover` of the fleet, or *Policy*, is `safe`.
"""

FleetName = Annotated[
    str, shown(title="Fleet", description="A section [fleets.NAME] of squizzle.toml. Empty where a block is chosen.")
]
FleetBlock = Annotated[Fleet | None, shown(title="Fleet block", description="Instead of a section of squizzle.toml.")]
Config = Annotated[Path, shown(title="Configuration", description="squizzle.toml, on the worker.")]
Store = Annotated[
    BackupFolder | BackupBucket | None,
    shown(title="Store", description="Where backups are, to compare with. Empty: [backups] store of squizzle.toml."),
]
NotifierBlock = Annotated[
    Notifier | None, shown(title="Notifier", description="Who is told. Empty: [notify] of squizzle.toml.")
]
Control = Annotated[
    PostgresDatabase | None,
    shown(title="Control database", description="Where incidents are kept. Empty: the first canary."),
]
Policy = Annotated[
    Literal["as_configured", "safe", "never"],
    shown(title="Policy", description="safe: take back what can be. as_configured: as the fleet's auto_recover says."),
]
Minutes = Annotated[
    int, shown(ge=1, le=1440, title="Window (minutes)", description="What failed longer ago is a person's.")
]
Shut = Annotated[
    bool,
    shown(title="Shut it otherwise", description="Keep clients out of a database that could not be brought back."),
]


@flow(
    name="auto-recover",
    flow_run_name=run_named("auto recovery of {fleet}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def auto_recover(  # noqa: PLR0913 - each is a field of the form
    fleet: FleetName = "",
    fleet_block: FleetBlock = None,
    configuration: Config = Path("squizzle.toml"),
    store: Store = None,
    notifier: NotifierBlock = None,
    control: Control = None,
    policy: Policy = "as_configured",
    window_minutes: Minutes = 30,
    *,
    shut_otherwise: Shut = False,
) -> tuple[Attempt, ...]:
    """Take back failed migrations of a fleet, where that is safe.

    Args:
        fleet: A section `[fleets.NAME]` of squizzle.toml; empty where a block is chosen.
        fleet_block: The fleet, where it is not in squizzle.toml.
        configuration: squizzle.toml, on the worker; secrets are in the worker's environment.
        store: Where backups and certificates are; None for `[backups] store`.
        notifier: Who is told; None for `[notify]` of squizzle.toml.
        control: Where incidents are kept; None for the first canary.
        policy: Whether anything may be taken back; `as_configured` for what the fleet says.
        window_minutes: What failed longer ago is a person's.
        shut_otherwise: Keep clients out of a database that could not be brought back.

    Returns:
        What became of each target with a failed migration; inside a Failed state when a person has to look.
    """
    refuse_inline(fleet_block, store, notifier, control)
    chosen, secrets = chosen_fleet(fleet, fleet_block)
    environ = {**os.environ, **secrets}
    notify = notifier.settings() if notifier else None
    sweep = replace(sweep_case(chosen, configuration, alerts=(), notify=notify, environ=environ), control=control)
    if policy == "never" or (policy == "as_configured" and not sweep.settings.auto_recover):
        log_line(f"nothing is taken back by itself in {sweep.settings.name}: auto_recover says never")
        return ()
    case = auto_recovery_case(sweep, configuration, store=store, environ=environ)
    case = replace(case, window=timedelta(minutes=window_minutes), fence_otherwise=shut_otherwise)
    with keep_journal(progress_artifact("auto-recovery-progress", total=STEPS, what="Progress of the recovery")):
        attempts = recover_what_failed(case, look(case.sweep))
    bad = [one for one in attempts if one.needs_a_person]
    if not bad:
        return attempts
    why = f"{bad[0].incident.target}: {bad[0].outcome.value}: {bad[0].why}"
    # A flow that returns a state ends in that state; what became of targets travels as its data.
    return cast("tuple[Attempt, ...]", failed(why, attempts))


def recover_what_failed(case: AutoRecoveryCase, looked: Looked) -> tuple[Attempt, ...]:
    """Each target at which a look found a failed migration, one after the other, inside a flow.

    Also those at which a recovery on its own was killed in the middle of a script: of them somebody has to hear.
    """
    return tell_together(case, looked.fleet, tuple(recover_each(case, looked)))


def recover_each(case: AutoRecoveryCase, looked: Looked) -> Iterator[Attempt]:
    """The same, one after the other; where there are many, people are not told of them yet (`tell_together`)."""
    halfway = [one for one in looked.sweep.targets if not one.failed and one.metrics.get("running_migrations")]
    killed = untold(case, looked.fleet) if halfway else frozenset()
    failed = [one for one in looked.sweep.targets if one.failed or (one in halfway and one.target.name in killed)]
    for one in failed:
        attempt = _recover_one(case, looked.fleet, one.target, one.failed)
        yield attempt if len(failed) >= _TOGETHER_FROM else _tell(case, looked.fleet, (attempt,))[0]


def tell_together(case: AutoRecoveryCase, fleet: FoundFleet, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Tell people of many targets: once of all that was taken back, and once of all that needs a person."""
    return _tell(case, fleet, attempts) if len(attempts) >= _TOGETHER_FROM else attempts


def _tell(case: AutoRecoveryCase, fleet: FoundFleet, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    told: dict[str, Attempt] = {}
    for needs_a_person in (True, False):
        alike = [one for one in attempts if not one.is_heard and one.needs_a_person is needs_a_person]
        if not alike:
            continue
        is_heard = tell_of_attempts(case, fleet, alike, now(), flow_run.ui_url or "")
        for one in alike:
            attempt = replace(one, is_heard=is_heard)
            with about(one.incident.target):
                publish_attempt(attempt, close_where_well(case, fleet, attempt))
            told[one.incident.id] = attempt
    return tuple(told.get(one.incident.id, one) for one in attempts)


def _recover_one(case: AutoRecoveryCase, fleet: FoundFleet, target: FleetTarget, versions: tuple[str, ...]) -> Attempt:
    before = len(steps_so_far())
    database = case.database(fleet, target)
    with about(target.name):
        incident = open_one(case, fleet, target, f"a migration failed (failed: {', '.join(versions)})")
        if incident.attempted_at is not None and incident.is_told:
            why = f"the one try of this incident was at {incident.attempted_at:%Y-%m-%d %H:%M:%S} UTC"
            return Attempt(incident=incident, outcome=AttemptOutcome.TRIED_BEFORE, why=why)
        attempt = _tried(case, fleet, target, incident, database)
        if attempt.needs_a_person and case.fence_otherwise:
            attempt = _fenced(attempt, case, fleet, database)
        write_down(case, fleet, attempt)
    return replace(attempt, is_heard=not attempt.is_told, steps=steps_so_far()[before:])


def _tried(
    case: AutoRecoveryCase, fleet: FoundFleet, target: FleetTarget, incident: Incident, database: DatabaseSource
) -> Attempt:
    """Nobody else works there meanwhile; whoever does already is not disturbed."""
    try:
        with nobody_else(case, fleet, database):
            found = examine(case, fleet, target)
            failure = found.failure
            if failure is None:
                return Attempt(incident=incident, outcome=AttemptOutcome.WELL, why="nothing has failed any more")
            if found.why_not_now:
                why, outcome = found.why_not_now, AttemptOutcome.NOT_NOW
            elif not claim(case, fleet, incident):
                # It was killed, or told nobody: now somebody is.
                why, outcome = "a try began before, and nobody was told how it ended", AttemptOutcome.LEFT
            elif failure.why_never:
                why, outcome = failure.why_never, AttemptOutcome.LEFT
            else:
                outcome, why = _taken_back(case, database, failure)
            return Attempt(incident=incident, outcome=outcome, why=why, failure=failure)
    except SquizzleError as exc:
        # Somebody else has a lock, or it cannot be reached: nothing was done, and the next run looks again.
        return Attempt(incident=incident, outcome=AttemptOutcome.NOT_NOW, why=exc.message)


def _taken_back(case: AutoRecoveryCase, database: DatabaseSource, failure: Failure) -> tuple[AttemptOutcome, str]:
    """By what the recovery itself decides, with its own steps; nothing else is tried when that does not help."""
    try:
        if failure.is_begun:
            return _by_recovery(case, database, failure)
        shown_by = settle(database, failure.version)
    except SquizzleError as exc:
        return AttemptOutcome.FAILED, exc.in_one_line
    return AttemptOutcome.TAKEN_BACK, f"the server took back all of {failure.version}, and {shown_by}"


def _by_recovery(case: AutoRecoveryCase, database: DatabaseSource, failure: Failure) -> tuple[AttemptOutcome, str]:
    """What a failed script left behind goes by its down script, or by the change log: whatever loses nothing."""
    version = failure.version
    if case.store is None:
        return AttemptOutcome.LEFT, "no store is named, so nothing could be compared with what was before"
    if not failure.digest_before:
        return AttemptOutcome.LEFT, "no run before it has ended well, so nothing says how the schema was"
    backup = find_backup(database, case.store, backup_id="", before=failure.began_at)
    found = assess_damage(database, backup, case.folder, since=failure.began_at, by_migration=True)
    others = [one for one in found.applied_since if one != version]
    if others:
        return (
            AttemptOutcome.LEFT,
            f"{', '.join(others)} came after backup {found.since}, so rows could not be compared",
        )
    # What failed is not among what is applied, and is what has to go.
    assessment = replace(found, applied_since=(version,))
    means = look_for_means(database, case.store, case.folder)
    means = replace(means, scripts=(ScriptMeans(version=version, has_down=has_down_script(case, version)),))
    unproven = why_unproven(case, failure)
    policy = replace(_POLICY, ruled_out={Way.ROLL_BACK: unproven} if unproven else {})
    plan = decide_recovery(assessment, means, now=now(), policy=policy, insist=True)
    if plan.chosen is None:
        return AttemptOutcome.LEFT, plan.reason
    if plan.chosen.way is Way.UNDO:
        return _by_log(case, database, failure, backup, assessment, means)
    return _by_script(case, database, failure, backup)


def _by_script(
    case: AutoRecoveryCase, database: DatabaseSource, failure: Failure, backup: Backup
) -> tuple[AttemptOutcome, str]:
    version = failure.version
    attempt = try_down_scripts(database, backup, (version,), case.folder)
    why = attempt.why_not or compare_schema(database, failure.digest_before) or _doubt(attempt.doubtful, backup)
    if why:
        return AttemptOutcome.FAILED, f"the down script of {version} was run: {why}"
    return AttemptOutcome.TAKEN_BACK, f"by the down script of {version}; schema and rows are as in backup {backup.id}"


def _by_log(
    case: AutoRecoveryCase,
    database: DatabaseSource,
    failure: Failure,
    backup: Backup,
    assessment: Assessment,
    means: Means,
) -> tuple[AttemptOutcome, str]:
    """Rows only: what speaks against it is found out first, and then nothing is done."""
    version, covered = failure.version, undone_tables(assessment, means)
    why = compare_schema(database, failure.digest_before)
    why = f"the change log brings back rows, no definitions: {why}" if why else ""
    why = why or _doubt(sorted(set(assessment.changed_tables) - covered), backup)
    if why:
        return AttemptOutcome.LEFT, why
    request = undo_request(assessment, means)
    planned = plan_undo_behind_fence(database, request)
    if planned.conflict_count:
        return (
            AttemptOutcome.LEFT,
            f"others changed {planned.conflict_count:,} of the rows since that {version} changed",
        )
    if not planned.changes:
        return AttemptOutcome.LEFT, f"the change log has nothing of {version}"
    done = undo_behind_fence(database, request, plan=planned.digest)
    found = assess_damage(database, backup, case.folder)
    why = "; ".join(found.damage[:1]) or _doubt(sorted(set(found.changed_tables) - covered), backup)
    if why:
        return AttemptOutcome.FAILED, f"what {version} did to rows was undone by the change log: {why}"
    shown_by = write_down_undone(case, database, version)
    changed = f"{number_of(done.changes, 'row')} in {number_of(len(done.tables), 'table')}"
    rows = f"{changed} are as they were before {version}"
    return AttemptOutcome.TAKEN_BACK, f"by the change log: {rows}; {shown_by}"


def _doubt(tables: Sequence[str], backup: Backup) -> str:
    """Why nothing shows that rows are back; empty where no table has others."""
    if not tables:
        return ""
    return f"nothing shows that rows are back: those of {', '.join(tables[:5])} are others than in backup {backup.id}"


def _fenced(attempt: Attempt, case: AutoRecoveryCase, fleet: FoundFleet, database: DatabaseSource) -> Attempt:
    """Shut it, unless this very incident is kept in it: then nobody could read it any more."""
    control = case.control(fleet)
    if (control.access(), control.database) == (database.access(), database.database):
        return _with_note(attempt, "it is not shut, for its incident is kept in it")
    holder = attempt.incident.id
    try:
        put_up_fences(database, (), holder=holder, reason=attempt.why)
    except SquizzleError as exc:
        return _with_note(attempt, f"it could not be shut: {exc.message}")
    return _with_note(attempt, f"clients are kept out; `squizzle unfence --as {holder}` lets them in")


def _with_note(attempt: Attempt, note: str) -> Attempt:
    return replace(attempt, notes=(*attempt.notes, note))
