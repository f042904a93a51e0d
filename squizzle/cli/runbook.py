"""The verb that writes the runbook of a database."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import click

from squizzle.cli.assess import DamageOptions, has_migrations, look_for_damage
from squizzle.cli.backups import store_of
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.cli.rds import instance_of
from squizzle.errors import InvalidInputError, SquizzleError
from squizzle.migrations.history import read_history
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.recovery.evidence import Evidence
from squizzle.reports.runbook import RunbookFacts, runbook_markdown
from squizzle.reports.terminal import print_markdown


@click.command()
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there, as Markdown.")
@common_options
def runbook(invocation: Invocation, *, address: str | None, output: Path | None) -> None:
    """Write what to do when a migration of this database went wrong, filled with what is known about it now.

    Its own ways back with their measured times, commands that can be copied, contacts from [contacts]. What could not
    be looked up is said in its place. Nothing is changed; every table is read and compared with the newest backup.

    \b
    Examples:
      squizzle runbook --env production --output runbook.md
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="runbook", read_only=True) as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        current = read_history(connection, target.schema).current
    evidence, problem = _evidence(invocation, access, target, address)
    facts = RunbookFacts(
        database=target.database,
        environment=target.environment or "",
        where=_options(invocation),
        server=access.where,
        made_at=datetime.now(UTC),
        current=current,
        evidence=evidence,
        problem=problem,
        contacts=invocation.config.contacts,
        link=invocation.config.notify.runbook,
    )
    text = runbook_markdown(facts)
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise InvalidInputError(f"{output} cannot be written: {exc.strerror}", hint="name another file") from exc
        say(f"written to {output}")
    document = {"database": target.database, "complete": not problem, "problem": problem, "markdown": text}
    if invocation.as_json:
        print_result(document, "", as_json=True)
    elif output is None:
        print_markdown(text)


def _options(invocation: Invocation) -> str:
    if invocation.environment:
        return f" --env {shlex.quote(invocation.environment)}"
    # An address may hold a password.
    return " --url URL" if invocation.url else ""


def _evidence(
    invocation: Invocation, access: ServerAccess, target: Target, address: str | None
) -> tuple[Evidence | None, str]:
    """What can be looked up; a runbook without it is better than none."""
    options = DamageOptions(address=address, backup_id="", since=None, insist=False, max_rpo=None, max_rto=None)
    migrations = invocation.migrations() if has_migrations(invocation) else None
    try:
        store = store_of(address, invocation.config)
        instance = instance_of(invocation, access)
        return look_for_damage(access, target, store, migrations, options, instance), ""
    except SquizzleError as exc:
        return None, f"{exc.message}{f' ({exc.hint})' if exc.hint else ''}"
