"""Verbs that change a database's schema: apply, rollback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType

import click

from squizzle.analysis.records import Statement
from squizzle.cli.batches import batch_document, batch_words
from squizzle.cli.books import kept_books
from squizzle.cli.gate import GateOptions, answers_document, ask, gate_options, require, say_answers
from squizzle.cli.names import versions
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.cli.reverse import means_of
from squizzle.cli.saved import saved_document
from squizzle.errors import InvalidInputError
from squizzle.migrations.batch_records import BatchPolicy
from squizzle.migrations.executor import Report
from squizzle.migrations.forgetting import forget_saved_rows as forget
from squizzle.migrations.history import lock_documents
from squizzle.migrations.lineage import full_version
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import (
    apply_versions,
    preview_apply,
    preview_rollback,
    preview_versions,
    roll_back_versions,
)
from squizzle.migrations.preview import Preview, place_of, preview_step
from squizzle.migrations.records import Direction, Outcome, PlannedMigration
from squizzle.migrations.reversal.generated_downs import with_generated_downs
from squizzle.migrations.reversal.requests import Live
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.identity import Target, read_identity


@click.command()
@click.argument("version", required=False, shell_complete=versions)
@click.option("--all", "everything", is_flag=True, help="Every pending version.")
@click.option("--to", metavar="VERSION", shell_complete=versions, help="Pending versions up to this one.")
@click.option("--dry-run", is_flag=True, help="Execute nothing; show exactly what would run.")
@click.option("--save-rows", is_flag=True, help="Save the rows that scripts change or take away, for the way back.")
@gate_options
@common_options
def apply(  # noqa: PLR0913 - one argument an option
    invocation: Invocation,
    version: str | None,
    to: str | None,
    store: str | None,
    reason: str | None,
    approver: str | None,
    *,
    everything: bool,
    dry_run: bool,
    save_rows: bool,
) -> None:
    """Apply pending versions in order: VERSION (the next one), --to VERSION, or --all.

    An environment of [rehearsal] required_for (production, unless it says otherwise) takes only versions with a
    certificate that counts, or with a reason and the name of who approves it.

    \b
    Examples:
      squizzle apply --all --env staging
      squizzle apply 0007 --env staging --dry-run
      squizzle apply 0007 --env production --without-certificate "fix of an outage" --approver ada
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if (version is not None) + (to is not None) + everything != 1:
        raise InvalidInputError("say what to apply", hint="give one of: VERSION, --to VERSION, --all")
    access, target = invocation.target()
    migrations = invocation.migrations()
    books = kept_books(invocation, migrations)
    policy = invocation.policy(save_rows=save_rows)
    options = GateOptions(store=store, reason=reason, approver=approver)
    with connect(access, target.database, purpose="migration") as connection:
        planned = preview_apply(
            connection, target, migrations, to=to, only=version, policy=policy, listener=_LISTENER, books=books
        )
        identity = read_identity(connection)
        answers = ask(invocation, connection, target, identity, planned, options)
        if dry_run:
            say_answers(answers)
            certificates = {"certificates": answers_document(answers)} if answers else {}
            _print_preview(invocation, connection, target, planned, verb="apply", more=certificates)
            return
        approvals = require(invocation, answers, options)
        if planned:
            invocation.confirm(f"apply {_versions(planned)}", target, identity)
        # The plan of a large file is as large; the one that is carried out is made anew, under the lock.
        del planned
        report = apply_versions(
            connection,
            target,
            migrations,
            to=to,
            only=version,
            policy=policy,
            listener=_LISTENER,
            books=books,
            approvals=approvals,
        )
        current = read_status(connection, target, migrations).current
    _print_report(invocation, report, current, done="applied")


def _versions(planned: tuple[PlannedMigration, ...]) -> str:
    first, last = planned[0].migration.version, planned[-1].migration.version
    return first if first == last else f"{first} to {last} ({len(planned)} versions)"


