"""How a flow ends that did what it should and found that something is not well: failed, with its report."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Failed


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
