"""The verb that looks how databases are."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from squizzle.cli.fleet import settings_of
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.fleet_settings import FleetSettings
from squizzle.postgres.access import ServerAccess
from squizzle.reports.health import health_document, health_markdown
from squizzle.reports.terminal import print_markdown
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.reaching import Reach, servers_of
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.sweep.sweeping import SweepOrder, expected_of, sweep_fleet

_ONE = "database"


@click.command()
@click.argument("fleet", required=False)
@click.option("--alerts", "files", multiple=True, metavar="FILE", help="Alert rules; `guide` for those that ship.")
@click.option("--drift", is_flag=True, help="Compare schemas with what the last run left, too.")
@common_options
def health(invocation: Invocation, fleet: str | None, *, files: tuple[str, ...], drift: bool) -> int:
    """Look how a FLEET is, or one database (--env, --url): one sweep. Nothing is changed, and nobody is told.

    Exit code 1 when something is not well or could not be found out.

    \b
    Examples:
      squizzle health shops
      squizzle health --env production --alerts alerts.yml --json
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    from squizzle.alerts.rules import read_alert_rules  # noqa: PLC0415 - YAML, for which no --help need wait

    order, accesses = _one(invocation) if fleet is None else _fleet(invocation, fleet)
    rules = read_alert_rules([*order.settings.watch.alerts, *files])
    reach = Reach(accesses, deadline=order.settings.deadline, purpose="health")
    sweep = sweep_fleet(replace(order, rules=rules, drift=drift), reach)
    if invocation.as_json:
        print_result(health_document(sweep), "", as_json=True)
    else:
        print_markdown(health_markdown(sweep))
    return 0 if sweep.is_ok else 1


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
