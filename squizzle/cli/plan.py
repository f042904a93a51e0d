"""The verb that shows what would run, and what that means for clients: plan."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import click

from squizzle.cli.batches import batch_document, batch_words
from squizzle.cli.books import kept_books
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.errors import InvalidInputError
from squizzle.migrations.batch_records import BatchPolicy
from squizzle.migrations.history import lock_documents
from squizzle.migrations.operations import preview_plan
from squizzle.migrations.planned_statements import PlannedStatement, planned_statements
from squizzle.migrations.preview import place_of
from squizzle.migrations.records import Plan
from squizzle.migrations.saving_estimate import SavingEstimate, estimate_savings
from squizzle.postgres.access import connect
from squizzle.postgres.kinship.reading import read_surroundings
from squizzle.reports.findings import side_documents, side_lines


@click.command()
@click.argument("version", required=False)
@click.option("--all", "everything", is_flag=True, help="Every pending version; also when nothing is said.")
@click.option("--save-rows", is_flag=True, help="As for apply; says how much would be saved.")
@common_options
def plan(invocation: Invocation, version: str | None, *, everything: bool, save_rows: bool) -> None:
    """Show the statements that would run, each with its lock, its limits, its hazards and its way back.

    Nothing is changed. Locks are told from the text of each statement and from the catalogue as it is now (CASCADE,
    the other end of a foreign key that is dropped, partitions); what a function or a block does is said to be open.
    """
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
    document = {
        "target": {"database": target.database, "schema": target.schema, "environment": target.environment},
        "schema_digest": found.schema_digest,
        "statements": [_document(one, found.policy.batches, savings) for one in statements],
    }
    human = "\n\n".join(_text(one, found.policy.batches, savings) for one in statements) or "nothing to apply"
    print_result(document, _head(found) + human, as_json=invocation.as_json)


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
