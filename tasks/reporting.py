"""Publishing what was found: artifacts in Prefect's UI and a file on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from squizzle.alerts.states import Advance
from squizzle.backups.proofs import StoreCheck
from squizzle.backups.records import Backup
from squizzle.drills.records import DrillReport, DrillRun
from squizzle.errors import ToolError
from squizzle.health.release import Release
from squizzle.health.relief import Relief
from squizzle.incidents.attempts import Attempt
from squizzle.incidents.postmortem import Postmortem
from squizzle.incidents.records import IncidentEvent
from squizzle.notify.records import Deliveries, Delivery
from squizzle.recovery.corruption.examine import REPORT_FILE
from squizzle.recovery.corruption.records import Examination, Loaded
from squizzle.recovery.evidence import Step, StepState
from squizzle.recovery.rebuild.records import RebuildReport
from squizzle.recovery.recovery import RecoveryReport
from squizzle.recovery.restore_run import RestoreReport
from squizzle.recovery.undo.records import UndoReport
from squizzle.rehearsal.report import RehearsalReport
from squizzle.reports.backup import BackupReport, backup_markdown, check_markdown, trend_frame, trend_picture
from squizzle.reports.corruption import corruption_markdown, corruption_summary
from squizzle.reports.drill import drill_markdown, drills_markdown, table_artifact
from squizzle.reports.health import health_markdown, health_rows, health_summary
from squizzle.reports.incident import attempt_markdown
from squizzle.reports.locks import release_markdown, summary
from squizzle.reports.notifications import trial_markdown
from squizzle.reports.postmortem import postmortem_markdown
from squizzle.reports.rebuild import rebuild_markdown, rebuild_summary
from squizzle.reports.recovery import recovery_markdown
from squizzle.reports.rehearsal import rehearsal_markdown, rehearsal_summary
from squizzle.reports.relief import relief_markdown, relief_question
from squizzle.reports.restore import restore_markdown, restore_summary
from squizzle.reports.rollout import check_table, result_rows, result_words, rollout_markdown, rollout_summary
from squizzle.reports.rollout_picture import rollout_picture
from squizzle.reports.triggers import PauseReport, pause_markdown
from squizzle.reports.undo import undo_markdown
from squizzle.reports.wrong_environment import MishapReport, mishap_markdown
from squizzle.rollout.checks import CheckRow
from squizzle.rollout.orders import TargetResult
from squizzle.rollout.report import RolloutReport
from squizzle.sweep.records import Sweep
from tasks.markdown_artifact import create_markdown_artifact, create_picture_artifact
from tasks.outage import publish
from tasks.pages import with_pages
from tasks.steps import step

REPORTS_VARIABLE = "SQUIZZLE_REPORTS"
_DEFAULT_REPORTS = Path(".squizzle") / "reports"


def progress_artifact(
    key: str, *, total: int, what: str = "Progress of the disaster drill"
) -> Callable[[tuple[Step, ...]], None]:
    """A watcher that keeps one progress bar in the UI.

    Args:
        key: The artifact's key, `[a-z0-9-]`.
        total: How many steps are expected.
        what: The artifact's description.
    """
    made: list[UUID] = []

    def show(percent: float, *, is_over: bool) -> None:
        if not made:
            made.append(UUID(str(create_progress_artifact(progress=percent, key=key, description=what))))
        elif is_over:
            update_progress_artifact(artifact_id=made[0], progress=percent)

    def watch(steps: tuple[Step, ...]) -> None:
        done = sum(one.state is not StepState.RUNNING for one in steps)
        is_over = bool(steps) and steps[-1].state is not StepState.RUNNING
        # The next step brings it up to date, so nobody waits for a server that is being restarted.
        publish(show, min(100.0, 100.0 * done / total), is_over=is_over, patience=timedelta())

    return watch


@step("Write the report", timeout=timedelta(minutes=5), detail=str)
def publish_report(report: DrillReport) -> Path:
    """Write the report as a file, and publish it with its table as artifacts; returns the file's path.

    Raises:
        ToolError: The file cannot be written.
    """
    slug = report.scenario.value.replace("_", "-")
    text = drill_markdown(report)
    path = path_of(report)
    write_file(text, path)
    rows = table_artifact(report)
    keys = {"every table": f"drill-{slug}-tables"} if rows else {}
    create_markdown_artifact(
        with_pages(text, keys), key=f"drill-{slug}", description=f"Drill {slug}: {report.verdict.value}"
    )
    if rows:
        create_table_artifact(rows, key=f"drill-{slug}-tables", description="Rows saved and rows found, per table")
    return path


@step("Write the report of all disasters", timeout=timedelta(minutes=5), detail=str)
def publish_drills(run: DrillRun) -> Path:
    """Write the combined report as a file, and publish it as an artifact; returns the file's path.

    Raises:
        ToolError: The file cannot be written.
    """
    text, path = drills_markdown(run), drills_path(run)
    write_file(text, path)
    slugs = [one.scenario.value.replace("_", "-") for one in run.reports]
    linked = with_pages(text, {slug: f"drill-{slug}" for slug in slugs})
    create_markdown_artifact(linked, key="drill-all", description=f"All disasters: {run.verdict.value}")
    return path


@step("Write the report of the backup", timeout=timedelta(minutes=5))
def publish_backup(report: BackupReport, earlier: tuple[Backup, ...]) -> None:
    """Publish what was saved, and how size and time develop, as artifacts.

    Args:
        report: What this run did.
        earlier: Every backup of this kind and database in the store, this one among them.
    """
    backup = report.backup
    trend = trend_frame(earlier)
    key = f"backup-{artifact_key(backup.database)}-{backup.kind.value}"
    verdict = report.proof.verdict.value.replace("_", " ")
    summary = f"Backup {backup.id}: files {verdict}"
    text = with_pages(backup_markdown(report, trend), {"size and time of the last ones": f"{key}-trend"})
    create_markdown_artifact(text, key=key, description=summary)
    picture = trend_picture(trend, f"{backup.kind} backups of {backup.database}")
    create_picture_artifact(picture, key=f"{key}-trend", description="Size and time of the last ones")


@step("Write the report of the recovery", timeout=timedelta(minutes=5), detail=str)
def publish_recovery(report: RecoveryReport) -> Path:
    """Write the report as a file, and publish it as an artifact; returns the file's path.

    Raises:
        ToolError: The file cannot be written.
    """
    text = recovery_markdown(report)
    slug = artifact_key(report.database)
    path = recovery_path(report)
    write_file(text, path)
    outcome = report.outcome.value.replace("_", " ")
    create_markdown_artifact(text, key=f"recovery-{slug}", description=f"Recovery of {report.database}: {outcome}")
    return path


@step("Write the report of the store", timeout=timedelta(minutes=5))
def publish_store_check(check: StoreCheck) -> None:
    """Publish what a look at a whole store found as an artifact."""
    summary = f"Backups: {check.verdict.value.replace('_', ' ')}"
    create_markdown_artifact(check_markdown(check), key="backups-checked", description=summary)


@step("Write the table of targets", timeout=timedelta(minutes=5))
def publish_health(
    sweep: Sweep, done: Advance | None, told: tuple[Deliveries, ...], remarks: tuple[str, ...] = ()
) -> None:
    """Publish what a sweep found: a table, the worst first, and a report of what is not well."""
    key = f"health-{artifact_key(sweep.fleet)}"
    create_table_artifact(health_rows(sweep), key=f"{key}-targets", description=health_summary(sweep))
    text = health_markdown(
        sweep,
        silenced=done.silenced if done else (),
        told=told,
        remarks=remarks,
    )
    linked = with_pages(text, {"every target": f"{key}-targets"})
    create_markdown_artifact(linked, key=key, description=health_summary(sweep))


@step("Write the draft of the post-mortem", timeout=timedelta(minutes=5))
def publish_postmortem(found: Postmortem) -> None:
    """Publish the draft of a post-mortem as an artifact and as a file."""
    text = postmortem_markdown(found)
    write_file(text, _folder() / f"postmortem-{found.incident.id}.md")
    title = f"{found.incident.target}: {found.incident.cause}"
    publish(create_markdown_artifact, text, key=f"postmortem-{artifact_key(found.incident.id)}", description=title)


@step("Write the report of the attempt", timeout=timedelta(minutes=5))
def publish_attempt(attempt: Attempt, events: tuple[IncidentEvent, ...]) -> None:
    """Publish what a recovery on its own did, with its evidence, as an artifact."""
    key = f"auto-recovery-{artifact_key(attempt.incident.target)}"
    summary = f"{attempt.incident.target}: {attempt.outcome.value}"
    create_markdown_artifact(attempt_markdown(attempt, events), key=key, description=summary)


@step("Write the report of the channels", timeout=timedelta(minutes=5))
def publish_trial(done: tuple[Delivery, ...]) -> None:
    """Publish which channels took a message as an artifact."""
    failed = [one.channel for one in done if not one.is_delivered]
    summary = f"Does not work: {', '.join(failed)}" if failed else "Every channel took it"
    create_markdown_artifact(trial_markdown(done), key="channels", description=summary)


@step("Write the report of the locks", timeout=timedelta(minutes=5))
def publish_release(done: Release) -> None:
    """Publish who waited for whom, and what was done about it, as an artifact."""
    key = f"locks-{artifact_key(done.before.database)}"
    create_markdown_artifact(release_markdown(done), key=key, description=summary(done.after or done.before))


@step("Write the report of the load", timeout=timedelta(minutes=5))
def publish_relief(done: Relief) -> None:
    """Publish what weighed on the database, and what was done about it, as an artifact."""
    key = f"load-{artifact_key(done.load.picture.database)}"
    title = relief_question(done.load, done.plan).title if not done.plan.is_empty else "Nothing has to be done"
    create_markdown_artifact(relief_markdown(done), key=key, description=title)


@step("Write the report of the triggers", timeout=timedelta(minutes=5))
def publish_pause(report: PauseReport) -> None:
    """Publish what was switched off, put back and compared, as an artifact."""
    key = f"triggers-{artifact_key(report.database)}"
    title = report.problems[0] if report.problems else str(report.plan)
    create_markdown_artifact(pause_markdown(report), key=key, description=title)


@step("Write the report of the mishap", timeout=timedelta(minutes=5))
def publish_mishap(report: MishapReport) -> None:
    """Publish what was applied where, the way back, and what came of it, as an artifact."""
    wrong, right = report.mishap.wrong.database, report.mishap.right.database
    key = f"mishap-{artifact_key(wrong)}"
    create_markdown_artifact(mishap_markdown(report), key=key, description=f"Applied to {wrong}, meant for {right}")


@step("Write the report of the corruption", timeout=timedelta(minutes=5), detail=str)
def publish_corruption(found: Examination, loaded: Loaded | None = None) -> Path:
    """Write the report beside the evidence, and publish it as an artifact; returns the file's path.

    Raises:
        ToolError: The file cannot be written.
    """
    text, path = corruption_markdown(found, loaded), found.folder / REPORT_FILE
    write_file(text, path)
    # Two keys: a run that asks for a yes shows what it found before, and what it made afterwards.
    key = f"{'corruption' if loaded is None else 'salvaged'}-{artifact_key(found.database)}"
    create_markdown_artifact(text, key=key, description=corruption_summary(found, loaded))
    return path


@step("Write the report of the undo", timeout=timedelta(minutes=5))
def publish_undo(report: UndoReport, database: str) -> None:
    """Publish what would be, or was, undone as an artifact: numbers and keys, no values of rows."""
    summary = f"{'Would undo' if report.dry_run else 'Undone'}: {report.changes:,} rows"
    create_markdown_artifact(undo_markdown(report, database), key=f"undo-{artifact_key(database)}", description=summary)


@step("Write the report of the rehearsal", timeout=timedelta(minutes=5), detail=str)
def publish_rehearsal(report: RehearsalReport) -> Path:
    """Write the report as a file, and publish it as an artifact; returns the file's path.

    Raises:
        ToolError: The file cannot be written.
    """
    text, path = rehearsal_markdown(report), rehearsal_path(report)
    write_file(text, path)
    key = rehearsal_key(report.database)
    rollouts = {f"rollout to {report.fleet}": f"rollout-{artifact_key(report.fleet)}"} if report.fleet else {}
    create_markdown_artifact(with_pages(text, rollouts), key=key, description=rehearsal_summary(report))
    return path


@step("Publish the checks", timeout=timedelta(minutes=5))
def publish_checks(fleet: str, rows: tuple[CheckRow, ...]) -> None:
    """Publish what was looked at before a rollout as an artifact."""
    title = f"Checks of {fleet} before the rollout"
    publish(create_markdown_artifact, check_table(rows), key=rollout_key(fleet, "checks"), description=title)


@step("Publish the stage", timeout=timedelta(minutes=5))
def publish_stage(fleet: str, stage: str, results: tuple[TargetResult, ...], *, what: str = "") -> None:
    """Publish what became of each target of a stage as a table.

    Args:
        fleet: Its name.
        stage: The stage's name.
        results: Of each target.
        what: What was done besides applying, as part of the key; empty for applying.
    """
    key = rollout_key(fleet, stage) + (f"-{what}" if what else "")
    title = f"Stage {stage} of {fleet}: {result_words(results)}"
    publish(create_table_artifact, result_rows(results), key=key, description=title)


@step("Write the report of the rollout", timeout=timedelta(minutes=5), detail=str)
def publish_rollout(report: RolloutReport) -> Path:
    """Write the report as a file, and publish it as an artifact; returns the file's path.

    Raises:
        ToolError: The file cannot be written.
    """
    text, path = rollout_markdown(report), rollout_path(report)
    write_file(text, path)
    key, title = f"rollout-{artifact_key(report.fleet)}", rollout_summary(report)
    linked = with_pages(text, _keys_of_rollout(report))
    publish(create_markdown_artifact, linked, key=key, description=title)
    picture = rollout_picture(report)
    if picture:
        write_file(picture, path.with_suffix(".png"))
        publish(create_picture_artifact, picture, key=f"{key}-timeline", description=title)
    return path


def _keys_of_rollout(report: RolloutReport) -> dict[str, str]:
    def key(part: str) -> str:
        return rollout_key(report.fleet, part)

    stages = {f"stage {one.name}": key(one.name) for one in report.stages if one.results}
    checks = {"checks": key("checks")} if report.checks else {}
    picture = {"who was migrated when": key("timeline")} if stages else {}
    rehearsals = {f"rehearsal for {one.database}": rehearsal_key(one.database) for one in report.certificates}
    return {**picture, **stages, **checks, **rehearsals}


@step("Write the report of the restore", timeout=timedelta(minutes=5))
def publish_restore(report: RestoreReport) -> None:
    """Publish what was restored, from what, and how it compares, as an artifact."""
    key = f"restore-{artifact_key(report.plan.database)}"
    create_markdown_artifact(restore_markdown(report), key=key, description=restore_summary(report))


@step("Write the report of the rebuild", timeout=timedelta(minutes=5))
def publish_rebuild(report: RebuildReport) -> None:
    """Publish what is there again, from what, and what is lost, as an artifact."""
    key = f"rebuild-{artifact_key(report.saved.system_identifier)}"
    publish(create_markdown_artifact, rebuild_markdown(report), key=key, description=rebuild_summary(report))


def rollout_key(fleet: str, part: str) -> str:
    """The key of an artifact of a rollout: `checks`, or a stage's name."""
    return f"rollout-{artifact_key(fleet)}-{artifact_key(part)}"


