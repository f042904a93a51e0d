"""Signs of life: an event for what has to happen again and again, so that its absence is noticed (`watchdogs`)."""

from __future__ import annotations

from enum import StrEnum

from prefect.events import emit_event


class Sign(StrEnum):
    """What was done, and done well. The value is the event's name."""

    SWEPT = "squizzle.sweep.done"
    SAVED = "squizzle.backup.done"
    DRILLED = "squizzle.drill.passed"

    def resource(self, name: str) -> str:
        """The id of what it was done to; `*` for anything.

        Args:
            name: A fleet, a database as `ENVIRONMENT/NAME`, the scenario of a drill.
        """
        return f"squizzle.{_OF[self]}.{name}"


_OF = {Sign.SWEPT: "fleet", Sign.SAVED: "database", Sign.DRILLED: "scenario"}


def give_sign(sign: Sign, name: str) -> None:
    """Send the event. It is sent behind our back: nothing fails when Prefect does not hear it.

    Args:
        sign: What was done.
        name: To what, as `Sign.resource` has it.
    """
    emit_event(event=sign.value, resource={"prefect.resource.id": sign.resource(name), "prefect.resource.name": name})
