"""The verb that looks how databases are."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from squizzle.backups.open_store import configured_store
from squizzle.cli.fleet import settings_of
from squizzle.cli.health_trend import DEFAULT_SINCE, show_trend
from squizzle.cli.names import fleets
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Target
from squizzle.reports.health import health_document, health_markdown
from squizzle.reports.terminal import print_markdown
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.reaching import Reach, servers_of
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import FleetSettings
from squizzle.sweep.sweeping import SweepOrder, expected_of, sweep_fleet
from squizzle.sweep.view import VIEW, VIEW_VERSION, ViewState, install_everywhere

_ONE = "database"


@click.command()
@click.argument("fleet", required=False, shell_complete=fleets)
@click.option("--alerts", "files", multiple=True, metavar="FILE", help="Alert rules; `guide` for those that ship.")
@click.option("--drift", is_flag=True, help="Compare schemas with what the last run left, too.")
@click.option("--install", is_flag=True, help="Make the view squizzle.health_check, or bring it up to date, instead.")
@click.option(
    "--trend",
    "metric",
    is_flag=False,
    flag_value="",
    metavar="[METRIC]",
    help="What moved in the sweeps that were kept, or one metric over time, instead.",
)
@click.option(
    "--since", default=DEFAULT_SINCE, show_default=True, help="With --trend: an age (12h, 7d) or an ISO time."
)
@click.option("--store", "address", metavar="URL", help="With --trend: where sweeps are; else [backups] store.")
@common_options
def health(
    invocation: Invocation,
    fleet: str | None,
    *,
    files: tuple[str, ...],
    drift: bool,
    install: bool,
    metric: str | None,
    since: str,
    address: str | None,
) -> int:
    """Look how a FLEET is, or one database (--env, --url): one sweep. Nothing is changed, and nobody is told.

    Exit code 1 when something is not well or could not be found out; with --install, where there is no view.

    \b
    Examples:
      squizzle health shops
      squizzle health --env production --alerts alerts.yml --json
      squizzle health shops --install
      squizzle health shops --trend connections --since 12h
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if install and (files or drift):
        raise InvalidInputError("--install looks at nothing", hint="leave out --alerts and --drift")
    if metric is not None:
        if fleet is None or install:
            raise InvalidInputError("--trend is about a FLEET, and shows only", hint="squizzle health FLEET --trend")
        return show_trend(invocation, fleet, metric, since, address)
    from squizzle.alerts.rules import read_alert_rules  # noqa: PLC0415 - YAML, for which no --help need wait

    order, accesses = _one(invocation) if fleet is None else _fleet(invocation, fleet)
    if install:
        return _install(invocation, order, accesses)
    rules = read_alert_rules([*order.settings.watch.alerts, *files])
    reach = Reach(accesses, deadline=order.settings.deadline, purpose="health")
    opens = configured_store(invocation.config.backups)
    sweep = sweep_fleet(replace(order, rules=rules, drift=drift, store=opens), reach)
    if invocation.as_json:
        print_result(health_document(sweep), "", as_json=True)
    else:
        print_markdown(health_markdown(sweep))
    return 0 if sweep.is_ok else 1


def _install(invocation: Invocation, order: SweepOrder, accesses: dict[str, tuple[ServerAccess, str]]) -> int:
    fleet = order.fleet
    meant = Target(database=fleet.name, expected=order.expected)
    databases = len({(one.server, one.database) for one in fleet.targets})
    invocation.confirm(f"make the view {VIEW} in {databases:,} databases", meant, None)
    reach = Reach(accesses, deadline=order.settings.deadline, purpose="health view", read_only=False)
    done = install_everywhere(fleet.targets, order.expected, order.settings, reach)
    rows = [(one.server, one.database, one.state.value, one.detail) for one in done]
    rows += [(one.server, "", ViewState.FAILED.value, one.why) for one in fleet.unreachable]
    names = ("server", "database", "state", "detail")
    document = {
        "fleet": fleet.name,
        "version": VIEW_VERSION,
        "views": [dict(zip(names, row, strict=True)) for row in rows],
    }
    print_result(document, table(names, rows), as_json=invocation.as_json)
    return 1 if any(row[2] == ViewState.FAILED.value for row in rows) else 0


_Found = tuple[SweepOrder, dict[str, tuple[ServerAccess, str]]]


def _fleet(invocation: Invocation, name: str) -> _Found:
    settings = settings_of(invocation, name)
    schema = invocation.schema or invocation.config.schema
    found = discover_fleet(settings, default_schema=schema, environ=os.environ)
    order = SweepOrder(fleet=found, expected=expected_of(found), settings=settings)
    return order, servers_of(found, found.targets, environ=os.environ)


def _one(invocation: Invocation) -> _Found:
    access, target = invocation.target()
    one = FleetTarget(name=target.database, server=_ONE, database=target.database, schema=target.schema)
    found = Fleet(name=target.database, environment=target.expected.environment, servers={}, targets=(one,))
    order = SweepOrder(fleet=found, expected=target.expected, settings=FleetSettings(name=found.name))
    return order, {_ONE: (access, target.database)}
