"""How a flow ends that does not end well: failed, with its report or with what an error of ours says to do next."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect.client.schemas.objects import State
from prefect.states import Failed

from squizzle.errors import SquizzleError

P = ParamSpec("P")
R = TypeVar("R")


class EndedBadly(Exception):  # noqa: N818 - it reads as a sentence where Prefect writes it into the log
    """Why a run ended Failed, with its report.

    A state's data must be an exception: of anything else Prefect writes a TypeError with all of it into the run's log,
    as if the flow had crashed (`prefect.states.get_state_exception`, 3.8).

    Attributes:
        report: What the flow would have returned.
    """

    def __init__(self, message: str, report: object) -> None:
        super().__init__(message)
        self.report = report


def failed(message: str, report: object) -> State[Any]:
    """The state of a run that ends Failed; a flow that returns it ends in it.

    Args:
        message: Stands beside the state on every page: what is not well.
        report: What the flow found; `report_of` gives it back.
    """
    return Failed(message=message, data=EndedBadly(message, report))


def report_of(state: State[Any]) -> Any:
    """What a run returned, whether it ended well or not; the error where it raised one."""
    found = state.result(raise_on_failure=False)
    return found.report if isinstance(found, EndedBadly) else found


def ends_in_our_words(function: Callable[P, R]) -> Callable[P, R]:
    """Let a flow that raises an error of ours end Failed with all that it says: message, database, next step.

    Prefect itself shows the message alone, behind the name of its class, and three tracebacks of its own and ours in
    the log. Whoever calls the flow gets the error raised, as it was.
    """
    _spare_tracebacks()

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except SquizzleError as exc:
            return cast("R", Failed(message=exc.in_one_line, data=exc))

    # Prefect evaluates annotations among the names of this module, where a flow's are not.
    call.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return call


def _spare_tracebacks() -> None:
    """Keep Prefect from writing a traceback for a run that ended as it should end, which its state says already."""
    for name in ("prefect.flow_runs", "prefect.engine"):
        logger = logging.getLogger(name)
        if _is_news not in logger.filters:
            logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line says more than the state of the run: not where it only shows an error of ours."""
    return not (record.exc_info and isinstance(record.exc_info[1], SquizzleError | EndedBadly))