def rehearsal_key(database: str) -> str:
    """The key of what a rehearsal for a database found."""
    return f"rehearsal-{artifact_key(database)}"


def artifact_key(name: str) -> str:
    """A name as part of an artifact's key, where only small letters, digits and `-` are allowed."""
    return "".join(one if one.isascii() and one.isalnum() else "-" for one in name.lower()).strip("-") or "unnamed"


def path_of(report: DrillReport) -> Path:
    """Where a report is written: `.squizzle/reports` where we are, or the folder that SQUIZZLE_REPORTS names."""
    slug = report.scenario.value.replace("_", "-")
    return _folder() / f"drill-{slug}-{report.started_at:%Y%m%dT%H%M%SZ}-{report.run_id}.md"


def drills_path(run: DrillRun) -> Path:
    """Where the combined report of several disasters is written; see `path_of`."""
    return _folder() / f"drill-all-{run.started_at:%Y%m%dT%H%M%SZ}-{run.run_id}.md"


def recovery_path(report: RecoveryReport) -> Path:
    """Where the report of a recovery is written; see `path_of`."""
    return _folder() / f"recovery-{artifact_key(report.database)}-{report.started_at:%Y%m%dT%H%M%SZ}.md"


def rehearsal_path(report: RehearsalReport) -> Path:
    """Where the report of a rehearsal is written; see `path_of`."""
    return _folder() / f"rehearsal-{artifact_key(report.database)}-{report.started_at:%Y%m%dT%H%M%SZ}.md"


def rollout_path(report: RolloutReport) -> Path:
    """Where the report of a rollout is written; see `path_of`."""
    return _folder() / f"rollout-{artifact_key(report.fleet)}-{report.started_at:%Y%m%dT%H%M%SZ}.md"


def _folder() -> Path:
    return Path(os.environ.get(REPORTS_VARIABLE) or _DEFAULT_REPORTS).absolute()


def write_file(content: str | bytes, path: Path) -> None:
    """Write a report, or a picture of one: all of it or nothing, so that an earlier one of that name is never half.

    Raises:
        ToolError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One name for all tries, so that what a killed one left is written over.
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(content.encode() if isinstance(content, str) else content)
        new.replace(path)
    except OSError as exc:
        raise ToolError(
            f"the report could not be written to {path}: {exc.strerror}",
            hint=f"set {REPORTS_VARIABLE} to a folder that can be written",
        ) from exc
