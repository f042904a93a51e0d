"""The verb that everybody calls most: status. It imports as little as it can."""

from __future__ import annotations

from collections.abc import Iterator

import click

from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import JsonDocument, print_result, table
from squizzle.cli.saved import saved_document
from squizzle.migrations.batch_records import BatchedStatement
from squizzle.migrations.records import HistoryRow
from squizzle.migrations.status import Status, read_status
from squizzle.postgres.access import connect


@click.command()
@common_options
def status(invocation: Invocation) -> None:
    """Show what is applied, pending, failed, running, and applied to a share of its rows.

    \b
    Examples:
      squizzle status --env staging
      squizzle status --env staging --json
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="status", read_only=True) as connection:
        found = read_status(connection, target, invocation.migrations())
    environment = target.environment or (found.identity.environment if found.identity else None)
    print_result(_status_document(found, environment), _status_text(found, environment), as_json=invocation.as_json)


def _status_document(found: Status, environment: str | None) -> JsonDocument:
    document: dict[str, object] = {
        "environment": environment,
        "database": found.database,
        "current": found.current,
        "applied": [
            {
                "version": row.version,
                "name": row.name,
                "applied_at": row.applied_at.isoformat(),
                "applied_by": row.applied_by,
                "checksum_ok": same,
                **({"saved_rows": saved_document(row.saved_rows)} if row.saved_rows else {}),
            }
            for row, same in found.applied
        ],
        "pending": [{"version": one.version, "name": one.name} for one in found.pending],
        "failed": [
            {"version": row.version, "error": row.error, "applied_at": row.applied_at.isoformat()}
            for row in found.failed
        ],
        "running": [
            {
                "version": row.version,
                "applied_by": row.applied_by,
                "applied_at": row.applied_at.isoformat(),
                "statements_done": row.statements_done,
                "runner": found.runner,
            }
            for row in found.running
        ],
    }
    partly = [
        {
            "version": row.version,
            "applied_at": row.applied_at.isoformat(),
            "pct": staged.shares[-1].pct,
            "rows": staged.rows,
            "of": staged.share_of,
            "rollout_id": row.rollout_id,
        }
        for row, staged in _staged(found)
    ]
    # Most databases never have any.
    return document | ({"partly": partly} if partly else {})


_FILE_STATE = {True: "applied", False: "applied, FILE CHANGED SINCE", None: "applied, file not on disk"}


def _status_text(found: Status, environment: str | None) -> str:
    head = f"{found.database} ({environment or 'environment not named'}): current version {found.current or 'none'}"
    rows = [
        (row.version, row.name, _applied_text(row, same), f"{row.applied_at:%Y-%m-%d %H:%M:%S %Z}", row.applied_by)
        for row, same in found.applied
    ]
    notes = dict.fromkeys(found.again, "pending again: its text was changed since it was applied")
    notes |= {row.version: f"pending, last try FAILED: {row.error}" for row in found.failed}
    programs = {one.version for one in found.pending if one.program is not None}
    notes |= {row.version: _running_text(row, found.runner, anew=row.version in programs) for row in found.running}
    notes |= {row.version: _partly_text(row, staged) for row, staged in _staged(found)}
    rows += [(one.version, one.name, notes.get(one.version, "pending"), "", "") for one in found.pending]
    return "\n".join([head, "", table(("version", "name", "state", "at", "by"), rows)]) if rows else head


def _staged(found: Status) -> Iterator[tuple[HistoryRow, BatchedStatement]]:
    """What is done by share of its rows, with the statement that is counted."""
    for row in found.partly:
        staged = row.batch_progress.staged if row.batch_progress else None
        if staged is not None and staged.shares:
            yield row, staged


def _partly_text(row: HistoryRow, staged: BatchedStatement) -> str:
    by = f"rollout {row.rollout_id}" if row.rollout_id else "the next apply"
    since = f"since {staged.shares[-1].at:%Y-%m-%d %H:%M:%S %Z}"
    return f"a share of its rows is done, as was meant: {staged}, {since}; {by} goes on"


def _applied_text(row: HistoryRow, same: bool | None) -> str:  # noqa: FBT001
    if row.saved_rows is None:
        return _FILE_STATE[same]
    rows = sum(one.rows for one in row.saved_rows.tables)
    return f"{_FILE_STATE[same]}, {rows:,} rows saved"


def _running_text(row: HistoryRow, runner: str | None, *, anew: bool) -> str:
    since = f"since {row.applied_at:%H:%M:%S %Z}"
    if runner is not None:
        return f"RUNNING {since}: {runner}"
    kept = f"{row.statements_done} statements were finished and stay" if row.statements_done else "nothing was kept"
    goes_on = "begins it anew" if anew else "goes on from there"
    return f"its run DIED ({since}); {kept}; the next apply {goes_on}"
