"""The verbs that silence alerts, and show what is silenced."""

from __future__ import annotations

import click

from squizzle.alerts.ledger import add_silence, end_silence, make_tables, read_silences
from squizzle.alerts.states import Silence
from squizzle.cli.backups import who_am_i
from squizzle.cli.fleet_control import fleet_control
from squizzle.cli.names import fleets
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError
from squizzle.incidents.failure import HANDS_OFF


@click.command()
@click.argument("fleet", shell_complete=fleets)
@click.option("--rule", default="*", metavar="NAME", help="Which alerts; * stands for anything (all).")
@click.option("--target", default="*", metavar="NAME", help="Which targets; * stands for anything (all).")
@click.option("--for", "length", required=True, metavar="TIME", help="How long: 30m, 2h, 1d.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is shown wherever something is silenced.")
@common_options
def silence(invocation: Invocation, fleet: str, *, rule: str, target: str, length: str, reason: str) -> None:
    """Tell nobody of some alerts of a FLEET for a while. They are looked at, shown and kept all the same.

    Alerts are kept in the fleet's first canary; name another control database by --env or --url.

    \b
    Examples:
      squizzle silence shops --target 'eu/*' --for 2h --reason "move to another data centre"
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    _add(invocation, fleet, rule=rule, target=target, length=length, reason=reason)


def _add(invocation: Invocation, fleet: str, *, rule: str, target: str, length: str, reason: str) -> None:
    try:
        lasts = parse_duration(length)
    except ValueError as exc:
        raise InvalidInputError(f"--for {length}: {exc}", hint="write 30m, 2h or 1d") from exc
    with fleet_control(invocation, fleet, purpose="silences") as connection:
        make_tables(connection)
        made = add_silence(connection, fleet, rule=rule, target=target, length=lasts, reason=reason, by=who_am_i())
    print_result({"silences": [_document(made)]}, _listed([made]), as_json=invocation.as_json)


@click.command("hands-off")
@click.argument("fleet", shell_complete=fleets)
@click.option("--target", default="*", metavar="NAME", help="Which targets; * stands for anything (all).")
@click.option("--for", "length", required=True, metavar="TIME", help="How long: 30m, 2h, 1d.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is shown wherever somebody keeps away.")
@common_options
def hands_off(invocation: Invocation, fleet: str, *, target: str, length: str, reason: str) -> None:
    """Let nothing be recovered by itself in a FLEET for a while: you are at work there. People are told as ever.

    `squizzle silences` shows it, and ends it before its time. It is kept where silences are.

    \b
    Examples:
      squizzle hands-off shops --for 2h --reason "I repair eu/shop_7 by hand"
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    _add(invocation, fleet, rule=HANDS_OFF, target=target, length=length, reason=reason)


@click.command()
@click.argument("fleet", shell_complete=fleets)
@click.option("--end", metavar="ID", help="End this one before its time.")
@common_options
def silences(invocation: Invocation, fleet: str, *, end: str | None) -> None:
    """Show what is silenced in a FLEET, until when, and why.

    \b
    Examples:
      squizzle silences shops
      squizzle silences shops --end silence-1f2e3d4c
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    with fleet_control(invocation, fleet, purpose="silences") as connection:
        if end:
            end_silence(connection, fleet, end, by=who_am_i())
        found = read_silences(connection, fleet)
    print_result({"silences": [_document(one) for one in found]}, _listed(found), as_json=invocation.as_json)


def _document(one: Silence) -> dict[str, object]:
    return {
        "id": one.id,
        "rule": one.rule,
        "target": one.target,
        "until": one.until.isoformat(),
        "reason": one.reason,
        "by": one.by,
    }


def _listed(found: list[Silence] | tuple[Silence, ...]) -> str:
    if not found:
        return "nothing is silenced"
    rows = [(one.id, one.rule, one.target, f"{one.until:%Y-%m-%d %H:%M %Z}", one.by, one.reason) for one in found]
    return table(("silence", "alerts", "targets", "until", "by", "why"), rows)