def _print_preview(
    invocation: Invocation,
    connection: Connection,
    target: Target,
    planned: tuple[PlannedMigration, ...],
    *,
    verb: str,
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    policy = invocation.config.policy.batches
    previews = [preview_step(one) for one in planned]
    document = {
        "applied" if verb == "apply" else "rolled_back": [],
        "current": read_status(connection, target, ()).current,
        "dry_run": True,
        f"would_{verb}": [_preview_document(one, policy) for one in previews],
        **more,
    }
    human = [line for one in previews for line in _preview_text(one, policy)]
    print_result(document, "\n\n".join(human) or "nothing to do", as_json=invocation.as_json)


def _preview_document(preview: Preview, policy: BatchPolicy) -> dict[str, object]:
    document: dict[str, object] = {
        "version": preview.step.migration.version,
        "transactional": preview.transactional,
        "statements": [_statement_document(statement, policy) for statement in preview.statements],
    }
    return document | ({"not_shown": preview.not_shown} if preview.not_shown else {})


def _statement_document(statement: Statement, policy: BatchPolicy) -> dict[str, object]:
    document: dict[str, object] = {"line": statement.line, "sql": statement.sql}
    return document | ({"batch": batch_document(statement.batch, policy)} if statement.batch else {})


def _preview_text(preview: Preview, policy: BatchPolicy) -> Iterator[str]:
    is_program = preview.step.migration.program is not None
    for statement in preview.statements:
        inside = preview.transactional or (is_program and statement.transactional)
        outside = "" if inside else " (outside a transaction)"
        how = f" ({batch_words(statement.batch, policy)})" if statement.batch else outside
        yield f"-- {place_of(preview.step.source, statement)}{how}\n{statement.sql};"
    if preview.not_shown:
        yield f"-- {preview.step.source}: {preview.not_shown}"


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)


def _say_done(outcome: Outcome) -> None:
    verb = "applied" if outcome.direction is Direction.APPLY else "rolled back"
    say(f"{verb} {outcome.version} in {outcome.duration.total_seconds():.3f} s")
    for one in outcome.batched:
        say(f"  line {one.line}: {one.rows:,} rows in {one.batches:,} batches of {one.table} by {', '.join(one.key)}")
    for kept in outcome.saved.tables if outcome.saved else ():
        say(f"  line {kept.line}: {kept.rows:,} rows of {kept.table} are saved in {kept.name}")


_LISTENER = Listener(on_done=_say_done, on_wait=say, on_progress=say)


def _print_report(invocation: Invocation, report: Report, current: str | None, *, done: str) -> None:
    warnings = list(_warnings(report))
    for sentence in warnings:
        say(f"note: {sentence}")
    document = {
        done: [_outcome_document(one) for one in report.outcomes],
        "current": current,
        "analyzed": list(report.aftercare.analyzed),
        "warnings": warnings,
    }
    print_result(document, _summary(report, current), as_json=invocation.as_json)


def _outcome_document(outcome: Outcome) -> dict[str, object]:
    observed = outcome.locks.observed
    document: dict[str, object] = {
        "version": outcome.version,
        "duration_ms": _ms(outcome.duration),
        "lock_wait_ms": _ms(outcome.lock_wait),
        "attempts": outcome.attempts,
        "locks": {
            "predicted": lock_documents(outcome.locks.predicted.locks),
            "complete": outcome.locks.predicted.complete,
            "observed": None if observed is None else lock_documents(observed),
        },
    }
    if outcome.batched:
        document["batched"] = [
            {"line": one.line, "table": one.table, "key": list(one.key), "rows": one.rows, "batches": one.batches}
            for one in outcome.batched
        ]
    if outcome.saved:
        document["saved_rows"] = saved_document(outcome.saved)
    return document


def _warnings(report: Report) -> Iterator[str]:
    for outcome in report.outcomes:
        for lock in outcome.locks.unforeseen:
            if lock.mode.blocks_writes:
                yield f"{outcome.version} locked {lock.relation} {lock.mode}, which its text does not tell"
    yield from report.aftercare.problems
    for defect in report.aftercare.defects:
        yield defect.sentence()


