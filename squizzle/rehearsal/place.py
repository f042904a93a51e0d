"""Where a rehearsal happens: a backup restored, compared, private, and copied anew for every try.

The restored copy is the base. Nothing is tried on it, so that afterwards it still says, row by row, how things were; a
work copy of it is made for every try, by copying files. Everything goes away at the end, after a kill by the next run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic

import psycopg
from psycopg import sql

from squizzle.backups.proofs import Proof, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import BackupStore
from squizzle.errors import BackupDamagedError, CouldNotVerifyError, InvalidInputError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import setting_command
from squizzle.postgres.scratch_server import ScratchServer
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import compare_digests, digest_database, digest_schema
from squizzle.proof.records import Comparison, DatabaseDigest
from squizzle.recovery.cluster_copy import without_fingerprints
from squizzle.recovery.prepared_copy import copy_files
from squizzle.recovery.restore import PATIENCE, digest_copy, drop_database, open_to_us_alone
from squizzle.recovery.restore_proof import note_restore, verdict_of, verdict_of_comparison
from squizzle.recovery.scratch import run_database
from squizzle.recovery.scratch_copy import ScratchCopy, ScratchPlace, cluster_scratch_copy, scratch_copy
from squizzle.rehearsal.place_room import refuse_without_copy_room, refuse_without_room

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceOrder:
    """What is restored, where, and for whose migration.

    Attributes:
        store: Where the backup lies.
        backup: Which; of a whole database, of its rows alone, or a copy of the cluster.
        database: The database whose migration is rehearsed, by the name that clients use.
        by: Who rehearses.
        identity_id: Who that database says it is; empty when it does not say.
        scratch: Where to restore to; a copy of a cluster becomes a server of our own wherever that is.
        definitions: Of rows alone: the schema backup that they are put into.
        mask: SQL that makes the rows anybody's before anybody reads them; empty for none.
        budget: The place must be ready by then; None for a day.
        say: Told what is done.
        clock: The time.
    """

    store: BackupStore
    backup: Backup
    database: str
    by: str
    identity_id: str = ""
    scratch: ScratchPlace = field(default_factory=ScratchPlace)
    definitions: Backup | None = None
    mask: str = ""
    budget: timedelta | None = None
    say: Say = lambda _text: None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceTimes:
    """What it took to get the base.

    Attributes:
        fetch: To have the backup's files here.
        restore: To compare them with the manifest, to restore them, to analyze.
        compare: To compare every row with the manifest's fingerprints.
    """

    fetch: timedelta
    restore: timedelta
    compare: timedelta

    @property
    def total(self) -> timedelta:
        """All of it: what a recovery from this backup takes here, but for the change of names."""
        return self.fetch + self.restore + self.compare


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The restored copy, proven and masked, on which nothing is tried.

    Attributes:
        copy: Where it is.
        digest: Its fingerprint, the rows of Squizzle's own tables included.
        masked: Tables that the mask changed; None when there was no mask.
        times: What it took.
        version_num: The server's `server_version_num`.
    """

    copy: ScratchCopy
    digest: DatabaseDigest
    masked: tuple[str, ...] | None
    times: PlaceTimes
    version_num: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalPlace:
    """A place to rehearse in, or why the backup gives none.

    Attributes:
        backup: What was restored.
        problems: In what the backup is damaged, or the restored copy is not what was saved, a sentence each; none when
            it is proven. With problems there is nothing to rehearse on.
        comparison: Of the restored copy with the manifest; None when the backup could not be restored.
        proof: What was put beside the backup; None for a copy of a cluster that is what was saved, for of that
            `verify-backup` looks at every page and index, too, and a rehearsal does not.
        base: The restored copy; None with problems.
    """

    backup: Backup
    problems: tuple[str, ...]
    comparison: Comparison | None
    proof: Proof | None
    base: Base | None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def proven(self) -> Base:
        """The base of a place without problems.

        Raises:
            BackupDamagedError: It has some.
        """
        if self.base is None:
            raise BackupDamagedError(
                f"backup {self.backup.id} cannot be rehearsed on: {self.problems[0]}",
                hint="take another backup; `squizzle backups --verify` looks at the older ones",
            )
        return self.base

    @property
    def server(self) -> ScratchServer:
        """Where it is."""
        return self.proven.copy.server

    @property
    def access(self) -> ServerAccess:
        """How to reach it."""
        return self.server.access

    @property
    def control(self) -> Connection:
        """A session in the maintenance database; with its end everybody takes the copies for leftovers."""
        return self.proven.copy.control

    @property
    def where(self) -> str:
        """What messages call it."""
        return self.server.where

    @property
    def version_num(self) -> int:
        """The server's `server_version_num`."""
        return self.proven.version_num

    @property
    def database(self) -> str:
        """The base's name; nothing is changed there."""
        return self.proven.copy.database

    @property
    def base_digest(self) -> DatabaseDigest:
        """The base's fingerprint, the rows of Squizzle's own tables included; masked ones where there is a mask."""
        return self.proven.digest

    @property
    def times(self) -> PlaceTimes:
        """What it took to get the base."""
        return self.proven.times

    def name(self, tag: str) -> str:
        """The name of one more database of this run; it is dropped at the end with the others."""
        return run_database(self.proven.copy.run_id, tag)

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """A new work copy of the base, for the length of the block; it is as private as the base.

        Sessions that are in the base while it is copied are ended.

        Yields:
            Its name.

        Raises:
            BackupDamagedError: There is no base.
            CouldNotVerifyError: There is no room for it. Nothing was copied.
            DatabaseError: It could not be copied, or the server went away.
        """
        base = self.proven.copy
        name = self.name(f"work{next(self._numbers)}")
        refuse_without_copy_room(base.server, base.control, base.database)
        try:
            copy_files(base.server.access, base.control, base.database, name)
        except SquizzleError as exc:
            if verdict_of(exc) is Verdict.COULD_NOT_VERIFY:
                raise CouldNotVerifyError(f"no copy to work on could be made: {exc.message}", hint=exc.hint) from exc
            raise
        try:
            _make_like_source(base, name)
            open_to_us_alone(base.control, name)
            yield name
        except BaseException as exc:
            try:
                drop_database(base.control, name)
            except SquizzleError as second:
                exc.add_note(f"Also, {name} could not be dropped: {second.message}")
            raise
        drop_database(base.control, name)


