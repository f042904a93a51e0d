"""What a parameter of a flow looks like as a field of the form that starts it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def shown(*, title: str, description: str, **constraints: Any) -> Any:
    """A field whose title and description are really shown; for `Annotated`.

    Prefect calls every field by its parameter's name and describes it as the docstring does, whatever the annotation
    says (`prefect._internal.pydantic.v2_schema.process_v2_params`, 3.8); only additions to the schema come after that.

    Args:
        title: As a person says it, for `dry_run` it is "Dry run".
        description: One or two sentences of plain text: the form shows no Markdown.
        constraints: `ge`, `le`, `min_length` and whatever else pydantic's `Field` takes.
    """
    added: dict[str, Any] = {"title": title, "description": description}
    return Field(title=title, description=description, json_schema_extra=added, **constraints)


def _in_order(schema: dict[str, Any]) -> None:
    """Prefect shows fields by their position; without it they come as its database sorts their names."""
    for position, one in enumerate(schema.get("properties", {}).values()):
        one["position"] = position


class Group(BaseModel):
    """Fields of a form that belong together, in a frame of their own.

    No block is in one: a saved block that a flow is given is kept as a reference only where it is a parameter itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_in_order)
