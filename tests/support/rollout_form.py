"""The form of a rollout, for tests that name a field of it without its group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.roll_out_fields import Approval, Failure, Unproven, Watching

_GROUPS = {"failure": Failure, "watching": Watching, "approval": Approval, "unproven": Unproven}


def as_form(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the flow: each field in its group."""
    given, grouped = dict(fields), {}
    for name, group in _GROUPS.items():
        grouped[name] = {field: given.pop(field) for field in group.model_fields if field in given}
    return {**given, **{name: chosen for name, chosen in grouped.items() if chosen}}
