"""The verb that shows what would run, and what that means for clients: plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import click

from squizzle.cli.batches import batch_document, batch_words
from squizzle.cli.books import kept_books
from squizzle.cli.names import versions
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError
from squizzle.migrations.batch_records import BatchPolicy
from squizzle.migrations.history import lock_documents
from squizzle.migrations.operations import preview_plan
from squizzle.migrations.planned_statements import PlannedStatement, planned_statements
from squizzle.migrations.preview import place_of
from squizzle.migrations.records import Plan
from squizzle.migrations.saving_estimate import SavingEstimate, estimate_savings
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.kinship.reading import read_surroundings
from squizzle.rehearsal.lock_forecast_records import QueueForecast
from squizzle.rehearsal.plan_forecast import RehearsedScripts, forecast_plan
from squizzle.reports.findings import side_documents, side_lines
from squizzle.reports.lock_forecast import lock_forecast_document, lock_forecast_lines


@click.command()
@click.argument("version", required=False, shell_complete=versions)
@click.option("--all", "everything", is_flag=True, help="Every pending version; also when nothing is said.")
@click.option("--save-rows", is_flag=True, help="As for apply; says how much would be saved.")
@click.option(
    "--watch", metavar="TIME", help="Look so long how busy tables are (2s); else averages since the server counts."
)
@click.option("--no-forecast", is_flag=True, help="Do not say who would wait; nor is the store asked for rehearsals.")
@common_options
def plan(
    invocation: Invocation,
    version: str | None,
    *,
    everything: bool,
    save_rows: bool,
    watch: str | None,
    no_forecast: bool,
) -> None:
    """Show the statements that would run, each with its lock, its limits, its hazards and its way back.

    Nothing is changed. Locks are told from the text of each statement and from the catalogue as it is now (CASCADE,
    the other end of a foreign key that is dropped, partitions); what a function or a block does is said to be open.
    At the end: who would have to wait if it ran now.

    \b
    Examples:
      squizzle plan --all --env staging
      squizzle plan 0013 --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    over = _watch_time(watch)
    if version is not None and everything:
        raise InvalidInputError("say what to plan", hint="give either VERSION or --all")
    access, target = invocation.target()
    migrations = invocation.migrations()
    books = kept_books(invocation, migrations)
    with connect(access, target.database, purpose="plan", read_only=True) as connection:
        policy = invocation.policy(save_rows=save_rows)
        found = preview_plan(connection, target, migrations, only=version, policy=policy, books=books)
        savings = estimate_savings(connection, found)
        around = read_surroundings(connection, target.schema)
        statements = planned_statements(found, around)
        forecast = None if no_forecast else _forecast(invocation, connection, found, statements, over)
    document = {
        "target": {"database": target.database, "schema": target.schema, "environment": target.environment},
        "schema_digest": found.schema_digest,
        "statements": [_document(one, found.policy.batches, savings) for one in statements],
        "forecast": lock_forecast_document(forecast) if forecast else None,
    }
    human = "\n\n".join(_text(one, found.policy.batches, savings) for one in statements) or "nothing to apply"
    waits = [f"-- {line}" for line in lock_forecast_lines(forecast)] if forecast else []
    print_result(
        document, "\n".join([_head(found) + human, *(["", *waits] if waits else [])]), as_json=invocation.as_json
    )


def _forecast(
    invocation: Invocation, connection: Connection, found: Plan, statements: Sequence[PlannedStatement], over: timedelta
) -> QueueForecast | None:
    return forecast_plan(connection, found, statements, rehearsed=_rehearsed(invocation, found), over=over)


def _rehearsed(invocation: Invocation, found: Plan) -> RehearsedScripts | None:
    if not invocation.config.backups.store:
        return None
    # Stores cost 60 ms to import; where none is configured nothing of them is needed.
    from squizzle.cli.backups import store_of  # noqa: PLC0415
    from squizzle.rehearsal.rehearsed_scripts import find_rehearsed  # noqa: PLC0415

    return find_rehearsed(store_of(None, invocation.config), found)


def _watch_time(text: str | None) -> timedelta:
    try:
        return parse_duration(text) if text else timedelta()
    except ValueError as exc:
        raise InvalidInputError(f"--watch {text!r}: {exc}", hint="write --watch 2s") from exc


def _head(found: Plan) -> str:
    return f"-- {found.database}, schema {found.schema} as of digest {found.schema_digest[:12]}\n\n"


def _document(one: PlannedStatement, policy: BatchPolicy, savings: _Savings) -> dict[str, object]:
    strongest = one.forecast.strongest
    saving = savings.get((one.version, one.statement.saves))
    return {
        "version": one.version,
        "source": one.source,
        "line": one.statement.line,
        "sql": one.statement.sql,
        "lock": strongest.mode.value if strongest else None if one.forecast.complete else "unknown",
        "locks": lock_documents(one.forecast.locks),
        "also_locks": side_documents(one.also_locks),
        "locks_complete": one.forecast.complete,
        "lock_timeout_ms": _ms(one.lock_timeout),
        "statement_timeout_ms": _ms(one.statement_timeout),
        "transactional": one.transactional,
        **({"batch": batch_document(one.statement.batch, policy)} if one.statement.batch else {}),
        **({"saves": _saving_document(saving)} if saving else {}),
        "hazards": list(one.hazards),
        "requires": [note.arguments[0] for note in one.statement.requires],
        "reversal": one.reversal or None,
    }


_Savings = Mapping[tuple[str, int], SavingEstimate]
_MEGABYTE = 1_000_000


def _saving_document(saving: SavingEstimate) -> dict[str, object]:
    return {
        "tables": list(saving.tables),
        "rows": saving.rows,
        "size_bytes": saving.size_bytes,
        "problem": saving.problem or None,
    }


def _saving_words(saving: SavingEstimate) -> str:
    if saving.problem:
        return f"nothing, and apply will refuse it: {saving.problem}"
    if not saving.tables:
        return "nothing; its way back needs no rows"
    return f"about {saving.rows:,} rows of {', '.join(saving.tables)}, at most {saving.size_bytes / _MEGABYTE:,.1f} MB"


def _ms(duration: timedelta | None) -> int | None:
    return None if duration is None else round(duration.total_seconds() * 1000)


def _text(one: PlannedStatement, policy: BatchPolicy, savings: _Savings) -> str:
    waits = "as the script says" if one.lock_timeout is None else f"{_ms(one.lock_timeout)} ms"
    saving = savings.get((one.version, one.statement.saves))
    batch = one.statement.batch
    how = f" ({batch_words(batch, policy)})" if batch else "" if one.transactional else " (outside a transaction)"
    lines = [
        f"-- {place_of(one.source, one.statement)}{how}",
        f"--   locks   {_locks(one)}; waits for them {waits} at a time",
        *(f"--   also    {line}" for line in side_lines(one.also_locks)),
        f"--   back    {one.reversal or 'there is no way back on disk'}",
        *([f"--   saves   {_saving_words(saving)}"] if saving else []),
        *(f"--   mind    {hazard}" for hazard in one.hazards),
        *(f"--   only if {note.arguments[0]}" for note in one.statement.requires),
        f"{one.statement.sql};",
    ]
    return "\n".join(lines)


def _locks(one: PlannedStatement) -> str:
    if not one.forecast.locks:
        return "nothing that was there before" if one.forecast.complete else "not known from its text"
    side = {lock.relation for lock in one.also_locks}
    named = [f"{lock.relation} {lock.mode}" for lock in one.forecast.locks if lock.relation not in side]
    return ", ".join(named) or "nothing that it names"
