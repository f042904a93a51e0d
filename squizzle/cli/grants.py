"""The verb that says which rights an account needs."""

from __future__ import annotations

from dataclasses import replace

import click

from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect
from squizzle.postgres.grants import (
    FIRST_TO_READ_ALL,
    NEWEST_MAJOR,
    OLDEST_MAJOR,
    Account,
    Job,
    Right,
    held_rights,
    owner_of,
    rights_for,
)


@click.command()
@click.argument("job", type=click.Choice([one.value for one in Job]))
@click.option("--role", metavar="NAME", help="The account; without it, that of --env or --url.")
@click.option("--database", metavar="NAME", help="The database; without it, that of --env or --url.")
@click.option("--owner", metavar="NAME", help="Who owns the database and what is in it; --check asks it.")
@click.option("--also", "schemas", multiple=True, metavar="SCHEMA", help="Another schema that is migrated; repeatable.")
@click.option(
    "--major", type=click.IntRange(OLDEST_MAJOR), help="The server's major version; --check asks it.", metavar="N"
)
@click.option("--check", is_flag=True, help="Say which of them the account lacks; exit code 1 when it lacks one.")
@common_options
def grants(
    invocation: Invocation,
    job: str,
    *,
    role: str | None,
    database: str | None,
    owner: str | None,
    schemas: tuple[str, ...],
    major: int | None,
    check: bool,
) -> int:
    """Print the rights that an account needs for a JOB, as SQL that may be run again. Nothing is changed.

    Exit codes: 0; with --check 1 when a right is missing.

    \b
    Examples:
      squizzle grants operator --role migrator --database shop --owner shop_owner | psql shop
      squizzle grants backup --env production --check
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    said = _account(invocation, role=role, database=database)
    account = replace(
        said[1],
        owner=owner or "",
        schemas=(invocation.schema or said[1].schemas[0], *schemas),
        major=major or NEWEST_MAJOR,
    )
    wanted = Job(job)
    if check:
        account, rights, held = _compared(said[0], account, wanted)
    else:
        _refuse_unknown_owner(wanted, account)
        rights = rights_for(wanted, account)
        held = (None,) * len(rights)
    compared = tuple(zip(rights, held, strict=True))
    lacking = [one for one, is_held in compared if is_held is False]
    document = {
        "job": wanted.value,
        "role": account.role,
        "database": account.database,
        "rights": [
            {"sql": one.text, "database": one.database, "why": one.why, "held": is_held} for one, is_held in compared
        ],
    }
    print_result(document, _script(lacking if check else rights, checked=check), as_json=invocation.as_json)
    return bool(lacking)


def _account(invocation: Invocation, *, role: str | None, database: str | None) -> tuple[ServerAccess | None, Account]:
    """What options or the connection say of the account; nothing is connected."""
    if role and database and not (invocation.environment or invocation.url):
        return None, Account(role=role, database=database, owner="")
    access, target = invocation.target()
    name = role or access.user
    if not name:
        raise InvalidInputError("the URL names no account", hint="add --role NAME")
    return access, Account(role=name, database=database or target.database, schemas=(target.schema,), owner="")


def _compared(
    access: ServerAccess | None, account: Account, job: Job
) -> tuple[Account, tuple[Right, ...], tuple[bool | None, ...]]:
    if access is None:
        raise InvalidInputError("--check has no database to look at", hint="give --env NAME or --url URL")
    with connect(access, account.database, purpose="grants", read_only=True) as session:
        asked = replace(
            account,
            owner=account.owner or owner_of(session),
            major=session.info.server_version // 10000,
        )
        rights = rights_for(job, asked)
        with connect(access, CONTROL_DATABASE, purpose="grants", read_only=True) as control:
            held = [held_rights(control if one.database == CONTROL_DATABASE else session, [one])[0] for one in rights]
    return asked, rights, tuple(held)


def _refuse_unknown_owner(job: Job, account: Account) -> None:
    if not account.owner and (job in {Job.OPERATOR, Job.SWEEPER} or account.major < FIRST_TO_READ_ALL):
        raise InvalidInputError("nobody said who owns the database", hint="add --owner ROLE")


def _script(rights: list[Right] | tuple[Right, ...], *, checked: bool) -> str:
    if checked and not rights:
        return "nothing is missing"
    lines = ["-- Run in that database, by its owner or a superuser; may be run again."]
    if checked:
        lines.insert(0, "-- These are missing.")
    before = ""
    # Sorted: what is done elsewhere comes last.
    for one in sorted(rights, key=lambda one: one.database == CONTROL_DATABASE):
        if one.database == CONTROL_DATABASE and "\\connect postgres" not in lines:
            lines += ["", "\\connect postgres"]
        if one.why != before:
            lines += ["", f"-- {one.why}"]
        lines.append(f"{one.text};")
        before = one.why
    return "\n".join(lines)
