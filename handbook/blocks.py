"""Every type of block: what its form asks for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from prefect.blocks.core import Block

import blocks

_INTRODUCTION = """\
# Blocks

What Prefect keeps for the flows: one outside system each, saved once under a name, chosen in the forms of
[the deployments](deployments.md) (rendered by `make docs`). `prefect block register --module blocks` makes the types
known; `make up` does it by itself. Fields marked *secret* are kept encrypted by Prefect and never shown again.
"""


def render_blocks() -> str:
    """The whole page."""
    own = [one for _, one in inspect.getmembers(blocks, inspect.isclass) if issubclass(one, Block)]
    named = sorted(own, key=lambda one: one.get_block_type_name() or "")
    return "\n".join([_INTRODUCTION, *(line for one in named for line in _described(one))])


def _described(block: type[Block]) -> Iterator[str]:
    yield f"## {block.get_block_type_name()}\n"
    yield f"{block.get_description()}\n"
    schema: dict[str, Any] = block.model_json_schema()
    required = set(schema.get("required", ()))
    yield "| field | name | | default |"
    yield "|---|---|---|---|"
    for name, field in schema["properties"].items():
        words = str(field.get("description", "")).replace("|", "\\|").replace("\n", " ")
        secret = "*secret.* " if _is_secret(field) else ""
        default = "required" if name in required else _default(field.get("default"))
        yield f"| {field.get('title', name)} | `{name}` | {secret}{words} | {default} |"
    yield ""


def _is_secret(field: dict[str, Any]) -> bool:
    return any(one.get("format") == "password" for one in (field, *field.get("anyOf", ())))


def _default(value: object) -> str:
    return "" if value in (None, "", [], {}) else f"`{value}`"
