"""Which scripts will run, and in which order. Pure decisions; nothing is read or changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from squizzle.analysis.records import BatchOptions, Statement
from squizzle.analysis.statements import may_touch_rows
from squizzle.errors import ChecksumMismatchError, InvalidInputError, RollbackFailedError, VersionConflictError
from squizzle.migrations.batch_records import BatchProgress, fingerprints
from squizzle.migrations.history import History
from squizzle.migrations.lineage import depend_on, full_version, needed_by
from squizzle.migrations.read_scripts import script_statements
from squizzle.migrations.records import Direction, HistoryRow, Migration, PlannedMigration
from squizzle.migrations.status import pending
from squizzle.migrations.units import PROGRAM, divide, remaining
from squizzle.migrations.versions import is_repeatable, version_key

# How a statement without a mark runs in batches, by the statements of its script before it, itself, and the script's
# name; None for not at all.
AutomaticBatches = Callable[[Sequence[Statement], Statement, str], BatchOptions | None]


def _never(_earlier: Sequence[Statement], _statement: Statement, _source: str) -> None:
    """Only marked statements run in batches."""


def check_history(migrations: Sequence[Migration], history: History) -> None:
    """Refuse when what is in the database is not what is on disk.

    Raises:
        VersionConflictError: An applied version is not on disk.
        ChecksumMismatchError: The up script of an applied (or half-applied) version was changed, and it is not
            repeatable.
    """
    on_disk = {migration.version: migration for migration in migrations}
    applied = history.applied()
    unknown = [version for version in applied if version not in on_disk]
    if unknown:
        raise VersionConflictError(
            f"applied in the database, but not in the migrations folder: {', '.join(unknown)}",
            hint="check out the branch that has them, or roll them back where they are",
        )
    # A program that was half done begins anew, so mending it is what its author should do.
    resumed = {one: row for one, row in history.half_done().items() if one in on_disk and not on_disk[one].program}
    changed = [
        version
        for version, row in {**resumed, **applied}.items()
        if version in on_disk and row.checksum and row.checksum != on_disk[version].checksum
        # A repeatable migration is meant to be changed, and begins anew when it was stopped half-way.
        if not is_repeatable(version)
    ]
    if changed:
        raise ChecksumMismatchError(
            f"changed after it was applied: {', '.join(_file(on_disk[version]) for version in changed)}",
            hint="restore the file as it was (git log shows it), and put the change into a new version",
        )


def _file(migration: Migration) -> str:
    return migration.labels.up


def plan_apply(
    migrations: Sequence[Migration],
    history: History,
    *,
    to: str | None = None,
    only: str | None = None,
    out_of_order: bool = False,
    save_rows: bool = False,
    automatic: AutomaticBatches = _never,
) -> tuple[PlannedMigration, ...]:
    """The up scripts to run: everything pending, everything up to a version, or one version.

    Repeatable migrations come last, and with `to` only when nothing before them stays pending: they may use what the
    newest version made.

    Args:
        migrations: What is on disk.
        history: What is in the database.
        to: The last version to apply.
        only: The one version to apply; everything before it must be there already.
        out_of_order: Whether versions older than what is applied may still come.
        save_rows: Whether rows that a script changes or takes away are saved where it says nothing else.
        automatic: Decides for statements without a mark whether they run in batches.

    Raises:
        VersionConflictError: Unknown version, or one older than what is applied (unless that is allowed), or (with
            `only`) not the next one, or one whose rollback in batches did not end.
        ChecksumMismatchError: An applied file was changed.
        InvalidInputError: A script cannot be read as SQL, or ends our transaction by itself.
    """
    check_history(migrations, history)
    wanted = pending(migrations, history)
    to, only = full_version(to, migrations), full_version(only, migrations)
    for version in (to, only):
        if version is not None:
            _known(version, migrations)
    if to is not None:
        wanted = _up_to(to, wanted, needed_by(to, migrations))
    if only is not None:
        wanted = _only(only, wanted, needed_by(only, migrations))
    if not out_of_order:
        _check_order(wanted, history)
    _refuse_half_rolled_back(wanted, history)
    died = history.interrupted(Direction.APPLY)
    steps = (_planned_up(migration, _begun(migration, history), automatic, save_rows=save_rows) for migration in wanted)
    return tuple(replace(step, interrupted=step.migration.version in died) for step in steps)


def _begun(migration: Migration, history: History) -> HistoryRow | None:
    """The run of it that did not end and is to be continued."""
    row = history.half_done().get(migration.version)
    return None if row is None or (migration.repeatable and row.checksum != migration.checksum) else row


def _up_to(version: str, wanted: Sequence[Migration], needed: Collection[str]) -> tuple[Migration, ...]:
    chosen = tuple(one for one in wanted if one.version == version or one.version in needed)
    later = [one for one in wanted if one not in chosen]
    return chosen if any(not one.repeatable for one in later) or is_repeatable(version) else tuple(wanted)


def _known(version: str, migrations: Sequence[Migration]) -> None:
    if version not in {migration.version for migration in migrations}:
        raise VersionConflictError(
            f"there is no version {version} in the migrations folder",
            hint=f"the newest is {_newest(migrations)}" if migrations else "the folder is empty",
        )


def _newest(migrations: Sequence[Migration]) -> str:
    return next((one.version for one in reversed(migrations) if not one.repeatable), migrations[-1].version)


def _only(version: str, wanted: Sequence[Migration], needed: Collection[str]) -> tuple[Migration, ...]:
    chosen = tuple(one for one in wanted if one.version == version)
    earlier = [one.version for one in wanted if one.version in needed and not one.repeatable]
    if chosen and earlier:
        raise VersionConflictError(
            f"{version} cannot be applied alone: {', '.join(earlier)} come before it",
            hint=f"squizzle apply --to {version}",
        )
    return chosen


def _check_order(wanted: Sequence[Migration], history: History) -> None:
    current = history.current
    # What says itself which versions it needs may come late: they are there, or before it in this very plan.
    ordered = [one.version for one in wanted if one.requires is None]
    late = [version for version in ordered if current and version_key(version) < version_key(current)]
    if late:
        raise VersionConflictError(
            f"older than what is applied ({current}): {', '.join(late)}",
            hint="give the late migration the next free version, roll back to before it, or set out_of_order = true"
            " in [project] where late versions are meant to come",
        )


def _refuse_half_rolled_back(wanted: Sequence[Migration], history: History) -> None:
    between = list(history.half_rolled_back())
    if between and wanted:
        raise VersionConflictError(
            f"a rollback in batches did not end: {', '.join(between)}; some rows are back, others not",
            hint=f"squizzle rollback {between[-1]} goes on with it",
        )


def _planned_up(
    migration: Migration, begun: HistoryRow | None, automatic: AutomaticBatches, *, save_rows: bool
) -> PlannedMigration:
    if migration.program is not None:
        if save_rows and not migration.repeatable:
            raise InvalidInputError(
                f"{migration.labels.up} is a program, and rows can only be saved for SQL scripts",
                hint="apply it without save_rows, after a backup",
            )
        done = begun.statements_done if begun else 0
        return replace(_planned_program(migration, Direction.APPLY, done), verify=_verify_script(migration))
    step = _planned(migration, Direction.APPLY, begun, automatic, save_rows=save_rows)
    return replace(step, verify=_verify_script(migration))


def _planned_program(migration: Migration, direction: Direction, done: int) -> PlannedMigration:
    source = migration.labels.up if direction is Direction.APPLY else migration.labels.down
    return PlannedMigration(migration=migration, direction=direction, source=source, units=(PROGRAM,), done_before=done)


def _planned(
    migration: Migration,
    direction: Direction,
    begun: HistoryRow | None,
    automatic: AutomaticBatches,
    *,
    save_rows: bool = False,
) -> PlannedMigration:
    """One script, and what of it an earlier run left to do."""
    up = direction is Direction.APPLY
    source = migration.labels.up if up else migration.labels.down
    declared = migration.in_transaction if up else migration.down_in_transaction
    skip = begun.statements_done if begun else 0
    statements = script_statements((migration.up_sql if up else migration.down_sql) or "", source)
    progress = begun.batch_progress if begun else None
    if progress is not None:
        _refuse_changed_script(statements, progress, skip, source)
    statements = _with_batches(statements, declared, skip, progress, source, automatic)
    if up and not migration.repeatable:
        statements = tuple(_with_saving(statements, save_rows=save_rows))
    else:
        _refuse_saving(statements, source)
    units = divide(statements, declared=declared, source=source)
    return PlannedMigration(
        migration=migration,
        direction=direction,
        source=source,
        units=remaining(units, skip),
        done_before=skip,
        settings=tuple(one for one in statements[:skip] if _stays_in_session(one)),
        progress=_progress(statements, progress),
        saved=begun.saved_rows if begun and up else None,
        row_id=begun.id if begun and up and begun.is_partly else None,
    )


def _refuse_changed_script(statements: Sequence[Statement], progress: BatchProgress, skip: int, source: str) -> None:
    """What is done, and what is half done, must still be what the script says; what comes behind may have changed."""
    begun = max((skip, *(one.position + 1 for one in progress.statements)))
    if fingerprints(statements)[:begun] != progress.script[:begun]:
        raise ChecksumMismatchError(
            f"{source}: one of its first {begun} statements was changed after batches of it were done",
            hint="restore them as they were (git log shows it); what comes behind them may be changed",
        )


def _with_batches(
    statements: Sequence[Statement],
    declared: bool | None,  # noqa: FBT001
    skip: int,
    progress: BatchProgress | None,
    source: str,
    automatic: AutomaticBatches,
) -> tuple[Statement, ...]:
    """The statements, each with how it runs in batches.

    One that was begun in batches goes on in them, whatever policy and size of the table are now: run whole, it would
    do a second time what is done.
    """
    whole = declared is True or any(statement.control for statement in statements)
    # It grows as it is looked at: a copy of what comes before each of a million statements would take hours.
    marked: list[Statement] = []
    for position, statement in enumerate(statements):
        options = statement.batch
        begun = progress.of(position) if progress else None
        if begun is not None and options is None:
            options = BatchOptions(key=begun.key, line=statement.line, automatic=True)
        elif options is None and position >= skip and not whole:
            options = automatic(marked, statement, source)
        marked.append(statement if options is statement.batch else replace(statement, batch=options))
    return tuple(marked)


def _with_saving(statements: Sequence[Statement], *, save_rows: bool) -> Iterator[Statement]:
    """The statements, those with their number whose rows are saved."""
    for number, statement in enumerate(statements, start=1):
        wanted = may_touch_rows(statement) if statement.save_rows is None and save_rows else statement.save_rows
        yield replace(statement, saves=number) if wanted else statement


def _refuse_saving(statements: Sequence[Statement], source: str) -> None:
    """Saved rows are for a generated way back, which a down script and a repeatable one never have."""
    for statement in statements:
        if statement.save_rows:
            raise InvalidInputError(
                f"{source}:{statement.line}: rows are saved for up scripts of versions alone, so here it does nothing",
                hint="remove the mark, and take a backup first where the rows may be wanted again",
            )


def _progress(statements: Sequence[Statement], before: BatchProgress | None) -> BatchProgress | None:
    if not any(statement.batch for statement in statements):
        return None
    return BatchProgress(script=fingerprints(statements), statements=before.statements if before else ())


def _stays_in_session(statement: Statement) -> bool:
    """Whether it sets something that later statements of its session rely on."""
    words = statement.words
    if words[:1] == ("SET",):
        return words[1:2] not in _ENDS_WITH_TRANSACTION and words[1:3] != ("SESSION", "AUTHORIZATION")
    return words[:1] == ("RESET",) or (words[:1] == ("SELECT",) and "SET_CONFIG" in words[1:5])


_ENDS_WITH_TRANSACTION = {("LOCAL",), ("TRANSACTION",), ("CONSTRAINTS",), ("ROLE",)}


def _verify_script(migration: Migration) -> tuple[Statement, ...]:
    source = migration.labels.verify
    statements = script_statements(migration.verify_sql or "", source)
    for statement in statements:
        if statement.batch is not None:
            raise InvalidInputError(
                f"{source}:{statement.line}: a verify script only looks, so nothing of it runs in batches",
                hint="remove the mark",
            )
        if statement.ends_transaction or not statement.transactional:
            raise InvalidInputError(
                f"{source}:{statement.line}: a verify script runs inside the migration's transaction and may not"
                f" end it ({' '.join(statement.words[:1])})",
                hint="let it only look: SELECT",
            )
    return statements


def plan_rollback(
    migrations: Sequence[Migration], history: History, *, to: str | None = None, only: str | None = None
) -> tuple[PlannedMigration, ...]:
    """The down scripts to run, newest version first. Repeatable migrations stay as they are.

    Args:
        migrations: What is on disk.
        history: What is in the database.
        to: The version that shall be current afterwards; it stays applied.
        only: The one version to roll back; it must be the newest applied one.

    Raises:
        VersionConflictError: The version is not applied, or newer ones are.
        RollbackFailedError: A version has no down script, or is repeatable; nothing was changed.
        ChecksumMismatchError: A rollback in batches did not end, and what it has done was changed in the down script.
        InvalidInputError: A script cannot be read as SQL, or ends our transaction by itself.
    """
    half_done = history.half_done()
    chosen = choose_for_rollback(migrations, history, to=to, only=only)
    on_disk = {migration.version: migration for migration in migrations}
    begun = history.half_rolled_back()
    died = history.interrupted(Direction.ROLLBACK)
    steps = (
        _planned_down(version, on_disk, left=half_done.get(version), begun=begun.get(version)) for version in chosen
    )
    return tuple(replace(step, interrupted=step.migration.version in died) for step in steps)


def choose_for_rollback(
    migrations: Sequence[Migration], history: History, *, to: str | None = None, only: str | None = None
) -> list[str]:
    """The versions that a rollback would take back, newest first; args and errors as for `plan_rollback`."""
    _refuse_repeatable(to or only or "", migrations)
    there = _present(history)
    to, only = full_version(to, migrations), full_version(only, migrations)
    return _only_newest(only, there, migrations) if only is not None else _after(to, there, migrations)


def _present(history: History) -> list[str]:
    there = {*history.applied(), *history.half_done()}
    return sorted((version for version in there if not is_repeatable(version)), key=version_key)


def _refuse_repeatable(version: str, migrations: Sequence[Migration]) -> None:
    if is_repeatable(version):
        file = next((_file(one) for one in migrations if one.version == version), "its file")
        raise RollbackFailedError(
            f"{version} is repeatable, so it has no way back by itself; nothing was rolled back",
            hint=f"write its former text into {file} (git log shows it), and apply it again",
        )


def _only_newest(version: str, there: Sequence[str], migrations: Sequence[Migration]) -> list[str]:
    if version not in there:
        newest = there[-1] if there else "nothing"
        raise VersionConflictError(f"{version} is not applied", hint=f"the newest applied version is {newest}")
    after = depend_on(version, migrations, there)
    if after:
        newer = ", ".join(one for one in there if one in after)
        raise VersionConflictError(
            f"{version} is not the newest applied version: {newer} come after it",
            hint="squizzle rollback --to VERSION rolls back everything after VERSION",
        )
    return [version]


def _after(to: str | None, there: Sequence[str], migrations: Sequence[Migration]) -> list[str]:
    if to is None or to not in there:
        raise VersionConflictError(
            f"{to} is not applied, so there is no way back to it", hint="`squizzle status` lists what is applied"
        )
    after = depend_on(to, migrations, there)
    return [version for version in reversed(there) if version in after]


def _planned_down(
    version: str, on_disk: Mapping[str, Migration], *, left: HistoryRow | None, begun: HistoryRow | None
) -> PlannedMigration:
    migration = on_disk.get(version)
    if migration is not None and migration.program is not None and migration.program.has_way_back:
        return _planned_program(migration, Direction.ROLLBACK, left.statements_done if left else 0)
    if migration is None or migration.down_sql is None:
        lacks = "is not in the migrations folder" if migration is None else "has no down.sql"
        raise RollbackFailedError(
            f"{version} {lacks}; nothing was rolled back",
            hint="write the down script, let --generated write it, or bring the data back from a backup",
        )
    row_id = left.id if left and left.is_partly else None
    return replace(_planned(migration, Direction.ROLLBACK, begun, _never), row_id=row_id)
