"""The verb that takes back what chosen transactions did to logged tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from squizzle.backups.change_log.changes import ChangeLogMark
from squizzle.backups.change_log.names import table_names
from squizzle.backups.marks import log_mark_of
from squizzle.cli.backups import store_of
from squizzle.cli.names import versions
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import JsonDocument, print_result, say, table
from squizzle.cli.points import point_in_time
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import connect
from squizzle.postgres.identity import read_identity
from squizzle.recovery.undo.records import CONFLICT_WORDS, TableUndo, UndoReport, UndoRequest
from squizzle.recovery.undo.undo import DEFAULT_LIMIT, plan_undo, since_version, undo_changes


@click.command()
@click.option("--table", "tables", multiple=True, required=True, metavar="T", help="A logged table; may be repeated.")
@click.option("--since", metavar="TIME", help="ISO time such as 2025-03-01T12:00+00:00, or an age: 30m, 2h.")
@click.option(
    "--since-version",
    "version",
    metavar="V",
    help="Since this version began to be applied, its own changes too.",
    shell_complete=versions,
)
@click.option("--since-mark", "mark", metavar="ID", help="Since a backup of kind mark: exactly what was not over then.")
@click.option("--store", "address", metavar="URL", help="The store of the mark; without it: [backups] store.")
@click.option(
    "--transaction", "transactions", type=int, multiple=True, metavar="XID", help="Only this one; may be repeated."
)
@click.option("--by", "roles", multiple=True, metavar="ROLE", help="Only transactions of this role; may be repeated.")
@click.option(
    "--application",
    "applications",
    multiple=True,
    metavar="NAME",
    help="Only of this application_name; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing, hold nobody up.")
@click.option("--plan", "digest", metavar="DIGEST", help="Only if it would change exactly what that dry run showed.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="List so many rows of a table.",
)
@common_options
def undo(  # noqa: PLR0913 - one argument an option
    invocation: Invocation,
    tables: tuple[str, ...],
    *,
    since: str | None,
    version: str | None,
    mark: str | None,
    address: str | None,
    transactions: tuple[int, ...],
    roles: tuple[str, ...],
    applications: tuple[str, ...],
    dry_run: bool,
    digest: str | None,
    limit: int,
) -> None:
    """Take back what was done to logged tables; what others wrote later stays.

    Rows that were deleted or truncated come back, updated ones get their old values, inserted ones go: in one
    transaction, verified before it ends. A row that somebody else changed later is listed as a conflict and stays.
    The undo is logged, too, and can be undone.

    \b
    Examples:
      squizzle undo --table orders --since 30m --dry-run --env production
      squizzle undo --table orders --table order_lines --since-version 0042 --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if sum(one is not None for one in (since, version, mark)) != 1:
        raise InvalidInputError("say since when", hint="give one of --since TIME, --since-version V, --since-mark ID")
    access, target = invocation.target()
    with connect(access, target.database, purpose="undo") as connection:
        begun: ChangeLogMark | datetime
        if mark is not None:
            begun = log_mark_of(store_of(address, invocation.config).read(mark))
        elif since is not None:
            begun = point_in_time(since, datetime.now(UTC))
        else:
            begun = since_version(connection, target.schema, version or "")
        request = UndoRequest(
            tables=table_names(tables, target.schema),
            since=begun,
            transactions=transactions,
            roles=roles,
            applications=applications,
        )
        if dry_run:
            report = plan_undo(connection, target, request, limit=limit)
        else:
            if invocation.must_confirm(target, identity := read_identity(connection)):
                planned = plan_undo(connection, target, request, limit=limit)
                say(_text(planned, request))
                digest = digest or planned.digest
                invocation.confirm(f"change these {planned.changes:,} rows", target, identity)
            report = undo_changes(connection, target, request, on_wait=say, digest=digest, limit=limit)
    print_result(undo_document(report), _text(report, request), as_json=invocation.as_json)
    _advise(report, request)


def undo_document(report: UndoReport) -> JsonDocument:
    """What `--json` prints."""
    return {
        "tables": {one.name: _table_document(one) for one in report.tables},
        "conflicts": [
            {"table": one.table, "key": json.loads(one.key), "reason": one.reason.value, "detail": one.detail}
            for one in report.conflicts
        ],
        "conflict_count": report.conflict_count,
        "dry_run": report.dry_run,
        "transactions": report.transactions,
        "beyond": list(report.beyond),
        "plan": report.digest,
        "transaction": report.xid,
        "at": report.at.isoformat(),
        "raised_sequences": list(report.raised_sequences),
    }


def _table_document(one: TableUndo) -> JsonDocument:
    return {
        "restored": one.restored,
        "reverted": one.reverted,
        "removed": one.removed,
        "conflicts": one.conflicts,
        "quiet_triggers": list(one.quiet_triggers),
        "rows": [
            {
                "action": row.action.value,
                "key": json.loads(row.key),
                "now": json.loads(row.now) if row.now else None,
                "then": json.loads(row.then) if row.then else None,
            }
            for row in one.rows
        ],
    }


def _text(report: UndoReport, request: UndoRequest) -> str:
    heading = ("table", "come back", "get old values", "go", "stay (conflicts)")
    rows = [
        (one.name, f"{one.restored:,}", f"{one.reverted:,}", f"{one.removed:,}", f"{one.conflicts:,}")
        for one in report.tables
    ]
    lines = [table(heading, rows)]
    for one in report.tables:
        lines += ["", *(f"{one.name} {row.action} {row.key}: {row.now} -> {row.then}" for row in one.rows)]
        if one.changes > len(one.rows):
            lines.append(f"… and {one.changes - len(one.rows):,} more; --limit shows them")
    if report.conflicts:
        lines += ["", "These rows stay as they are:"]
        for conflict in report.conflicts:
            detail = f" ({conflict.detail})" if conflict.detail else ""
            lines.append(f"{conflict.table} {conflict.key}: {CONFLICT_WORDS[conflict.reason]}{detail}")
        if report.conflict_count > len(report.conflicts):
            lines.append(f"… and {report.conflict_count - len(report.conflicts):,} more; --limit shows them")
    chosen = "every transaction" if request.is_everything else "the chosen transactions"
    lines += ["", f"{report.transactions:,} transactions ({chosen} since then), plan {report.digest}"]
    return "\n".join(lines)


def _advise(report: UndoReport, request: UndoRequest) -> None:
    """What a person should know besides, on standard error."""
    if report.beyond:
        say(f"warning: the same transactions changed {', '.join(report.beyond)}, too, which --table does not name")
    for one in report.tables:
        if one.quiet_triggers:
            say(f"triggers of {one.name} that do not fire: {', '.join(one.quiet_triggers)}")
    for sequence in report.raised_sequences:
        say(f"{sequence} was raised above the values that came back")
    if report.conflict_count:
        say(f"warning: {report.conflict_count:,} rows were changed and stay as they are; see the conflicts")
    options = " ".join(f"--table {'.'.join(one)}" for one in request.tables)
    if report.dry_run:
        say(f"nothing was changed; to change exactly this: the same without --dry-run, with --plan {report.digest}")
    elif report.xid is None:
        say("there was nothing to undo; nothing was changed")
    else:
        since = report.at.isoformat()
        say(f"done; to undo the undo: squizzle undo {options} --since {since} --transaction {report.xid}")