@contextmanager
def rehearsal_place(order: PlaceOrder) -> Iterator[RehearsalPlace]:
    """Restore a backup to a scratch place, prove it, and make it a place to rehearse in, for the length of the block.

    What was found of the backup is put beside it, as `verify-backup --restore` does.

    Args:
        order: What, where.

    Yields:
        The place; with `problems` when the backup is damaged, or restored it is not what was saved.

    Raises:
        InvalidInputError: The backup is of another database or of a kind that nothing can be rehearsed on. Nothing was
            restored.
        CouldNotVerifyError: It could not be tried here: another major version, no room, something that this server
            lacks, a mask that fails, the budget. Nothing stays, and nobody has seen a row.
        ToolError: The proof could not be written.
    """
    _refuse_unfit(order)
    opening = _Opening(order)
    with ExitStack() as stack:
        place = opening.open(stack)
        yield place


def _refuse_unfit(order: PlaceOrder) -> None:
    backup = order.backup
    if backup.kind not in _KINDS:
        raise InvalidInputError(
            f"nothing can be rehearsed on backup {backup.id} ({backup.kind})",
            hint="name a full backup; `squizzle backups` lists them",
        )
    if (backup.kind is BackupKind.DATA) != (order.definitions is not None):
        raise InvalidInputError(
            f"backup {backup.id} ({backup.kind}) and {'no definitions' if order.definitions is None else 'definitions'}"
            " do not go together",
            hint="rows alone (data) need the schema backup of the same version; a full backup needs no other",
        )
    ids = (backup.identity_id or "", order.identity_id)
    is_same = ids[0] == ids[1] if all(ids) else backup.database == order.database
    if not is_same:
        raise InvalidInputError(
            f"backup {backup.id} is one of {backup.database} (id {ids[0] or 'none'}), not of {order.database}"
            f" (id {ids[1] or 'none'})",
            hint="name a backup of this database; `squizzle backups` lists them",
        )


_KINDS = frozenset({BackupKind.FULL, BackupKind.DATA, BackupKind.PHYSICAL, BackupKind.INCREMENTAL})


