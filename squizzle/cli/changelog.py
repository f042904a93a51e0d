"""The verbs of the change log: switching it on and off, and what it holds."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice

import click

from squizzle.backups.change_log.changes import Change, changes_since
from squizzle.backups.change_log.cost import measure_cost
from squizzle.backups.change_log.judging import why_not
from squizzle.backups.change_log.names import table_names
from squizzle.backups.change_log.pruning import find_prunable
from squizzle.backups.change_log.pruning import prune as let_go
from squizzle.backups.change_log.reading import coverage, list_tables, read_log_status, require_table
from squizzle.backups.change_log.records import LoggedTable, LogStatus
from squizzle.backups.change_log.switching import disable as switch_off
from squizzle.backups.change_log.switching import enable as switch_on
from squizzle.backups.change_log.switching import refuse_unfit_table
from squizzle.backups.change_log.trust import refuse_stranger
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import JsonDocument, print_result, say, table
from squizzle.cli.points import point_in_time
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.identity import check_identity, read_identity

_TABLES = click.option(
    "--table", "tables", multiple=True, metavar="T", help="A table, or schema.table; may be repeated."
)


@click.group()
def changelog() -> None:
    """Keep every change of chosen tables, OLD and NEW, so that single ones can be taken back.

    \b
    Examples:
      squizzle changelog enable --table orders --env staging
      squizzle changelog status --env staging
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"


@changelog.command()
@_TABLES
@click.option("--all", "every", is_flag=True, help="Every table of the schema that can be logged; says which cannot.")
@common_options
def enable(invocation: Invocation, tables: tuple[str, ...], *, every: bool) -> None:
    """Log every change of these tables from now on; without --yes, what it costs is measured, shown and asked about.

    \b
    Examples:
      squizzle changelog enable --table orders --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    _refuse_unclear(tables, every=every)
    names = table_names(tables, target.schema)
    with connect(access, target.database, purpose="changelog enable") as connection:
        refuse_stranger(connection)
        if every:
            names = _fit_tables(connection, target.schema)
        for schema, name in names:
            table_now = require_table(connection, schema, name)
            refuse_unfit_table(table_now)
            if not invocation.yes:
                say(f"{schema}.{name}: {measure_cost(connection, table_now).sentence()}")
        _ask(invocation, f"log every change of {_listed(names)} in {target.database}")
        switch_on(connection, target, names, on_wait=say)
        _print_tables(connection, names, invocation, "logged")


@changelog.command()
@_TABLES
@click.option("--all", "every", is_flag=True, help="Every table that is logged.")
@common_options
def disable(invocation: Invocation, tables: tuple[str, ...], *, every: bool) -> None:
    """Log these tables no longer; what was logged stays.

    \b
    Examples:
      squizzle changelog disable --table orders --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    _refuse_unclear(tables, every=every)
    names = table_names(tables, target.schema)
    with connect(access, target.database, purpose="changelog disable") as connection:
        if every:
            names = tuple((one.schema, one.table) for one in coverage(connection) if one.until is None)
            if not names:
                raise InvalidInputError("no table is logged", hint="nothing is to be done")
        _ask(invocation, f"log {_listed(names)} in {target.database} no longer")
        switch_off(connection, target, names, on_wait=say)
        _print_tables(connection, names, invocation, "no longer logged")


@changelog.command()
@common_options
def status(invocation: Invocation) -> None:
    """Show what is logged since when, what is missing, and how large the log is.

    \b
    Examples:
      squizzle changelog status --env production --json
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="changelog status", read_only=True) as connection:
        found = read_log_status(connection)
    print_result(_status_document(found), _status_text(found), as_json=invocation.as_json)


@changelog.command()
@click.option("--keep", metavar="AGE", help="Changes older than this go: 12h, 30d.")
@click.option("--max-mb", type=click.IntRange(min=1), help="The oldest go until the log has room in so many megabytes.")
@_TABLES
@common_options
def prune(invocation: Invocation, keep: str | None, max_mb: int | None, tables: tuple[str, ...]) -> None:
    """Show what would go from the log; with --yes, let it go. The space is used again by new changes.

    \b
    Examples:
      squizzle changelog prune --keep 14d --env production --yes
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if keep is None and max_mb is None:
        raise InvalidInputError("nothing says what may go", hint="give --keep AGE, --max-mb N, or both")
    if max_mb is not None and tables:
        raise InvalidInputError("--max-mb is about the whole log, not about --table", hint="give --keep AGE instead")
    age = _age(keep) if keep is not None else None
    access, target = invocation.target()
    names = table_names(tables, target.schema)
    with connect(access, target.database, purpose="changelog prune", read_only=not invocation.yes) as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        found = find_prunable(
            connection, now=datetime.now(UTC), keep=age, max_bytes=max_mb * 1_000_000 if max_mb else None, tables=names
        )
        gone = (
            let_go(connection, found.before, tables=names) if invocation.yes and found.before and found.changes else 0
        )
    before = f" before {found.before:%Y-%m-%d %H:%M:%S %Z}" if found.before else ""
    human = f"{gone:,} changes{before} are gone" if invocation.yes else f"{found.changes:,} changes{before} would go"
    document = {
        "before": found.before.isoformat() if found.before else None,
        "changes": found.changes,
        "pruned": gone,
        "dry_run": not invocation.yes,
    }
    print_result(document, human, as_json=invocation.as_json)
    if found.changes and not invocation.yes:
        say("nothing was changed; --yes lets them go")


