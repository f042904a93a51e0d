"""A migration that went to the wrong database: taken back there, then offered to the right one; a yes for each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, cast

from prefect import flow

from blocks import PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.errors import RefusedError
from squizzle.reports.wrong_environment import MishapReport, forward_question, way_back_question
from tasks.approval import gate
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_mishap
from tasks.steps import keep_journal
from tasks.wrong_environment import (
    apply_forward,
    document_mishap,
    generate_ways_back,
    run_ways_back,
    see_forward,
)

STEPS = 10

DESCRIPTION = """\
Takes versions back that were applied to the wrong database, and offers to apply them to the right one.

1. documents both: who each says it is, and what is only in the wrong one; without versions it ends here
2. finds the way back: the down script, or a generated one that was executed on a scratch copy and compared
3. **dry run** (the default) stops here; otherwise the run pauses until a person approves this very SQL
4. takes the versions back, newest first, and compares the schema with what the run before them had left
5. shows what the right database lacks, and pauses again: a second yes applies it there

A way back that loses data is refused unless *Accept loss* says otherwise.
"""

Wrong = Annotated[PostgresDatabase, shown(title="Wrong database", description="Where it should not have been applied.")]
Right = Annotated[PostgresDatabase, shown(title="Right database", description="Where it was meant to be applied.")]
ProjectFolder = Annotated[
    str, shown(min_length=1, title="Project", description="The folder with squizzle.toml, as the worker sees it.")
]
Versions = Annotated[
    tuple[str, ...], shown(title="Versions", description="What was applied by mistake. Empty: only find out.")
]
DryRun = Annotated[bool, shown(title="Dry run", description="Only show what would be done.")]
Loss = Annotated[bool, shown(title="Accept loss", description="Accept a generated way back that loses something.")]
ThenApply = Annotated[bool, shown(title="Then apply", description="Afterwards, offer to apply to the right database.")]
Patience = Annotated[
    int, shown(ge=1, le=1440, title="Approval minutes", description="After so long without an answer the run ends.")
]


@flow(
    name="undo-wrong-environment",
    flow_run_name=run_named("undo {versions} in {wrong}, meant for {right}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def undo_wrong_environment(
    wrong: Wrong,
    right: Right,
    project: ProjectFolder,
    versions: Versions = (),
    *,
    dry_run: DryRun = True,
    accept_loss: Loss = False,
    then_apply: ThenApply = True,
    approval_minutes: Patience = 240,
) -> MishapReport:
    """Take versions back in the wrong database, then apply them to the right one; each after a person's yes.

    Args:
        wrong: Where they should not have been applied.
        right: Where they were meant to be.
        project: The folder with squizzle.toml.
        versions: What was applied by mistake; empty to only find out.
        dry_run: Whether only the plan is shown.
        accept_loss: Whether a generated way back may lose something.
        then_apply: Whether to offer to apply to the right database.
        approval_minutes: How long to wait for a person, each time.

    Returns:
        What was found and done; inside a Failed state when the schema is not as it was before.
    """
    refuse_inline(wrong, right)
    timeout = timedelta(minutes=approval_minutes)
    folder = Path(project)
    with keep_journal(progress_artifact("undo-progress", total=STEPS, what="Progress of taking it back")):
        report = plan_mishap(wrong, right, folder, versions, accept_loss=accept_loss)
        if (report.ways or report.mishap.gone) and not dry_run:
            report = take_back_mishap(report, wrong, right, folder, then_apply=then_apply, patience=timeout)
        publish_mishap(report)
    if report.taken_back is None or report.taken_back.schema_is_as_before is not False:
        return report
    message = f"{wrong.database}: the schema is not as it was before; squizzle verify tells more"
    # A flow that returns a state ends in that state; what was done travels as its data.
    return cast("MishapReport", failed(message, report))


def plan_mishap(
    wrong: PostgresDatabase, right: PostgresDatabase, folder: Path, versions: tuple[str, ...], *, accept_loss: bool
) -> MishapReport:
    """Document what was applied where, and find the ways back; nothing is changed."""
    mishap = document_mishap(wrong, right, folder, versions)
    report = MishapReport(mishap=mishap)
    still = tuple(one for one in mishap.versions if one not in mishap.gone)
    if not still:
        return report
    return replace(report, ways=generate_ways_back(wrong, folder, still, accept_loss=accept_loss))


def take_back_mishap(
    report: MishapReport,
    wrong: PostgresDatabase,
    right: PostgresDatabase,
    folder: Path,
    *,
    then_apply: bool,
    patience: timedelta,
) -> MishapReport:
    """Ask, take the versions back, ask again, and apply them where they belong; inside a flow.

    Args:
        report: What was planned, with ways back.
        wrong: Where they should not have been applied.
        right: Where they were meant to be.
        folder: The project.
        then_apply: Whether to offer to apply to the right database.
        patience: How long to wait for a person, each time.

    Raises:
        RefusedError: The first answer was no; nothing was changed.
    """
    if report.ways:
        gate(way_back_question(report.mishap, report.ways), database=wrong, timeout=patience)
        report = replace(report, taken_back=run_ways_back(wrong, folder, report.ways))
    return _apply_to_the_right_one(report, right, folder, patience) if then_apply else report


def _apply_to_the_right_one(
    report: MishapReport, right: PostgresDatabase, folder: Path, timeout: timedelta
) -> MishapReport:
    """The second yes; without it what was taken back stays so."""
    forward = see_forward(right, folder, to=report.mishap.versions[0])
    report = replace(report, forward=forward)
    if not forward:
        return replace(report, applied=())
    try:
        gate(forward_question(report.mishap, forward), database=right, timeout=timeout)
    except RefusedError as exc:
        return replace(report, not_applied_because=exc.message)
    return replace(report, applied=apply_forward(right, folder, forward))