class _Opening:
    """The way from an order to a place, with the time that it takes."""

    def __init__(self, order: PlaceOrder) -> None:
        self._order = order
        self._at = order.clock()
        self._started = monotonic()
        self._budget = order.budget or PATIENCE
        self._details: dict[str, str] = {}

    def open(self, stack: ExitStack) -> RehearsalPlace:
        """Everything up to the place; what it needs stays open until the stack is closed."""
        order = self._order
        try:
            backup = order.store.read(order.backup.id) if order.backup.is_sealed else order.backup
            if backup.digest is None:
                raise without_fingerprints(backup)
            copy = self._restore(stack, backup)
            digest, compared = self._digest(copy, backup)
        except SquizzleError as exc:
            return self._without_base(exc)
        comparison = compare_digests(backup.fingerprint, digest)
        verdict = verdict_of_comparison(comparison)
        proof = None if backup.kind.is_cluster and verdict is Verdict.PASS else self._note(comparison)
        if verdict is Verdict.COULD_NOT_VERIFY:
            raise CouldNotVerifyError(
                f"{copy.server.where} has other versions than the saved database had: {comparison.sentences()[0]}",
                hint="name a server with the same versions of the extensions",
            )
        base = None
        if verdict is Verdict.PASS:
            try:
                base = self._base(copy, digest, compared)
            except SquizzleError as exc:
                raise self._could_not(exc) from exc
        return RehearsalPlace(
            backup=backup,
            problems=comparison.sentences() if base is None else (),
            comparison=comparison,
            proof=proof,
            base=base,
        )

    def _restore(self, stack: ExitStack, backup: Backup) -> ScratchCopy:
        order = self._order
        if backup.kind.is_cluster:
            order.say(f"bringing the cluster of backup {backup.id} ({backup.rows:,} rows) back to life")
            copy = stack.enter_context(cluster_scratch_copy(order.store, backup, programs=order.scratch.programs))
            self._details["server"] = copy.server.where
            return copy
        server = stack.enter_context(order.scratch.open(backup))
        self._details["server"] = server.where
        refuse_another_major(server, backup)
        refuse_without_room(server, order.store, backup)
        order.say(f"restoring backup {backup.id} ({backup.rows:,} rows) on {server.where}")
        return stack.enter_context(
            scratch_copy(
                order.store, backup, server, definitions=order.definitions, timeout=self._left(), say=order.say
            )
        )

    def _digest(self, copy: ScratchCopy, backup: Backup) -> tuple[DatabaseDigest, timedelta]:
        started = monotonic()
        self._order.say("comparing it with the fingerprints, row by row")
        with connect(copy.server.access, copy.database, purpose="rehearsal", read_only=True) as connection:
            self._limit(connection)
            digest = digest_copy(connection, backup)
        return digest, timedelta(seconds=monotonic() - started)

    def _base(self, copy: ScratchCopy, digest: DatabaseDigest, compared: timedelta) -> Base:
        masked = None
        _make_like_source(copy, copy.database)
        with connect(copy.server.access, copy.database, purpose="rehearsal") as connection:
            self._limit(connection)
            version_num = connection.info.server_version
            if _cut_off(connection):
                digest = replace(digest, schema=digest_schema(connection))
        if self._order.mask:
            digest, masked = self._masked(copy, digest)
        times = PlaceTimes(fetch=copy.fetched, restore=copy.restored, compare=compared)
        return Base(copy=copy, digest=digest, masked=masked, times=times, version_num=version_num)

    def _masked(self, copy: ScratchCopy, before: DatabaseDigest) -> tuple[DatabaseDigest, tuple[str, ...]]:
        """The fingerprint of the masked copy, and which tables are not as before."""
        order = self._order
        order.say("masking the copy")
        # The mask may leave its session as it likes.
        with connect(copy.server.access, copy.database, purpose="mask") as connection:
            self._limit(connection)
            _mask(connection, order.mask)
        with connect(copy.server.access, copy.database, purpose="rehearsal") as connection:
            self._limit(connection)
            _renew_derived(connection)
            digest = digest_database(connection, bookkeeping=True)
        known = {one.table: one for one in before.tables}
        masked = tuple(one.table for one in digest.tables if known.get(one.table) != one)
        order.say(f"masked: {', '.join(masked) or 'nothing, the mask changed no row'}")
        return digest, masked

    def _without_base(self, error: SquizzleError) -> RehearsalPlace:
        if self._is_over or verdict_of(error) is not Verdict.FAIL:
            error = self._could_not(error)
            self._note(error)
            raise error
        return RehearsalPlace(
            backup=self._order.backup,
            problems=(error.message,),
            comparison=None,
            proof=self._note(error),
            base=None,
        )

    def _note(self, found: Comparison | SquizzleError) -> Proof:
        order = self._order
        duration = timedelta(seconds=monotonic() - self._started)
        return note_restore(
            order.store, order.backup, found, at=self._at, duration=duration, by=order.by, details=self._details
        )

    def _could_not(self, error: SquizzleError) -> CouldNotVerifyError:
        if self._is_over:
            could_not = CouldNotVerifyError(
                f"there was no place to rehearse in within {self._budget}: {error.message}",
                hint="allow more time, or name a faster server",
            )
        elif isinstance(error, CouldNotVerifyError):
            return error
        else:
            could_not = CouldNotVerifyError(error.message, hint=error.hint)
        could_not.__cause__ = error
        return could_not

    @property
    def _is_over(self) -> bool:
        return monotonic() - self._started >= self._budget.total_seconds()

    def _left(self) -> timedelta:
        """What is left of the budget."""
        left = self._budget.total_seconds() - (monotonic() - self._started)
        if left <= 0:
            raise CouldNotVerifyError("the time is over")
        return timedelta(seconds=left)

    def _limit(self, connection: Connection) -> None:
        """Let the server stop what takes longer than what is left."""
        milliseconds = max(1, min(round(self._left().total_seconds() * 1000), 2**31 - 1))
        connection.execute(f"SET statement_timeout = {milliseconds}".encode())


