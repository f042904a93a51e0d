"""A migration applied to the wrong database: what is where, the way back there, and the way to the right one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg

from squizzle.errors import InvalidInputError, RefusedError, VersionConflictError
from squizzle.migrations.executor import Report
from squizzle.migrations.history import read_history
from squizzle.migrations.lineage import depend_on, full_version
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, preview_apply, roll_back_versions
from squizzle.migrations.project import Project
from squizzle.migrations.records import Direction, HistoryRow, Migration
from squizzle.migrations.reversal.generated_downs import with_generated_downs
from squizzle.migrations.reversal.requests import Live, Means
from squizzle.migrations.status import Status, read_status
from squizzle.migrations.versions import is_repeatable, version_key
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Identity, Target
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One of the two databases.

    Attributes:
        database: Its name.
        where: The server, as it calls itself to a person.
        cluster: The server's system identifier and the database's OID: the same for one database under two addresses.
        identity: Who it says it is; None before the first change.
        current: The highest applied version.
        applied: Every applied version, oldest first.
    """

    database: str
    where: str
    cluster: str
    identity: Identity | None
    current: str | None
    applied: tuple[HistoryRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mishap:
    """What was applied where.

    Attributes:
        wrong: The database in which it should not be.
        right: The one that was meant.
        only_in_wrong: The versions that are applied in the wrong one and not in the right one, newest first.
        versions: Those that are to be taken back, newest first; empty when nobody said which.
        gone: Those of them that an earlier run has taken back already.
    """

    wrong: Place
    right: Place
    only_in_wrong: tuple[HistoryRow, ...]
    versions: tuple[str, ...]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class WayBack:
    """The way back of one version.

    Attributes:
        version: Which.
        sql: What will run, to the letter.
        source: Where it comes from: a file, or generated.
        remark: How good it is; empty for a script on disk, of which only its author knows.
    """

    version: str
    sql: str
    source: str
    remark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenBack:
    """What came of taking versions back.

    Attributes:
        versions: Those that were taken back, newest first.
        schema_is_as_before: Whether the schema is as the run before them left it; None when that was not recorded.
    """

    versions: tuple[str, ...]
    schema_is_as_before: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """One version that would be applied to the right database."""

    version: str
    name: str
    sql: str
    checksum: str


def see_mishap(
    wrong: Connection,
    wrong_target: Target,
    right: Connection,
    right_target: Target,
    project: Project,
    versions: Sequence[str],
) -> Mishap:
    """Document what was applied where. Nothing is changed.

    Args:
        wrong: A session in the wrong database.
        wrong_target: Who the caller means by it.
        right: A session in the right one.
        right_target: The same for it.
        project: What is on disk.
        versions: What was applied by mistake; empty to find out what may have been.

    Raises:
        IdentityMismatchError: One of the two is another one than was meant.
        RefusedError: Both are the same database.
        VersionConflictError: A version is not applied there, or others are that came after it.
    """
    places = (_place(wrong, wrong_target, project), _place(right, right_target, project))
    if places[0].cluster == places[1].cluster:
        raise RefusedError(
            f"the wrong and the right database are the same one: {places[0].database} on {places[0].where}",
            hint="choose the database that was meant as the right one",
        )
    there = {row.version for row in places[1].applied}
    applied = {row.version: row for row in places[0].applied}
    wanted = {full_version(version, project.migrations) or "" for version in versions}
    newest = {row.version: row for row in read_history(wrong, wrong_target.schema).rows}
    back = {one for one, row in newest.items() if row.direction is Direction.ROLLBACK and row.success}
    gone = (wanted - applied.keys()) & back
    _refuse_unfit(wanted - gone, applied, project.migrations, places[0].database)
    return Mishap(
        wrong=places[0],
        right=places[1],
        only_in_wrong=tuple(row for row in reversed(places[0].applied) if row.version not in there),
        versions=tuple(sorted(wanted, key=version_key, reverse=True)),
        gone=tuple(sorted(gone, key=version_key, reverse=True)),
    )


def _refuse_unfit(
    wanted: set[str], applied: dict[str, HistoryRow], migrations: Sequence[Migration], database: str
) -> None:
    missing = sorted(wanted - applied.keys())
    if missing:
        raise VersionConflictError(
            f"not applied in {database}: {', '.join(missing)}", hint="leave the versions empty to see what is"
        )
    later = {
        one
        for version in wanted
        for one in depend_on(version, migrations, applied)
        if one not in wanted and not is_repeatable(one)
    }
    if later:
        raise VersionConflictError(
            f"{', '.join(sorted(later, key=version_key))} came after what is to be taken back from {database}",
            hint="name these versions, too, if they are to be taken back with it",
        )


_CLUSTER: LiteralString = (
    "SELECT (SELECT system_identifier FROM pg_control_system())::text || ' ' || oid FROM pg_database"
    " WHERE datname = current_database()"
)


def _place(connection: Connection, target: Target, project: Project) -> Place:
    status: Status = read_status(connection, target, project.migrations)
    try:
        row = connection.execute(_CLUSTER).fetchone()
    except psycopg.Error as exc:
        needs = "EXECUTE on pg_control_system()"
        raise translate_error(exc, doing="see which cluster this is", needs=needs) from exc
    return Place(
        database=target.database,
        where=f"{connection.info.host}:{connection.info.port}",
        cluster=str(row[0]) if row else "",
        identity=status.identity,
        current=status.current,
        applied=tuple(read_history(connection, target.schema).applied().values()),
    )


def find_ways_back(
    live: Live, project: Project, versions: Sequence[str], *, accept_loss: bool, say: Callable[[str], None]
) -> tuple[WayBack, ...]:
    """The way back of each version: its down script, or a generated one. The database is only read.

    Args:
        live: The wrong database.
        project: What is on disk.
        versions: Newest first.
        accept_loss: Whether a generated way back may lose something.
        say: Told how good each generated one is.

    Raises:
        RollbackFailedError: One cannot be undone.
        RefusedError: What is generated loses something, and that was not accepted.
        InvalidInputError: One is a program, whose way back cannot be shown as SQL.
    """
    remarks: dict[str, str] = {}

    def note(text: str) -> None:
        remarks[text.partition(":")[0]] = text.partition(": ")[2]
        say(text)

    means = Means(programs=project.programs, schema=live.target.schema)
    with_downs = with_generated_downs(project.migrations, versions, live, means, accept_loss=accept_loss, say=note)
    known = {one.version: one for one in with_downs}
    ways = []
    for version in versions:
        migration = known.get(version)
        if migration is None or migration.down_sql is None:
            what = "is not in the project's migrations" if migration is None else "is a program"
            raise InvalidInputError(
                f"{version} {what}, so its way back cannot be shown",
                hint="squizzle rollback takes it back where its own tool knows how",
            )
        source = migration.labels.down
        ways.append(WayBack(version=version, sql=migration.down_sql, source=source, remark=remarks.get(version, "")))
    return tuple(ways)


def take_back(
    connection: Connection, target: Target, project: Project, ways: Sequence[WayBack], *, listener: Listener
) -> TakenBack:
    """Run exactly these ways back, newest version first; what an earlier run has taken back is left alone.

    Args:
        connection: A session in the wrong database.
        target: Who the caller means.
        project: What is on disk; the ways replace its down scripts.
        ways: What was shown and approved.
        listener: Told what happens.

    Raises:
        IdentityMismatchError, LockTimeoutError: Nothing was changed.
        RollbackFailedError: One failed and left nothing behind; newer ones are taken back.
    """
    by_version = {way.version: way for way in ways}
    migrations = tuple(
        replace(one, down_sql=by_version[one.version].sql) if one.version in by_version else one
        for one in project.migrations
    )
    done = []
    history = read_history(connection, target.schema)
    before = _digest_before(history.rows, by_version)
    for way in ways:
        if way.version not in {**history.applied(), **history.half_done()}:
            continue
        report = roll_back_versions(
            connection, target, migrations, only=way.version, policy=project.policy, listener=listener,
            books=project.books,
        )  # fmt: skip
        done += [outcome.version for outcome in report.outcomes]
    found = digest_schema(connection, schema=target.schema).logical
    return TakenBack(versions=tuple(done), schema_is_as_before=None if before is None else before == found)


def _digest_before(rows: Sequence[HistoryRow], versions: dict[str, WayBack]) -> str | None:
    """The digest of the schema right before the first of these versions; a run records one only at its end."""
    begun = {row.version: row.id for row in rows if row.version in versions and row.direction is Direction.APPLY}
    first = min(begun.values(), default=0)
    before = [row for row in rows if row.success and row.id < first]
    return before[-1].schema_digest if before else None


def preview_right(connection: Connection, target: Target, project: Project, *, to: str) -> tuple[Forward, ...]:
    """What would be applied to the right database, oldest first. Nothing is changed.

    Raises:
        As `apply_versions` would.
    """
    steps = preview_apply(connection, target, project.migrations, to=to, policy=project.policy, books=project.books)
    return tuple(
        Forward(
            version=step.migration.version,
            name=step.migration.name,
            sql=step.migration.up_sql or f"-- {step.migration.labels.up} is a program",
            checksum=step.migration.checksum,
        )
        for step in steps
        if not step.migration.repeatable
    )


def apply_to_right(
    connection: Connection, target: Target, project: Project, wanted: Sequence[Forward], *, listener: Listener
) -> Report:
    """Apply what was shown and approved, and refuse when it is something else by now.

    Raises:
        RefusedError: A script was changed or added since it was approved; nothing was changed.
        As `apply_versions`.
    """
    approved = {(one.version, one.checksum) for one in wanted}
    now = preview_right(connection, target, project, to=wanted[-1].version)
    changed = [one.version for one in now if (one.version, one.checksum) not in approved]
    if changed:
        raise RefusedError(
            f"not what was approved any more: {', '.join(changed)}", hint="run the same again: it asks anew"
        )
    return apply_versions(
        connection, target, project.migrations, to=wanted[-1].version, policy=project.policy, listener=listener,
        books=project.books,
    )  # fmt: skip
