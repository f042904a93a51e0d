"""The verb that shows who blocks whom, and ends those who may be ended."""

from __future__ import annotations

from datetime import timedelta

import click

from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError
from squizzle.health.release import Release, look, release
from squizzle.health.release_plan import BACKUP_PROGRAMS, ReleasePolicy, plan_release
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.postgres.identity import read_identity
from squizzle.reports.locks import locks_document, plan_lines, summary, tree_lines


@click.command()
@click.option("--release", "wanted", is_flag=True, help="Show whom to end; with --yes, end them.")
@click.option("--idle", default="5m", show_default=True, metavar="AGE", help="Idle transactions older than this end.")
@click.option("--blockers", metavar="AGE", help="Blockers that work end, too, when their transaction is older.")
@click.option("--waiting", default="5s", show_default=True, metavar="AGE", help="For whom waits less nobody is ended.")
@click.option("--every-idle", is_flag=True, help="Idle transactions end, too, that nobody waits for.")
@click.option("--application", "applications", multiple=True, metavar="NAME*", help="Only sessions called so.")
@click.option("--spare", multiple=True, metavar="NAME*", help="Never sessions called so, besides backup programs.")
@common_options
def locks(
    invocation: Invocation,
    *,
    wanted: bool,
    idle: str,
    blockers: str | None,
    waiting: str,
    every_idle: bool,
    applications: tuple[str, ...],
    spare: tuple[str, ...],
) -> int:
    """Show who blocks whom in a database: a tree with queries, ages, lock modes, tables.

    With --release: whom to end so that the others go on, and whom to spare, with the reason. Superusers, replication,
    autovacuum against wraparound and runs of Squizzle are never ended. A query is cancelled before a connection is
    ended. Exit codes: 0; 1 when somebody does not end.

    \b
    Examples:
      squizzle locks --env production
      squizzle locks --env production --release --idle 10m --blockers 30m
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    policy = ReleasePolicy(
        idle_longer_than=_age(idle, "--idle"),
        blocker_longer_than=_age(blockers, "--blockers") if blockers else None,
        waiting_longer_than=_age(waiting, "--waiting"),
        every_idle=every_idle,
        applications=applications,
        spare=(*BACKUP_PROGRAMS, *spare),
    )
    access, target = invocation.target()
    with connect(access, target.database, purpose="locks") as connection:
        before = look(connection, target)
        if not wanted:
            human = "\n".join([summary(before), *tree_lines(before)])
            print_result({"targets": [locks_document(before)]}, human, as_json=invocation.as_json)
            return 0
        plan = plan_release(before, policy)
        done = Release(before=before, plan=plan)
        if invocation.yes and plan.endings:
            invocation.confirm(f"end {number_of(len(plan.endings), 'session')}", target, read_identity(connection))
            done = release(connection, target, before, plan, on_ended=lambda one: say(one.sentence()))
    lines = [summary(before), *tree_lines(before), "", *(plan_lines(plan) or ["nobody blocks anybody"])]
    if done.after is not None:
        lines += ["", f"afterwards: {summary(done.after)}", *tree_lines(done.after)]
    elif plan.endings:
        lines += ["", "nobody was ended; --yes ends them"]
    print_result({"targets": [locks_document(before, done)]}, "\n".join(lines), as_json=invocation.as_json)
    return 1 if done.failures else 0


def _age(text: str, option: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise InvalidInputError(f"{option} {text!r}: {exc}", hint=f"write {option} 5m") from exc
