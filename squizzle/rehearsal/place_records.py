"""What a place to rehearse in is asked for, and what it gives: a base on which nothing is tried, and copies of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from squizzle.backups.proofs import Proof, Verdict
from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.errors import BackupDamagedError, CouldNotVerifyError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.scratch_server import ScratchServer
from squizzle.proof.records import Comparison, DatabaseDigest
from squizzle.recovery.new_database import drop_database, open_to_us_alone
from squizzle.recovery.prepared_copy import copy_files
from squizzle.recovery.restore_proof import verdict_of
from squizzle.recovery.scratch import run_database
from squizzle.recovery.scratch_copy import ScratchCopy, ScratchPlace
from squizzle.rehearsal.place_room import refuse_without_copy_room
from squizzle.rehearsal.place_rows import make_like_source

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
        system_identifier: The cluster that it is in, for where no ids are known; empty when it may not be read.
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
    system_identifier: str = ""
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
    def fresh(self, *, of: str | None = None) -> Iterator[str]:
        """A new work copy, for the length of the block; it is as private as the base.

        It has the settings of the saved database, as scripts rely on them. Sessions that are in what is copied are
        ended.

        Args:
            of: Another work copy, which is copied as it is now; None for the base.

        Yields:
            Its name.

        Raises:
            BackupDamagedError: There is no base.
            CouldNotVerifyError: There is no room for it. Nothing was copied.
            DatabaseError: It could not be copied, or the server went away.
        """
        base = self.proven.copy
        name = self.name(f"work{next(self._numbers)}")
        source = of or base.database
        refuse_without_copy_room(base.server, base.control, source)
        try:
            copy_files(base.server.access, base.control, source, name)
        except SquizzleError as exc:
            if verdict_of(exc) is Verdict.COULD_NOT_VERIFY:
                raise CouldNotVerifyError(f"no copy to work on could be made: {exc.message}", hint=exc.hint) from exc
            raise
        try:
            make_like_source(base, name)
            open_to_us_alone(base.control, name)
            yield name
        except BaseException as exc:
            try:
                drop_database(base.control, name)
            except SquizzleError as second:
                exc.add_note(f"Also, {name} could not be dropped: {second.message}")
            raise
        drop_database(base.control, name)
