"""What every task of ours is: one step with a title, retried when that can help, timed, and never cached."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from prefect.runtime import flow_run
from prefect.utilities.annotations import quote

from squizzle.errors import SquizzleError
from squizzle.headway import told_to
from squizzle.interrupts import heed_interrupt
from squizzle.postgres.translation import translated
from squizzle.recovery.evidence import Step, StepState
from squizzle.reports.headway import HeadwayLog
from tasks.chaos import chaos_of_environment, disturbed

P = ParamSpec("P")
R = TypeVar("R")

# Two more tries, a second and five seconds later: enough for a restarting server or a lock that was just let go.
_RETRY_DELAYS = [1.0, 5.0]
_JITTER = 0.5


# Somebody who is told whenever a step begins or ends: all steps so far, the last one may be running.
Watcher = Callable[[tuple[Step, ...]], None]


class Journal:
    """The steps of one flow run, in order, with their times."""

    def __init__(self, watchers: tuple[Watcher, ...]) -> None:
        self._watchers = watchers
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done so far."""
        return tuple(self._steps)

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Record one step; the caller may say what came of it. None is begun behind a Ctrl-C that was lost."""
        heed_interrupt()
        begun = time.monotonic()
        details: list[str] = []
        at = len(self._steps)
        self._steps.append(
            Step(title=title, started_at=datetime.now(UTC), duration=timedelta(), state=StepState.RUNNING)
        )
        self._tell()
        try:
            yield details.append
        except BaseException as exc:
            text = exc.message if isinstance(exc, SquizzleError) else type(exc).__name__
            self._end(at, StepState.FAILED, begun, text)
            raise
        self._end(at, StepState.DONE, begun, " ".join(details))

    def _end(self, at: int, state: StepState, begun: float, detail: str) -> None:
        duration = timedelta(seconds=time.monotonic() - begun)
        self._steps[at] = replace(self._steps[at], state=state, duration=duration, detail=detail)
        _log(self._steps[at])
        self._tell()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher(self.steps)


def log_line(text: str, level: int = logging.INFO) -> None:
    """Write one line into the log of the run; nowhere when there is no run."""
    try:
        logger = get_run_logger()
    except MissingContextError:
        return
    logger.log(level, text)


def _log(step: Step) -> None:
    text = f"{step.title}: {step.detail or step.state.value} ({step.duration.total_seconds():.2f} s)"
    log_line(text, logging.ERROR if step.state is StepState.FAILED else logging.INFO)


_journal: ContextVar[Journal | None] = ContextVar("squizzle_journal", default=None)
_about: ContextVar[str] = ContextVar("squizzle_about", default="")
_watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("squizzle_watchers", default=())


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Tell one more watcher about the steps of flows that run inside (a terminal, for one)."""
    token = _watchers.set((*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)


@contextmanager
def about(what: str) -> Iterator[None]:
    """Say of every step inside what it is about: the same steps of two stages are told apart in logs and pictures.

    Args:
        what: A word or two; they stand behind the title of each step.
    """
    token = _about.set(what)
    try:
        yield
    finally:
        _about.reset(token)


@contextmanager
def keep_journal(*watchers: Watcher) -> Iterator[Journal]:
    """Record the steps of the tasks that are called inside."""
    journal = Journal((*_watchers.get(), *watchers))
    token = _journal.set(journal)
    try:
        with _without_ends_of_tasks(), chaos_of_environment(partial(log_line, level=logging.WARNING)):
            yield journal
    finally:
        _journal.reset(token)


@contextmanager
def _without_ends_of_tasks() -> Iterator[None]:
    """Keep out of the log of the run what each step says better in a line of its own; how a step fails stays."""
    logger = get_logger("task_runs")
    if _says_more in logger.filters:
        yield
        return
    logger.addFilter(_says_more)
    try:
        yield
    finally:
        logger.removeFilter(_says_more)


def _says_more(record: logging.LogRecord) -> bool:
    return not (record.levelno <= logging.INFO and record.getMessage().startswith("Finished in state Completed("))


def steps_so_far() -> tuple[Step, ...]:
    """The steps of the journal that is kept; none where none is."""
    journal = _journal.get()
    return journal.steps if journal else ()


def can_be_retried(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether another try may help: our own errors say so themselves; anything else is a defect and does not."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, SquizzleError) and error.retryable


def as_task(title: str, *, timeout: timedelta) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task that is retried when that can help, and never cached; see `step`."""
    return task(
        name=title,
        # Prefect would put three letters of chance behind it. A function, not the text: that would be a template.
        task_run_name=lambda: title,
        retries=len(_RETRY_DELAYS),
        retry_delay_seconds=_RETRY_DELAYS,
        retry_jitter_factor=_JITTER,
        retry_condition_fn=can_be_retried,
        timeout_seconds=timeout.total_seconds(),
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _logged(function: Callable[P, R]) -> Callable[P, R]:
    """Let the log of the run say now and then how far long work is: one that says nothing for an hour looks dead."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # In the context of the run, which the thread that looks does not have.
        write = copy_context().run
        with told_to(HeadwayLog(lambda text: write(log_line, text))):
            return function(*args, **kwargs)

    return call


@contextmanager
def plain_step(title: str) -> Iterator[Callable[[str], None]]:
    """A step of the journal that is no task itself; the caller may say what came of it."""
    with (_journal.get() or Journal(())).step(_shown(title)) as say:
        yield say


def _shown(title: str) -> str:
    what = _about.get()
    return f"{title} ({what})" if what else title


def step(
    title: str, *, timeout: timedelta, detail: Callable[[Any], str] = lambda _result: ""
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a Prefect task that is a step of the journal.

    Args:
        title: What it does, for a person; the task's name in the UI.
        timeout: After that the attempt counts as failed.
        detail: What came of it, in a few words, from the result.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        made = as_task(title, timeout=timeout)(_logged(disturbed(title, _in_our_words(title, function))))

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            shown = _shown(title)
            # A function for the same reason: a name may have braces.
            named = made if shown == title else made.with_options(task_run_name=lambda: shown)
            with plain_step(title) as say:
                # Quoted, for Prefect would look for futures in every field of ten thousand targets, at each step.
                result: R = named(*map(quote, args), **{name: quote(value) for name, value in kwargs.items()})  # type: ignore[arg-type]
                say(detail(result))
            return result

        return call

    return decorate


def _in_our_words(title: str, function: Callable[P, R]) -> Callable[P, R]:
    """A session that is lost between two statements fails the step with an error that says whether to try again."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with translated(doing=f"carry out the step {title!r}"):
            return function(*args, **kwargs)

    return call


def run_name() -> str:
    """Who does this, for records: the run and the host; the host alone outside a run."""
    # Records are written into databases of any encoding.
    name = (flow_run.name or "").replace("→", "to")
    host = socket.gethostname()
    return f"flow run {name} on {host}" if name else host


def now() -> datetime:
    """The time, for records; the pure functions take it as an argument."""
    return datetime.now(UTC)