def _age(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise InvalidInputError(f"--keep {text!r}: {exc}", hint="write 12h or 30d") from exc


@changelog.command()
@click.option("--table", "name", required=True, metavar="T", help="A table, or schema.table.")
@click.option(
    "--since", required=True, metavar="TIME", help="ISO time such as 2025-03-01T12:00+00:00, or an age: 30m, 2h."
)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="So many changes at most.")
@common_options
def show(invocation: Invocation, name: str, since: str, limit: int) -> None:
    """Show the changes of a table since a time, newest transaction first, each transaction whole.

    \b
    Examples:
      squizzle changelog show --table orders --since 2027-01-31T13:59:00+01:00 --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    (place,) = table_names((name,), target.schema)
    with connect(access, target.database, purpose="changelog show", read_only=True) as connection:
        found = list(islice(changes_since(connection, place, point_in_time(since, datetime.now(UTC))), limit + 1))
    document = {"changes": [_change_document(one) for one in found[:limit]], "more": len(found) > limit}
    lines = [
        f"{one.logged_at:%Y-%m-%d %H:%M:%S %Z}  {one.xid}  {one.operation} {one.schema}.{one.table}"
        f" {json.dumps(one.key, ensure_ascii=False)} by {one.role} ({one.application}): {one.old} -> {one.new}"
        for one in found[:limit]
    ]
    print_result(
        document, "\n".join(lines) or f"no change of {'.'.join(place)} since {since}", as_json=invocation.as_json
    )
    if len(found) > limit:
        say(f"there are more than {limit}; --limit shows them")


def _change_document(one: Change) -> JsonDocument:
    return {
        **{
            field: getattr(one, field)
            for field in (
                "id",
                "xid",
                "operation",
                "schema",
                "table",
                "user",
                "role",
                "application",
                "key",
                "old_exact",
                "new_exact",
            )
        },
        "logged_at": one.logged_at.isoformat(),
        "old": json.loads(one.old) if one.old else None,
        "new": json.loads(one.new) if one.new else None,
    }


def _refuse_unclear(tables: tuple[str, ...], *, every: bool) -> None:
    if bool(tables) == every:
        raise InvalidInputError("say which tables", hint="give --table T (it may be repeated), or --all")


def _fit_tables(connection: Connection, schema: str) -> tuple[tuple[str, str], ...]:
    """Every table of a schema that can be logged; each of the others is named with the reason."""
    found = []
    for one in list_tables(connection, schema):
        reason = why_not(one)
        if reason is None:
            found.append((one.schema, one.name))
        else:
            say(f"not logged: {one.schema}.{one.name} {reason[0]}; {reason[1]}")
    if not found:
        raise InvalidInputError(f"no table of {schema} can be logged", hint="--schema says which schema is meant")
    return tuple(found)


def _listed(names: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(".".join(one) for one in names)


def _ask(invocation: Invocation, action: str) -> None:
    if invocation.yes:
        return
    if not sys.stdin.isatty():
        raise RefusedError(f"nobody is there to answer: {action}?", hint="run it at a terminal, or add --yes")
    if not click.confirm(f"{action}?", err=True):
        raise RefusedError(f"{action}: the answer was no", hint="nothing was changed")


def _print_tables(
    connection: Connection, names: tuple[tuple[str, str], ...], invocation: Invocation, state: str
) -> None:
    newest: dict[tuple[str, str], LoggedTable] = {}
    for one in coverage(connection):
        newest.setdefault((one.schema, one.table), one)
    found = [newest[name] for name in names if name in newest]
    human = "\n".join(f"{one.name}: {state} since {one.until or one.since:%Y-%m-%d %H:%M:%S %Z}" for one in found)
    print_result({"tables": [_table_document(one) for one in found]}, human, as_json=invocation.as_json)


def _table_document(one: LoggedTable) -> JsonDocument:
    return {
        "schema": one.schema,
        "table": one.table,
        "key": one.key_columns,
        "since": one.since.isoformat(),
        "enabled_by": one.enabled_by,
        "until": one.until.isoformat() if one.until else None,
        "gaps": list(one.gaps),
    }


def _status_document(found: LogStatus) -> JsonDocument:
    return {
        "tables": [_table_document(one) for one in found.tables],
        "size_bytes": found.size_bytes,
        "rows": found.rows,
        "oldest": found.oldest.isoformat() if found.oldest else None,
    }


def _status_text(found: LogStatus) -> str:
    if not found.tables:
        return "no table is logged; `squizzle changelog enable --table T` begins it"
    rows = [
        (
            one.name,
            f"{one.since:%Y-%m-%d %H:%M:%S %Z}",
            f"{one.until:%Y-%m-%d %H:%M:%S %Z}" if one.until else "now",
            "; ".join(one.gaps) or "complete",
        )
        for one in found.tables
    ]
    oldest = f"{found.oldest:%Y-%m-%d %H:%M:%S %Z}" if found.oldest else "none"
    size = f"log: {found.size_bytes / 1e6:,.1f} MB, about {found.rows:,} changes, oldest {oldest}"
    return "\n".join([table(("table", "since", "until", "state"), rows), "", size])