def refuse_another_major(server: ScratchServer, backup: Backup) -> None:
    """Refuse a server on which statements lock and rewrite otherwise than where the migration is meant to run.

    Raises:
        CouldNotVerifyError: It is older or newer. Nothing was made.
    """
    with connect(server.access, "postgres", purpose="rehearsal") as control:
        found = control.info.server_version // 10000
    wanted = backup.server_version // 10000
    if found != wanted:
        raise CouldNotVerifyError(
            f"backup {backup.id} is of PostgreSQL {wanted}, {server.where} is PostgreSQL {found}: what a migration does"
            " there proves nothing",
            hint=f"name a server of PostgreSQL {wanted}, or none: then one of our own is started",
        )


def _make_like_source(copy: ScratchCopy, name: str) -> None:
    """The settings that the saved database has for everybody, such as its search_path: scripts rely on them."""
    try:
        with copy.control.transaction():
            for setting in copy.properties.settings:
                if not setting.role:
                    copy.control.execute(setting_command(sql.Identifier(name), setting))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"give {name} the settings of the saved database") from exc


_MAPPINGS = """
    SELECT format('DROP USER MAPPING FOR %s SERVER %I',
                  CASE WHEN umuser = 0 THEN 'PUBLIC' ELSE quote_ident(usename) END, srvname)
    FROM pg_user_mappings
"""


def _cut_off(connection: Connection) -> bool:
    """Take away the passwords for other servers: a script that writes to foreign tables would write into real ones.

    Returns:
        Whether there were any.
    """
    try:
        commands = [command for (command,) in connection.execute(_MAPPINGS)]
        for command in commands:
            connection.execute(command)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="cut the copy off from other servers") from exc
    return bool(commands)


_FILLED_VIEWS = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'm' AND relispopulated ORDER BY oid"


def _mask(connection: Connection, mask: str) -> None:
    """Run the mask.

    Raises:
        CouldNotVerifyError: It failed; the copy is going to be dropped.
    """
    try:
        connection.execute(mask.encode())
    except psycopg.Error as exc:
        failed = translate_error(exc, doing="mask the copy")
        raise CouldNotVerifyError(f"{failed.message}; {_UNSEEN}", hint="mend the mask, then rehearse again") from exc
    if connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
        raise CouldNotVerifyError(
            f"the mask leaves a transaction open, so nothing was masked; {_UNSEEN}", hint="end it with COMMIT"
        )


_UNSEEN = "the copy was dropped and nobody has seen a row of it"


def _renew_derived(connection: Connection) -> None:
    """Materialized views, old versions of rows, and the planner's samples of values still have what was masked."""
    try:
        for (view,) in connection.execute(_FILLED_VIEWS).fetchall():
            connection.execute(f"REFRESH MATERIALIZED VIEW {view}".encode())
        connection.execute("VACUUM (ANALYZE)")
    except psycopg.Error as exc:
        raise translate_error(exc, doing="renew what is derived from masked rows") from exc
