"""The verbs about rows that a damaged database has and the recovered one has not."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from squizzle.cli.names import backup_ids
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import JsonDocument, print_result, say, table
from squizzle.errors import CouldNotVerifyError
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.postgres.identity import check_identity, read_identity
from squizzle.recovery.fence import session_through_fence
from squizzle.recovery.salvage.keeping import DEFAULT_LIMIT, find_salvage, take_salvage
from squizzle.recovery.salvage.merging import merge_rows
from squizzle.recovery.salvage.records import Merge, RowKind, Salvage

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.group()
def salvage() -> None:
    """Find the rows that only the damaged database has, keep them, and merge them into the recovered one.

    --env and --url name the recovered database; the damaged one is on the same server.

    \b
    Examples:
      squizzle salvage compare --from shop__old_20270131t0200 --env production
      squizzle salvage merge --dry-run --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"


@salvage.command()
@click.option("--from", "damaged", required=True, metavar="DBNAME", help="The damaged database; it is only read.")
@click.option(
    "--backup",
    "backup_id",
    default="",
    metavar="ID",
    help="What the recovered one was restored from.",
    shell_complete=backup_ids,
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="So many rows of each table are kept; all are counted.",
)
@common_options
def compare(invocation: Invocation, damaged: str, backup_id: str, limit: int) -> int:
    """Compare both databases row by row; what only the damaged one has is kept in the recovered one.

    Exit codes: 0 everything was compared, 10 a table could not be compared whole, or a limit was reached.

    \b
    Examples:
      squizzle salvage compare --from shop__old_20270131140000 --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with session_through_fence(access, target.database, purpose="salvage") as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
    now = datetime.now(UTC)
    salvage_id = f"{now:%Y%m%dt%H%M%S}-{secrets.token_hex(3)}"
    found = take_salvage(
        access, damaged, target.database, salvage_id=salvage_id, backup_id=backup_id, now=now, limit=limit
    )
    print_result(_document(found), _text(found), as_json=invocation.as_json)
    if found.tables:
        say(f"next: squizzle salvage merge {found.id} --dry-run")
    whole = not found.rows_left_out and not any(one.note for one in found.tables)
    return 0 if whole else CouldNotVerifyError.code


@salvage.command()
@click.argument("salvage_id", metavar="[ID]", required=False)
@common_options
def show(invocation: Invocation, salvage_id: str | None) -> None:
    """Show what a salvage found, the newest without an ID.

    \b
    Examples:
      squizzle salvage show --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="salvage show", read_only=True) as connection:
        found = find_salvage(connection, salvage_id)
    print_result(_document(found), _text(found), as_json=invocation.as_json)


@salvage.command()
@click.argument("salvage_id", metavar="[ID]", required=False)
@click.option("--table", "tables", multiple=True, metavar="T", help="Only this schema.table; may be repeated.")
@click.option("--changed", is_flag=True, help="Merge changed rows, too, not only added ones.")
@click.option("--dry-run", is_flag=True, help="Say what would be merged, and undo it.")
@common_options
def merge(
    invocation: Invocation, salvage_id: str | None, tables: tuple[str, ...], *, changed: bool, dry_run: bool
) -> int:
    """Merge kept rows in one transaction: added ones, with --changed also those that have other values.

    What stands in the way of a row is noted beside it, and it stays kept. Exit codes: 0 all are in, 1 some are not.

    \b
    Examples:
      squizzle salvage merge --dry-run --env production
      squizzle salvage merge --table orders --changed --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="salvage merge") as connection:
        identity = read_identity(connection)
        check_identity(identity, target.expected, database=target.database)
        if not dry_run:
            invocation.confirm("merge salvaged rows", target, identity)
        kinds = (RowKind.ADDED, RowKind.CHANGED) if changed else (RowKind.ADDED,)
        done = merge_rows(connection, salvage_id, tables=tables, kinds=kinds, dry_run=dry_run)
    print_result(_merge_document(done), _merge_text(done), as_json=invocation.as_json)
    return 1 if done.conflicts else 0


def _document(found: Salvage) -> JsonDocument:
    return {
        "id": found.id,
        "taken_at": found.taken_at.isoformat(),
        "damaged": found.damaged,
        "backup_id": found.backup_id,
        "rows_at_risk": found.rows_at_risk,
        "rows_left_out": found.rows_left_out,
        "tables": {
            one.table: {
                "added": one.added,
                "changed": one.changed,
                "gone": one.gone,
                "kept": one.kept,
                "note": one.note,
            }
            for one in found.tables
        },
    }


def _text(found: Salvage) -> str:
    if not found.tables:
        return f"{found.damaged} has no row that differs"
    rows = [
        (one.table, f"{one.added:,}", f"{one.changed:,}", f"{one.gone:,}", f"{one.kept:,}", one.note)
        for one in found.tables
    ]
    lines = [
        f"salvage {found.id}: rows of {found.damaged} ({found.taken_at:%Y-%m-%d %H:%M} UTC)",
        table(("table", "added", "changed", "gone", "kept", "note"), rows),
        f"{found.rows_at_risk:,} rows are only in the damaged database as they are; gone ones are back already",
    ]
    if found.rows_left_out:
        lines.append(f"{found.rows_left_out:,} of them were NOT kept: --limit was reached")
    return "\n".join(lines)


def _merge_document(done: Merge) -> JsonDocument:
    return {
        "id": done.salvage_id,
        "dry_run": done.dry_run,
        "tables": dict(done.merged),
        "conflicts": [
            {"number": one.number, "table": one.table, "key": one.key, "why": one.why} for one in done.conflicts
        ],
    }


_SHOWN_CONFLICTS = 20


def _merge_text(done: Merge) -> str:
    would = "would be merged" if done.dry_run else "merged"
    lines = [f"{name}: {number_of(count, 'row')} {would}" for name, count in done.merged] or [f"no row {would}"]
    lines += _conflict_lines([f"{one.table} {one.key}: {one.why}" for one in done.conflicts])
    return "\n".join(lines)


def _conflict_lines(conflicts: Sequence[str]) -> list[str]:
    if not conflicts:
        return []
    more = len(conflicts) - _SHOWN_CONFLICTS
    return [
        f"{len(conflicts):,} rows were not merged and stay kept:",
        *(f"  {one}" for one in conflicts[:_SHOWN_CONFLICTS]),
        *([f"  … and {more:,} more: --json has all of them"] if more > 0 else []),
    ]
