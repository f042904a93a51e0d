"""The procedure of a flow run in this process, with Prefect's temporary API: what the verbs of the command do.

Nothing of Prefect is imported before it is needed: it reads its settings when it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import click
from rich.console import Console

from squizzle.cli.backups import who_am_i
from squizzle.cli.output import say
from squizzle.errors import RefusedError
from squizzle.postgres.decisions import Question
from squizzle.reports.terminal import StepView, print_markdown
from tasks.temporary_api import temporary_api

if TYPE_CHECKING:
    from tasks.approval import Approval

R = TypeVar("R")


def run_here(
    title: str,
    *,
    name: str,
    run_name: str,
    load: Callable[[], Callable[[], R]],
    agree_beforehand: str,
    interrupted: str,
) -> tuple[R, Console]:
    """Run a procedure as a flow in this process; its steps are shown as they happen, and its questions asked here.

    Args:
        title: What is done, above the steps.
        name: Of the flow.
        run_name: Of the run.
        load: Imports what the procedure needs and gives it; called when Prefect may be imported.
        agree_beforehand: What to do where nobody is at a terminal to agree.
        interrupted: What Ctrl-C leaves, and what to do then.

    Returns:
        What the procedure gave, and where its steps were shown.

    Raises:
        Exception: What the procedure raised.
    """
    try:
        with StepView(title) as view, temporary_api() as wait_for_api:
            from prefect import flow  # noqa: PLC0415 - Prefect reads its settings when it is imported

            from tasks.approval import answered_by  # noqa: PLC0415 - same
            from tasks.steps import watched_by  # noqa: PLC0415 - same

            work = load()

            # Without parameters: Prefect keeps those of every run, and here are no blocks to refer to.
            @flow(name=name, flow_run_name=run_name, persist_result=False)
            def here() -> R:
                return work()

            wait_for_api()
            with watched_by(view), answered_by(partial(ask_at_terminal, view, agree_beforehand)):
                state = here(return_state=True)
    except KeyboardInterrupt:
        say(f"interrupted: {interrupted}")
        raise
    result: R | BaseException = state.result(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    return result, view.console


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
