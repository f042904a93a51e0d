"""Names that a shell completes: from squizzle.toml and from folders. No server and no bucket is ever asked.

What cannot be read completes to nothing: a shell that waits for a word is no place for an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from squizzle.backups.store_address import folder_of_address
from squizzle.config import Config, load_config
from squizzle.errors import SquizzleError
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.flyway_settings import placeholders_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def environments(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The environments of squizzle.toml."""
    return _beginning(incomplete, ((name, "") for name in _config(context).environments))


def fleets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The fleets of squizzle.toml."""
    found = _config(context).fleets.values()
    return _beginning(incomplete, ((fleet.name, fleet.environment or "") for fleet in found))


def versions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The versions of the migrations folder, with their names."""
    config = _config(context)
    folder: Path = context.params.get("migrations") or config.migrations
    layout: str = context.params.get("layout") or config.layout
    try:
        layout = detect_layout(folder) if layout == "auto" else layout
        found = read_migrations(folder, layout, placeholders=placeholders_of(os.environ))
    except SquizzleError:
        return []
    return _beginning(incomplete, ((one.version, one.name) for one in found))


def backup_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The backups of a store that is a folder, newest first."""
    address: str = context.params.get("address") or _config(context).backups.store or ""
    from squizzle.backups.folder_store import FolderStore  # noqa: PLC0415 - only for a shell that asks

    try:
        folder = folder_of_address(address)
        found = FolderStore(folder).list_ids() if folder is not None else ()
    except SquizzleError:
        return []
    return _beginning(incomplete, ((name, "") for name in found))


def _config(context: click.Context) -> Config:
    try:
        return load_config(context.params.get("config_file"))
    except SquizzleError:
        return Config()


def _beginning(incomplete: str, names: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only for a shell that asks

    return [CompletionItem(name, help=text or None) for name, text in names if name.startswith(incomplete)]