def _summary(report: Report, current: str | None) -> str:
    count = len(report.outcomes)
    done = "nothing to do" if count == 0 else f"{count} version{'s' if count > 1 else ''} done"
    return f"{done}; current version {current or 'none'}"


@click.command()
@click.argument("version", required=False, shell_complete=versions)
@click.option(
    "--to",
    metavar="VERSION",
    shell_complete=versions,
    help="Roll back everything after this version; it stays applied.",
)
@click.option("--dry-run", is_flag=True, help="Execute nothing; show exactly what would run.")
@click.option("--generated", is_flag=True, help="Where there is no down script, take the generated way back.")
@click.option("--accept-loss", is_flag=True, help="With --generated: also one that loses something.")
@click.option("--keep-newer", is_flag=True, help="With --generated: rows that clients changed since stay as they are.")
@click.option("--scratch", metavar="URL", help="With --generated: a server for scratch databases.")
@click.option("--forget-saved-rows", is_flag=True, help="Only drop the rows that VERSION saved; it stays applied.")
@common_options
def rollback(  # noqa: PLR0913 - one argument an option
    invocation: Invocation,
    version: str | None,
    to: str | None,
    scratch: str | None,
    *,
    dry_run: bool,
    generated: bool,
    accept_loss: bool,
    keep_newer: bool,
    forget_saved_rows: bool,
) -> None:
    """Run down scripts, newest version first: VERSION (the newest), or everything after --to VERSION.

    There is no default: going back always says how far.

    \b
    Examples:
      squizzle rollback 0013 --env staging
      squizzle rollback --to 0011 --env staging --dry-run
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if (version is None) == (to is None):
        raise InvalidInputError("say what to roll back", hint="give VERSION, or --to VERSION; there is no default")
    if (accept_loss or keep_newer or scratch) and not generated:
        raise InvalidInputError(
            "--accept-loss, --keep-newer and --scratch say how to generate a way back", hint="add --generated"
        )
    if forget_saved_rows:
        _forget(invocation, version, other_options=dry_run or generated)
        return
    access, target = invocation.target()
    migrations = invocation.migrations()
    books = kept_books(invocation, migrations)
    with connect(access, target.database, purpose="rollback") as connection:
        if generated:
            means = means_of(invocation, scratch)
            chosen = preview_versions(connection, target, migrations, to=to, only=version)
            live = Live(connection=connection, access=access, target=target)
            migrations = with_generated_downs(
                migrations, chosen, live, means, accept_loss=accept_loss, say=say, keep_newer=keep_newer
            )
        if dry_run:
            planned = preview_rollback(connection, target, migrations, to=to, only=version, books=books)
            _print_preview(invocation, connection, target, planned, verb="roll_back")
            return
        what = f"roll back {version}" if version else f"roll back everything after {to}"
        invocation.confirm(what, target, read_identity(connection))
        report = roll_back_versions(
            connection,
            target,
            migrations,
            to=to,
            only=version,
            policy=invocation.config.policy,
            listener=_LISTENER,
            books=books,
        )
        current = read_status(connection, target, migrations).current
    _print_report(invocation, report, current, done="rolled_back")


def _forget(invocation: Invocation, version: str | None, *, other_options: bool) -> None:
    if version is None or other_options:
        raise InvalidInputError("--forget-saved-rows stands alone with a VERSION", hint="it rolls nothing back")
    access, target = invocation.target()
    version = full_version(version, invocation.migrations()) or version
    with connect(access, target.database, purpose="forget") as connection:
        invocation.confirm(f"drop the saved rows of {version}", target, read_identity(connection))
        dropped = forget(connection, target, version)
        current = read_status(connection, target, ()).current
    document = {"rolled_back": [], "forgotten": [one.name for one in dropped], "current": current}
    human = "\n".join(f"dropped {one.name} ({one.rows:,} rows of {one.table})" for one in dropped)
    print_result(document, human, as_json=invocation.as_json)
