"""Which scripts will run, and in which order. Pure decisions; nothing is read or changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import ChecksumMismatchError, InvalidInputError, RollbackFailedError, VersionConflictError
from squizzle.migrations.history import History
from squizzle.migrations.lineage import depend_on, full_version, needed_by
from squizzle.migrations.records import Direction, Migration, PlannedMigration
from squizzle.migrations.status import pending
from squizzle.migrations.units import PROGRAM, Unit, divide
from squizzle.migrations.versions import is_repeatable, version_key


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

    Raises:
        VersionConflictError: Unknown version, or one older than what is applied (unless that is allowed), or (with
            `only`) not the next one.
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
    return tuple(_planned_up(migration, skip=_done_before(migration, history)) for migration in wanted)


def _done_before(migration: Migration, history: History) -> int:
    row = history.half_done().get(migration.version)
    if row is None or (migration.repeatable and row.checksum != migration.checksum):
        return 0
    return row.statements_done


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


def _planned_up(migration: Migration, *, skip: int) -> PlannedMigration:
    if migration.program is not None:
        units: tuple[Unit, ...] = (PROGRAM,)
    else:
        script = _script(migration.up_sql, migration.labels.up, migration.in_transaction)
        units = tuple(unit for unit in script if unit.ends_at > skip)
    return PlannedMigration(
        migration=migration,
        direction=Direction.APPLY,
        source=migration.labels.up,
        units=units,
        verify=_verify_script(migration),
        done_before=skip,
    )


def _script(text: str, source: str, declared: bool | None) -> tuple[Unit, ...]:  # noqa: FBT001
    return divide(split_statements(text, source=source), declared=declared, source=source)


def _verify_script(migration: Migration) -> tuple[Statement, ...]:
    source = migration.labels.verify
    statements = split_statements(migration.verify_sql or "", source=source)
    for statement in statements:
        if statement.ends_transaction or not statement.transactional:
            raise InvalidInputError(
                f"{source}:{statement.line}: a verify script runs inside the migration's transaction and may not"
                f" end it ({statement.words[0]})",
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
        InvalidInputError: A script cannot be read as SQL, or ends our transaction by itself.
    """
    _refuse_repeatable(to or only or "", migrations)
    there = _present(history)
    half_done = {version: row.statements_done for version, row in history.half_done().items()}
    to, only = full_version(to, migrations), full_version(only, migrations)
    chosen = _only_newest(only, there, migrations) if only is not None else _after(to, there, migrations)
    on_disk = {migration.version: migration for migration in migrations}
    return tuple(_planned_down(version, on_disk, done=half_done.get(version, 0)) for version in chosen)


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


def _planned_down(version: str, on_disk: Mapping[str, Migration], *, done: int) -> PlannedMigration:
    migration = on_disk.get(version)
    if migration is not None and migration.program is not None and migration.program.has_way_back:
        return PlannedMigration(
            migration=migration,
            direction=Direction.ROLLBACK,
            source=migration.labels.down,
            units=(PROGRAM,),
            done_before=done,
        )
    if migration is None or migration.down_sql is None:
        lacks = "is not in the migrations folder" if migration is None else "has no down.sql"
        raise RollbackFailedError(
            f"{version} {lacks}; nothing was rolled back",
            hint="write the down script, or bring the data back from a backup",
        )
    source = migration.labels.down
    return PlannedMigration(
        migration=migration,
        direction=Direction.ROLLBACK,
        source=source,
        units=_script(migration.down_sql, source, migration.down_in_transaction),
    )
