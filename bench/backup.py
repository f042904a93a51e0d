"""How long it takes to save and to bring back, and how big a backup is, beside the tools that one would use."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from psycopg import sql

from bench import peers
from bench.backup_data import change, fill, summaries
from bench.backup_figures import (
    BACK,
    CHECK,
    COPY,
    DUMP,
    FINGERPRINTS,
    GUIDE_CHECK,
    GUIDE_COPY,
    GUIDE_DUMP,
    GUIDE_RESTORE,
    GUIDE_UNPACK,
    HEADINGS,
    INCREMENT,
    RESTORE,
    RESTORED,
    Result,
    Step,
    finding_of,
)
from bench.backup_peers import BackupTool, find_barman, find_pgbackrest, running_barman, set_up_pgbackrest, size_of
from bench.replay import scratch_database
from bench.report import Finding
from bench.usage import Meter, peak_bytes
from squizzle.backups.files import check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, client_environment, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.embedded import find_runtime, throwaway_cluster
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs, system_folders
from squizzle.proof.digests import digest_database
from squizzle.recovery.cluster_files import rebuild
from squizzle.recovery.new_database import drop_database
from squizzle.recovery.restore import restore_beside

_NO_INCREMENTS_BELOW = 17
_VERIFIES_TAR_SINCE = 18
# pgBackRest's package here knows servers up to this one.
_PGBACKRESTS_LAST = 15


def measure(access: ServerAccess, *, rounds: int, scale: int) -> Finding:
    """Save and bring back the same database with every contender in turn, each round with new changes."""
    barman = find_barman()
    with scratch_database(access, "backup") as database, summaries(access):
        contest = _contest(access, database, scale)

        @contextmanager
        def steps(folder: Path) -> Iterator[Sequence[Step]]:
            with ExitStack() as stack:
                other = None
                if not barman.missing:
                    place = folder / "barman"
                    other = stack.enter_context(running_barman(barman, access, contest.order.programs, place))
                yield [
                    *contest.copies(folder),
                    *_of_tool(other, "barman backup", "full"),
                    Step(name="", run=lambda: change(access, database)),
                    contest.increment(),
                    *_of_tool(other, "barman backup --incremental", "increment"),
                    *contest.ways_back(folder),
                    *_of_tool(other, "barman restore", "restore"),
                    *contest.dumps(folder),
                ]

        return contest.finding(
            _take_turns(rounds, steps, Meter(access)),
            barman,
            rounds=rounds,
            scale=scale,
            also=" Bringing back: the last increment with its chain, checked against both manifests; Barman's, too.",
        )


def measure_beside_pgbackrest(*, rounds: int, scale: int, settings: Mapping[str, str]) -> Finding:
    """The same on a server of the system that pgBackRest's package knows."""
    known = (one for one in system_folders() if one.parent.name == str(_PGBACKRESTS_LAST))
    folders = [one for one in known if (one / "initdb").exists()]
    pgbackrest = find_pgbackrest()
    if pgbackrest.missing or not folders:
        absent = pgbackrest.sentence() if folders else f"PostgreSQL {_PGBACKRESTS_LAST}: missing on this machine"
        title = f"Backups of PostgreSQL {_PGBACKRESTS_LAST}"
        return Finding(title=title, method="", headings=HEADINGS, rows=(), missing=(absent,))
    with throwaway_cluster("bench", settings=settings, runtime=find_runtime(bin_folder=folders[0])) as server:
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        with scratch_database(access, "backup") as database:
            contest = _contest(access, database, scale)

            @contextmanager
            def steps(folder: Path) -> Iterator[Sequence[Step]]:
                other = set_up_pgbackrest(pgbackrest, access, folder / "pgbackrest")
                yield [
                    *contest.copies(folder),
                    *_of_tool(other, "pgbackrest backup --type=full", "full"),
                    Step(name="", run=lambda: change(access, database)),
                    *_of_tool(other, "pgbackrest backup --type=incr", "increment"),
                    *contest.ways_back(folder),
                    *_of_tool(other, "pgbackrest restore", "restore"),
                    *contest.dumps(folder),
                ]

            return contest.finding(
                _take_turns(rounds, steps, Meter(access)),
                pgbackrest,
                rounds=rounds,
                scale=scale,
                also=" This version has no increments of its own; pgBackRest's are of whole files. It runs with two"
                " processes, zstd 1, and without an archive of the log.",
            )


