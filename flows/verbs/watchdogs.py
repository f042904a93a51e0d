"""The verb that sets the dead-man switches of a Prefect server; see `flows.verbs`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from squizzle.cli.names import fleets
from squizzle.cli.output import print_result, table
from squizzle.config import load_config
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError

if TYPE_CHECKING:
    # Loads Prefect, which reads its settings when it is imported.
    from tasks.watchdogs import Watchdog


def _duration(_context: click.Context, option: click.Parameter, value: str) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as exc:
        raise InvalidInputError(f"--{option.name} {value}: {exc}", hint="write 15m, 26h or 35d") from exc


@click.command()
@click.option("--notify", "block", metavar="BLOCK", help="Who is told: slack-webhook/ops, webhook/NAME ...")
@click.option(
    "--fleet",
    "fleets",
    multiple=True,
    metavar="NAME",
    help="Its sweeps; without: all of squizzle.toml.",
    shell_complete=fleets,
)
@click.option("--database", "databases", multiple=True, metavar="ENV/NAME", help="Its backups; without: any database.")
@click.option("--sweep", default="15m", show_default=True, callback=_duration, help="No sweep for so long.")
@click.option("--backup", default="26h", show_default=True, callback=_duration, help="No backup for so long.")
@click.option("--drill", default="35d", show_default=True, callback=_duration, help="No drill that passed for so long.")
@click.option("--approval", default="1h", show_default=True, callback=_duration, help="A run has waited for so long.")
@click.option("--remove", is_flag=True, help="Remove them all; automations of others stay.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="squizzle.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def watchdogs(  # noqa: PLR0913 - one argument an option
    *,
    block: str | None,
    fleets: tuple[str, ...],
    databases: tuple[str, ...],
    sweep: timedelta,
    backup: timedelta,
    drill: timedelta,
    approval: timedelta,
    remove: bool,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Have people told of what did not happen, by automations of the Prefect that PREFECT_API_URL names.

    Safe to repeat: what is as it should be is left alone, what was switched off stays off. Exit code 1 when one of them
    is not heard by anybody.

    \b
    Examples:
      squizzle watchdogs --notify slack-webhook/ops
      squizzle watchdogs --notify slack-webhook/ops --fleet shops --database production/shop
      squizzle watchdogs --remove
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    # Prefect reads its settings when it is imported.
    from tasks.prefect_approvals import open_prefect  # noqa: PLC0415
    from tasks.watchdogs import ANY, Watched, WatchLimits, remove_watchdogs, set_watchdogs  # noqa: PLC0415

    watched = Watched(
        fleets=fleets or tuple(load_config(config_file).fleets) or ANY,
        databases=databases or ANY,
        limits=WatchLimits(sweep=sweep, backup=backup, drill=drill, approval=approval),
    )
    if remove and block:
        raise InvalidInputError("--remove tells nobody", hint="leave out --notify, or --remove")
    with open_prefect() as client:
        done = remove_watchdogs(client) if remove else set_watchdogs(client, watched, block=block)
    document = [{"name": one.name, "change": one.change.value, "on": one.is_on, "heard": one.is_heard} for one in done]
    print_result({"watchdogs": document}, _listed(done), as_json=as_json)
    return 1 if any(one.barks_unheard for one in done) else 0


def _listed(done: Sequence[Watchdog]) -> str:
    if not done:
        return "there is none"
    rows = [
        (one.name, one.change.value, "on" if one.is_on else "OFF", "told" if one.is_heard else "NOBODY is told")
        for one in done
    ]
    lines = [table(("automation", "change", "state", "people"), rows)]
    if any(one.barks_unheard for one in done):
        lines.append("name who is told: squizzle watchdogs --notify slack-webhook/NAME (docs/watchdogs.md)")
    return "\n".join(lines)
