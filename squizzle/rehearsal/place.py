"""Where a rehearsal happens: a backup restored, compared, private, and copied anew for every try.

The restored copy is the base. Nothing is tried on it, so that afterwards it still says, row by row, how things were; a
work copy of it is made for every try, by copying files. Everything goes away at the end, after a kill by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from time import monotonic

from squizzle.backups.proofs import Proof, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.errors import CouldNotVerifyError, InvalidInputError, SquizzleError
from squizzle.postgres.access import CONTROL_DATABASE, Connection, connect
from squizzle.postgres.scratch_server import ScratchServer
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import Comparison, DatabaseDigest
from squizzle.recovery.cluster_copy import without_fingerprints
from squizzle.recovery.restore import PATIENCE, digest_copy
from squizzle.recovery.restore_proof import note_restore, verdict_of, verdict_of_comparison
from squizzle.recovery.scratch_copy import ScratchCopy, cluster_scratch_copy, scratch_copy
from squizzle.rehearsal.place_records import Base, PlaceOrder, PlaceTimes, RehearsalPlace
from squizzle.rehearsal.place_room import refuse_without_room
from squizzle.rehearsal.place_rows import cut_off, forget_settings, make_like_source, renew_derived, run_mask

__all__ = ["Base", "PlaceOrder", "PlaceTimes", "RehearsalPlace", "rehearsal_place"]


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
    if not _is_of(backup, order):
        raise InvalidInputError(
            f"backup {backup.id} is one of {backup.database} (id {backup.identity_id or 'none'}, cluster"
            f" {backup.system_identifier or 'unknown'}), not of {order.database} (id {order.identity_id or 'none'},"
            f" cluster {order.system_identifier or 'unknown'})",
            hint="name a backup of this database; `squizzle backups` lists them",
        )


def _is_of(backup: Backup, order: PlaceOrder) -> bool:
    """By the ids where both are known; a name alone is one of many clusters'."""
    if backup.identity_id and order.identity_id:
        return backup.identity_id == order.identity_id
    clusters = {backup.system_identifier, order.system_identifier} - {""}
    return backup.database == order.database and len(clusters) < 2  # noqa: PLR2004 - two are two


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
        _refuse_another_major(server, backup)
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
        with connect(copy.server.access, copy.database, purpose="rehearsal") as connection:
            self._limit(connection)
            version_num = connection.info.server_version
            cut_off(connection)
        if self._order.mask:
            digest, masked = self._masked(copy, digest)
        times = PlaceTimes(fetch=copy.fetched, restore=copy.restored, compare=compared)
        return Base(copy=copy, digest=digest, masked=masked, times=times, version_num=version_num)

    def _masked(self, copy: ScratchCopy, before: DatabaseDigest) -> tuple[DatabaseDigest, tuple[str, ...]]:
        """The fingerprint of the masked copy, and which tables are not as before."""
        order = self._order
        order.say("masking the copy")
        # Only for the mask: whoever looks rows up afterwards wants no statement_timeout of an application's.
        make_like_source(copy, copy.database)
        # The mask may leave its session as it likes.
        with connect(copy.server.access, copy.database, purpose="mask") as connection:
            self._limit(connection)
            run_mask(connection, order.mask)
        forget_settings(copy, copy.database)
        with connect(copy.server.access, copy.database, purpose="rehearsal") as connection:
            self._limit(connection)
            renew_derived(connection)
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
            raise CouldNotVerifyError("the time is over", hint="give it longer: [rehearsal] budget, or --budget")
        return timedelta(seconds=left)

    def _limit(self, connection: Connection) -> None:
        """Let the server stop what takes longer than what is left."""
        milliseconds = max(1, min(round(self._left().total_seconds() * 1000), 2**31 - 1))
        connection.execute(f"SET statement_timeout = {milliseconds}".encode())


def _refuse_another_major(server: ScratchServer, backup: Backup) -> None:
    """Refuse a server on which statements lock and rewrite otherwise than where the migration is meant to run.

    Raises:
        CouldNotVerifyError: It is older or newer. Nothing was made.
    """
    with connect(server.access, CONTROL_DATABASE, purpose="rehearsal") as control:
        found = control.info.server_version // 10000
    wanted = backup.server_version // 10000
    if found != wanted:
        raise CouldNotVerifyError(
            f"backup {backup.id} is of PostgreSQL {wanted}, {server.where} is PostgreSQL {found}: what a migration does"
            " there proves nothing",
            hint=f"name a server of PostgreSQL {wanted}, or none: then one of our own is started",
        )
