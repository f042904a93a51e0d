"""The procedure of a flow run in this process, with Prefect's temporary API: what the verbs of the command do.

Nothing of Prefect is imported before it is needed: it reads its settings when it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import click

from squizzle.cli.backups import who_am_i
from squizzle.cli.output import say
from squizzle.errors import RefusedError
from squizzle.postgres.decisions import Question
from squizzle.reports.terminal import StepView, print_markdown
from tasks.temporary_api import temporary_api

if TYPE_CHECKING:
    from tasks.approval import Approval

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Procedure(Generic[R]):
    """What a verb runs, once Prefect may be imported.

    Attributes:
        work: Does it.
        path: Where its report is written.
    """

    work: Callable[[], R]
    path: Callable[[R], Path]


@dataclass(frozen=True, kw_only=True, slots=True)
class Words(Generic[R]):
    """What a verb says.

    Attributes:
        title: What is done, above the steps.
        name: Of the flow.
        run_name: Of the run.
        report: The report as Markdown; shown unless only a program reads.
        agree_beforehand: What to do where nobody is at a terminal to agree.
        interrupted: What Ctrl-C leaves, and what to do then.
    """

    title: str
    name: str
    run_name: str
    report: Callable[[R], str]
    agree_beforehand: str
    interrupted: str


def run_here(words: Words[R], load: Callable[[], Procedure[R]], *, quiet: bool) -> R:
    """Run a procedure as a flow in this process; its steps are shown as they happen, and its questions asked here.

    Args:
        words: What is said.
        load: Imports what the procedure needs and gives it; called when Prefect may be imported.
        quiet: Whether the report is left out: only a program reads.

    Returns:
        What the procedure gave.

    Raises:
        Exception: What the procedure raised.
    """
    try:
        with StepView(words.title) as view, temporary_api() as wait_for_api:
            from prefect import flow  # noqa: PLC0415 - Prefect reads its settings when it is imported

            from tasks.approval import answered_by  # noqa: PLC0415 - same
            from tasks.outcome import report_of  # noqa: PLC0415 - same
            from tasks.steps import watched_by  # noqa: PLC0415 - same

            procedure = load()

            # Without parameters: Prefect keeps those of every run, and here are no blocks to refer to.
            @flow(name=words.name, flow_run_name=words.run_name, persist_result=False)
            def here() -> R:
                return procedure.work()

            wait_for_api()
            with (
                watched_by(view),
                answered_by(partial(ask_at_terminal, view, words.agree_beforehand)),
            ):
                state = here(return_state=True)
    except KeyboardInterrupt:
        say(f"interrupted: {words.interrupted}")
        raise
    result: R | BaseException = report_of(state)
    if isinstance(result, BaseException):
        raise result
    if not quiet:
        print_markdown(words.report(result))
    view.console.print(f"report: {procedure.path(result)}", highlight=False, soft_wrap=True)
    return result


def ask_at_terminal(view: StepView, agree_beforehand: str, question: Question) -> Approval:
    """Ask whoever sits at the terminal; a whole word, so that no habit answers."""
    from tasks.approval import Approval, ApprovalByName  # noqa: PLC0415 - Prefect reads its settings when imported

    if not sys.stdin.isatty():
        raise RefusedError(f"{question.title}: nobody is at a terminal to agree", hint=agree_beforehand)
    with view.aside():
        print_markdown(f"# {question.title}\n\n{question.plan}\n", view.console)
        said: str = click.prompt("Type approve to do it at once; anything else rejects it", err=True)
        is_yes = said.strip() == "approve"
        typed = ""
        if is_yes and question.name_to_type:
            typed = click.prompt("Type the name of the database or fleet that it is about", err=True)
    decision: Literal["approve", "reject"] = "approve" if is_yes else "reject"
    comment = "" if is_yes else f"said {said!r}"
    if question.name_to_type:
        return ApprovalByName(decision=decision, approver=who_am_i(), comment=comment, typed_name=typed)
    return Approval(decision=decision, approver=who_am_i(), comment=comment)
