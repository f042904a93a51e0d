"""Telling what happens in a rollout: an event for automations, and a line of the report's picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prefect.events import emit_event

from squizzle.rollout.transitions import Happening, Transition
from tasks.steps import now

_kept: ContextVar[list[Transition] | None] = ContextVar("squizzle_transitions", default=None)


@contextmanager
def keep_transitions() -> Iterator[list[Transition]]:
    """Collect what is told inside."""
    kept: list[Transition] = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def tell(rollout_id: str, what: str, *, stage: str = "", **facts: str | int | list[str]) -> None:
    """Send an event that people hang their own automations on: `squizzle.rollout.<what>`.

    Args:
        rollout_id: The rollout; part of the event's resource.
        what: A `Happening`.
        stage: In which stage; empty for the whole rollout.
        facts: What else the event says.
    """
    one = Transition(at=now(), what=Happening(what), stage=stage, facts=facts)
    kept = _kept.get()
    if kept is not None:
        kept.append(one)
    emit_event(
        event=f"squizzle.rollout.{one.what.value}",
        resource={"prefect.resource.id": f"squizzle.rollout.{rollout_id}", "prefect.resource.name": rollout_id},
        payload={"at": one.at.isoformat(), "rollout_id": rollout_id, **({"stage": stage} if stage else {}), **facts},
    )
