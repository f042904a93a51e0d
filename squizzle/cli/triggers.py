"""The verbs that show triggers, switch named ones off for a while, and put them back."""

from __future__ import annotations

import click

from squizzle.cli.backups import who_am_i
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say, table
from squizzle.durations import parse_duration, words
from squizzle.errors import InvalidInputError, RecoveryError
from squizzle.health.trigger_plan import plan_pause
from squizzle.health.triggers import find_table, is_superuser, read_paused, read_triggers
from squizzle.health.triggers import pause as switch_off
from squizzle.health.triggers import resume as put_back
from squizzle.postgres.access import connect
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.reports.triggers import (
    REPAIR,
    paused_document,
    plan_lines,
    resumed_document,
    resumed_lines,
    trigger_document,
)


class _Verbs(click.Group):
    """Without `pause` or `resume` it lists."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, *self.get_help_option_names(ctx)}
        return super().parse_args(ctx, args if args and args[0] in known else ["list", *args])


@click.group(cls=_Verbs)
def triggers() -> None:
    """Show triggers (of TABLE), with what is switched off; switch named ones off for a while; put them back.

    \b
    Examples:
      squizzle triggers orders --env production
      squizzle triggers pause orders --trigger audit --for 30m --reason "import of May" --env production
      squizzle triggers resume --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"


@triggers.command("list", hidden=True)
@click.argument("name", metavar="[TABLE]", required=False)
@common_options
def list_triggers(invocation: Invocation, *, name: str | None) -> None:
    """Show the triggers of a table, or of every table, and what is switched off since when, by whom, why.

    \b
    Examples:
      squizzle triggers list --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="triggers", read_only=True) as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        place = find_table(connection, *_names(name, target)) if name else None
        found = read_triggers(connection, place[2] if place else None)
        paused = read_paused(connection)
    rows = [
        (f"{one.schema}.{one.table}", one.name, one.mode.words, one.kind.value, str(one.key or one.function))
        for one in found
    ]
    lines = [table(("table", "trigger", "mode", "kind", "what it does"), rows)] if rows else ["no triggers"]
    if paused:
        lines += ["", *(one.sentence() for one in paused), "`squizzle triggers resume` puts back and compares"]
    document = {
        "triggers": [trigger_document(one) for one in found],
        "paused": [paused_document(one) for one in paused],
    }
    print_result(document, "\n".join(lines), as_json=invocation.as_json)


@triggers.command()
@click.argument("name", metavar="TABLE")
@click.option("--trigger", "names", multiple=True, metavar="NAME", help="Switch off this one; may be repeated.")
@click.option("--foreign-keys", is_flag=True, help="Switch off every foreign key of the table; takes a superuser.")
@click.option("--for", "duration", required=True, metavar="AGE", help="After that it is overdue: 30m, 2h.")
@click.option("--reason", required=True, help="Why; it is noted.")
@common_options
def pause(
    invocation: Invocation, *, name: str, names: tuple[str, ...], foreign_keys: bool, duration: str, reason: str
) -> None:
    """Show what switching triggers off would mean; with --yes, switch them off and note it.

    Nothing switches them on by itself: `squizzle triggers resume` does, or the next run of `pause-triggers`.

    \b
    Examples:
      squizzle triggers pause orders --for 10m --reason "bulk load" --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    try:
        limit = parse_duration(duration)
    except ValueError as exc:
        raise InvalidInputError(f"--for {duration!r}: {exc}", hint="write --for 30m") from exc
    access, target = invocation.target()
    with connect(access, target.database, purpose="triggers") as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        place = find_table(connection, *_names(name, target))
        plan = plan_pause(
            read_triggers(connection, place[2]),
            place,
            names,
            foreign_keys=foreign_keys,
            duration=limit,
            why=reason,
            is_superuser=is_superuser(connection),
        )
        done = switch_off(connection, target, plan, by=who_am_i(), on_wait=say) if invocation.yes else ()
    lines = [f"{plan}:", *plan_lines(plan), ""]
    lines += [one.sentence() for one in done] or ["nothing was switched off; --yes does it"]
    if done:
        lines.append(f"within {words(limit)}: squizzle triggers resume {plan.schema}.{plan.table}")
    document = {
        "plan": [trigger_document(one) for one in plan.triggers],
        "already_off": [str(one) for one in plan.already_off],
        "paused": [paused_document(one) for one in done],
    }
    print_result(document, "\n".join(lines), as_json=invocation.as_json)


@triggers.command()
@click.argument("name", metavar="[TABLE]", required=False)
@common_options
def resume(invocation: Invocation, *, name: str | None) -> int:
    """Put triggers back as they were, then look for rows that break a foreign key that was off.

    Without TABLE: of every table. Exit codes: 0; 7 when rows break a key, or a trigger is gone.

    \b
    Examples:
      squizzle triggers resume orders --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="triggers") as connection:
        done = put_back(connection, target, table=_names(name, target) if name else None, on_wait=say)
    lines = resumed_lines(done) or ["no trigger is switched off by Squizzle"]
    if any(one.rows for one in done.keys):
        lines += ["", REPAIR]
    print_result(resumed_document(done), "\n".join(lines), as_json=invocation.as_json)
    return RecoveryError.code if done.problems else 0


def _names(name: str, target: Target) -> tuple[str, str]:
    before, dot, after = name.partition(".")
    return (before, after) if dot else (target.schema, name)