_Ability = Literal["full", "increment", "restore"]


_BESIDE: Mapping[_Ability, tuple[str, str]] = {
    "full": (GUIDE_COPY, COPY),
    "increment": (GUIDE_COPY, INCREMENT),
    "restore": (GUIDE_UNPACK, BACK),
}


def _of_tool(tool: BackupTool | None, name: str, what: _Ability) -> list[Step]:
    """The step of another tool; none when this machine does not have it."""
    if tool is None:
        return []
    beside, ours = _BESIDE[what]
    return [Step(name=name, run=getattr(tool, what), beside=beside, rival_of=ours)]


def _contest(access: ServerAccess, database: str, scale: int) -> _Contest:
    with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
        programs = find_programs(explicit=None, server_major=connection.info.server_version // 10000)
    order = Order(
        access=access,
        target=Target(database=database, schema="public"),
        store=FolderStore(Path()),
        kind=BackupKind.PHYSICAL,
        programs=programs,
    )
    return _Contest(order, rows=fill(access, database, programs, scale))


class _Contest:
    """Squizzle and the guide's commands on one database.

    Args:
        order: What is saved; the store is another one in each round.
        rows: How many rows the database has.
    """

    def __init__(self, order: Order, *, rows: int) -> None:
        self.order = order
        self.rows = rows
        self._taken: dict[BackupKind, Backup] = {}

    def finding(
        self,
        done: tuple[dict[str, list[Result]], dict[str, Step]],
        tool: peers.Peer,
        *,
        rounds: int,
        scale: int,
        also: str,
    ) -> Finding:
        """What was measured, beside this tool."""
        found = finding_of(done, major=self.order.programs.major, rows=self.rows, rounds=rounds, scale=scale)
        return replace(found, method=found.method + also, missing=(tool.sentence(),))

    def copies(self, folder: Path) -> Iterator[Step]:
        """A whole copy of the cluster; the first steps of a round."""
        self.order = replace(self.order, store=FolderStore(folder / "store"))
        copy = folder / "copy"

        def guide() -> int:
            return self._guide("pg_basebackup", copy, f"--pgdata={copy}", "-Ft", "-z", "--checkpoint=fast")

        yield Step(name=GUIDE_COPY, run=guide)
        yield Step(
            name=COPY, run=lambda: self._take(BackupKind.PHYSICAL), beside=GUIDE_COPY, rows=self.rows, is_ours=True
        )

    def increment(self) -> Step:
        """What changed since the copy."""
        return Step(name=INCREMENT, run=lambda: self._take(BackupKind.INCREMENTAL), beside=GUIDE_COPY, is_ours=True)

    def ways_back(self, folder: Path) -> Iterator[Step]:
        """Checking, and unpacking to where a server could start."""
        target, data = folder / "unpacked", folder / "data"

        def unpack() -> int:
            target.mkdir()
            peers.run(["tar", "-xzf", str(folder / "copy" / "base.tar.gz"), "-C", str(target)])
            return size_of(target)

        def verify() -> int:
            peers.run([str(self.order.programs.path("pg_verifybackup")), "--no-parse-wal", str(folder / "copy")])
            return 0

        def check() -> int:
            with self.order.store.fetch(self._taken[BackupKind.PHYSICAL]) as files:
                check_files(self._taken[BackupKind.PHYSICAL], files)
            return 0

        def back() -> int:
            data.mkdir(mode=0o700)
            last = self._taken.get(BackupKind.INCREMENTAL, self._taken[BackupKind.PHYSICAL])
            rebuild(find_runtime(bin_folder=self._server_programs()), self.order.store, last, data)
            return size_of(data)

        yield Step(name=GUIDE_UNPACK, run=unpack)
        checked_beside = ""
        if self.order.programs.major >= _VERIFIES_TAR_SINCE:
            checked_beside = GUIDE_CHECK
            yield Step(name=GUIDE_CHECK, run=verify)
        yield Step(name=CHECK, run=check, beside=checked_beside, is_ours=True)
        yield Step(name=BACK, run=back, beside=GUIDE_UNPACK, is_ours=True)
        yield Step(name="", run=lambda: _remove(target, data))

    def dumps(self, folder: Path) -> Iterator[Step]:
        """Logical backups, and the fingerprints alone."""
        dump, parts = folder / "dump", folder / "parts"

        def digest() -> int:
            with connect(self.order.access, self.order.target.database, purpose="bench", read_only=True) as connection:
                digest_database(connection)
            return 0

        def guide() -> int:
            return self._guide("pg_dump", dump, "-Fc", "--compress=9", f"--file={dump}")

        def parallel() -> int:
            return self._guide("pg_dump", parts, "-Fd", "--jobs=2", "--compress=1", f"--file={parts}")

        yield Step(name=GUIDE_DUMP, run=guide)
        yield Step(name=DUMP, run=lambda: self._take(BackupKind.FULL), beside=GUIDE_DUMP, rows=self.rows, is_ours=True)
        yield Step(name="pg_dump -Fd -j2 --compress=1", run=parallel, beside=GUIDE_DUMP)
        yield Step(name=FINGERPRINTS, run=digest, rows=self.rows, is_ours=True)
        yield from self._restores(dump)

    def _restores(self, dump: Path) -> Iterator[Step]:
        """The dumps into a new database, which is dropped again."""

        def guide() -> int:
            with self._control() as control:
                control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(RESTORED)))
            return self._guide("pg_restore", dump, f"--dbname={RESTORED}", str(dump)) * 0

        def ours() -> int:
            backup = self._taken[BackupKind.FULL]
            order = self.order
            with self._control() as control, order.store.fetch(backup) as files:
                like = read_properties(control, order.target.database)
                restore_beside(order.access, control, backup, files, programs=order.programs, into=RESTORED, like=like)
            return 0

        def drop() -> int:
            with self._control() as control:
                drop_database(control, RESTORED)
                control.execute("CHECKPOINT")
            return 0

        yield Step(name=GUIDE_RESTORE, run=guide)
        yield Step(name="", run=drop)
        yield Step(name=RESTORE, run=ours, beside=GUIDE_RESTORE, is_ours=True)
        yield Step(name="", run=drop)

    def _control(self) -> AbstractContextManager[Connection]:
        return closing(connect(self.order.access, CONTROL_DATABASE, purpose="bench"))

    def _take(self, kind: BackupKind) -> int:
        backup = take_backup(replace(self.order, kind=kind), suffix=kind.value)
        self._taken[kind] = backup
        return backup.size_bytes

    def _guide(self, program: str, target: Path, *arguments: str) -> int:
        with client_environment(self.order.access, self.order.target.database) as environment:
            peers.run([str(self.order.programs.path(program)), *arguments], environment)
        return size_of(target)

    def _server_programs(self) -> Path | None:
        folder = self.order.programs.folder
        return folder if self.order.programs.major < _NO_INCREMENTS_BELOW else None


def _remove(*folders: Path) -> int:
    for folder in folders:
        shutil.rmtree(folder)
    return 0


def _take_turns(
    rounds: int, steps_of: Callable[[Path], AbstractContextManager[Sequence[Step]]], meter: Meter
) -> tuple[dict[str, list[Result]], dict[str, Step]]:
    """Run every step of every round; a step without a name is not timed."""
    taken: dict[str, list[Result]] = {}
    steps: dict[str, Step] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, steps_of(Path(folder)) as found:
            for step in found:
                meter.start()
                started = time.perf_counter()
                size = step.run()
                seconds = time.perf_counter() - started
                if step.name:
                    steps[step.name] = step
                    one = Result(seconds=seconds, processor=meter.seconds(), size=size, memory=peak_bytes())
                    taken.setdefault(step.name, []).append(one)
                    print(f"{step.name}: {seconds:.2f} s, CPU {one.processor:.2f} s", file=sys.stderr, flush=True)
    return taken, steps
