"""What a run is called in lists: what it does, to what, where; and whether it is a dry run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from string import Formatter
from typing import Any

from prefect.blocks.core import Block
from prefect.runtime import flow_run

from blocks import BackupBucket, BackupFolder, Fleet, PostgresDatabase

_DRY = " (dry run)"


def run_named(template: str) -> Callable[[], str]:
    """The name of a run, made from the fields of its form when it begins; for `flow_run_name`.

    A run that only looked must not be taken for one that did something, so a dry run says so.

    Args:
        template: With names of parameters in braces: see `name_of`. What was left empty leaves no gap.
    """
    return partial(_name, template)


def name_of(template: str, given: Mapping[str, Any]) -> str:
    """The name of a run with these parameters.

    Args:
        template: `{database}` is shown as `NAME in ENVIRONMENT`, a store as its place, `{fleet}` as the fleet's name
            whether it was typed or chosen as a block.
        given: The parameters. Whatever they are there is a name: without one Prefect would not begin the run.
    """
    fleet = given.get("fleet") or given.get("fleet_block") or "no fleet"
    fields = {name for _text, name, *_rest in Formatter().parse(template) if name}
    shown = {name: _said(fleet if name == "fleet" else given.get(name)) for name in fields}
    words = " ".join(template.format(**shown).split())
    return words + (_DRY if given.get("dry_run") else "")


def _name(template: str) -> str:
    return name_of(template, flow_run.parameters)


def _said(value: Any) -> str:
    match value:
        case PostgresDatabase():
            said = f"{value.database} in {value.environment}"
        case BackupFolder():
            said = str(value.path)
        case BackupBucket():
            said = "/".join(filter(None, (f"s3://{value.bucket}", value.prefix.strip("/"))))
        case Fleet():
            said = value.fleet
        case Block():
            said = value._block_document_name or ""  # noqa: SLF001 - Prefect has no public name for it
        case list() | tuple():
            said = ", ".join(map(str, value))
        case _:
            said = "" if value is None else str(value)
    return said
