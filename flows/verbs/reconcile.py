"""The verb that says where the targets of a fleet stand, and starts the rollout that brings them on or back."""

from __future__ import annotations

import os
from pathlib import Path

import click

from flows.verbs.roll_out import roll_out
from squizzle.cli.backups import store_of
from squizzle.cli.fleet import settings_of
from squizzle.cli.names import fleets
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.errors import CouldNotVerifyError, InvalidInputError
from squizzle.postgres.access import parse_url
from squizzle.reports.reconcile import HEADINGS, reconciliation_json, reconciliation_text, standing_rows
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.reconciling import FleetState, Reconciliation
from squizzle.rollout.survey import survey_fleet
from squizzle.rollout.under_way import reconcile_fleet

_CODES = {FleetState.WHOLE: 0, FleetState.HALF_MIGRATED: 1, FleetState.NOT_ALL_SEEN: CouldNotVerifyError.code}


@click.command()
@click.argument("fleet", shell_complete=fleets)
@click.option("--on", "goes_on", is_flag=True, help="Go on: the same as `roll-out FLEET --stages FILE`.")
@click.option(
    "--back", "goes_back", is_flag=True, help="Go back: the same as `roll-out FLEET --stages FILE --go-back`."
)
@click.option("--stages", type=click.Path(path_type=Path), metavar="FILE", help="The stages file, for --on and --back.")
@click.option("--section", metavar="NAME", help="Which section of it, where it has several.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Of the rollout, for --on and --back.")
@click.option("--store", "address", metavar="URL", help="Where certificates are; without it: [backups] store.")
@click.option("--control", metavar="URL", help="Where rollouts are written down, if not in the first canary.")
@common_options
@click.pass_context
def reconcile(  # noqa: PLR0913 - one argument an option
    context: click.Context,
    invocation: Invocation,
    *,
    fleet: str,
    goes_on: bool,
    goes_back: bool,
    stages: Path | None,
    section: str | None,
    labels: tuple[str, ...],
    address: str | None,
    control: str | None,
) -> int:
    """Show where each target of FLEET stands, and what it takes to go on or back.

    Without --on and --back nothing is changed; what they need besides (checks, backups) are options of `roll-out`.
    Exit codes: 0 all targets are together; 1 half-migrated; 10 those that answered are together, some did not answer;
    with --on or --back those of `roll-out`.

    \b
    Examples:
      squizzle reconcile customers
      squizzle reconcile customers --json | jq -r '.targets[] | select(.back) | .name'
      squizzle reconcile customers --stages rollout.yaml --back
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if goes_on and goes_back:
        raise InvalidInputError("--on and --back are opposites", hint="give one of them")
    if goes_on or goes_back:
        if stages is None:
            raise InvalidInputError("a rollout needs stages", hint="name their file with --stages FILE")
        if invocation.migrations_folder or invocation.layout or invocation.schema:
            raise InvalidInputError(
                "a rollout takes its migrations and schema from squizzle.toml",
                hint="leave out --migrations, --layout and --schema",
            )
        code: int = context.invoke(
            roll_out,
            fleet=fleet,
            stages=stages,
            section=section,
            labels=labels,
            address=address,
            control=control,
            config_file=context.params["config_file"],
            go_back=goes_back,
            as_json=invocation.as_json,
        )
        return code
    found = _look(invocation, fleet, address, control)
    columns = table(HEADINGS, standing_rows(found))
    print_result(reconciliation_json(found), reconciliation_text(found, columns), as_json=invocation.as_json)
    return _CODES[found.state]


def _look(invocation: Invocation, name: str, address: str | None, control: str | None) -> Reconciliation:
    config = invocation.config
    settings = settings_of(invocation, name)
    migrations = invocation.migrations()
    fleet = discover_fleet(settings, default_schema=invocation.schema or config.schema, environ=os.environ)
    has_store = address or config.backups.store
    return reconcile_fleet(
        settings,
        fleet,
        survey_fleet(fleet, settings, migrations, environ=os.environ),
        migrations,
        control=parse_url(control) if control else None,
        store=store_of(address, config) if has_store else None,
        environ=os.environ,
    )
