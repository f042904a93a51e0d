"""How long it takes to save and to bring back, and how big a backup is, beside the tools that one would use."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from psycopg import sql

from bench import peers
from bench.backup_data import change, fill, summaries
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

_GUIDE_COPY = "pg_basebackup -Ft -z"
_GUIDE_DUMP = "pg_dump -Fc --compress=9"
_GUIDE_UNPACK = "tar -xzf of that"
_COPY = "squizzle backup physical"
_DUMP = "squizzle backup full"
_INCREMENT = "squizzle backup incremental (1 % of the rows)"
_GUIDE_RESTORE = "pg_restore of that, one process"
_RESTORE = "squizzle: files checked, restored, analyzed"
_RESTORED = "backup_restored"
_CHECK = "squizzle: the copy's files read again and compared"
_FINGERPRINTS = "fingerprints alone"
_NO_INCREMENTS_BELOW = 17
# pgBackRest's package here knows servers up to this one.
_PGBACKRESTS_LAST = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """One thing that is timed.

    Attributes:
        name: Of the row.
        run: Does it; returns its bytes on disk, 0 where that says nothing.
        beside: The row whose time the ratio is taken from.
        rows: How many rows it goes through, where that is told.
        is_ours: Squizzle itself runs, in this process.
    """

    name: str
    run: Callable[[], int]
    beside: str = ""
    rows: int = 0
    is_ours: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Result:
    """One run: seconds, those of processors, bytes on disk, and the most bytes of memory."""

    seconds: float
    processor: float
    size: int
    memory: int


def measure(access: ServerAccess, *, rounds: int, scale: int) -> Finding:
    """Save and bring back the same database with every contender in turn, each round with new changes."""
    barman = find_barman()
    with scratch_database(access, "backup") as database, summaries(access):
        contest = _contest(access, database, scale)

        @contextmanager
        def steps(folder: Path) -> Iterator[Sequence[_Step]]:
            with ExitStack() as stack:
                other = None
                if not barman.missing:
                    place = folder / "barman"
                    other = stack.enter_context(running_barman(barman, access, contest.order.programs, place))
                yield [
                    *contest.copies(folder),
                    *_of_tool(other, "barman backup", "full", _GUIDE_COPY),
                    _Step(name="", run=lambda: change(access, database)),
                    contest.increment(),
                    *_of_tool(other, "barman backup --incremental", "increment", _GUIDE_COPY),
                    *contest.ways_back(folder),
                    *_of_tool(other, "barman restore", "restore", _GUIDE_UNPACK),
                    *contest.dumps(folder),
                ]

        return Finding(
            title=f"Backups of PostgreSQL {contest.order.programs.major} at scale {scale}",
            method=_method(rounds, contest.rows, scale)
            + " Bringing back: the last increment with its chain, checked against both manifests; Barman's, too.",
            headings=_HEADINGS,
            rows=_take_turns(rounds, steps, Meter(access)),
            missing=(barman.sentence(),),
            command=f"python -m bench backup --rounds {rounds} --scale {scale}",
        )


def measure_beside_pgbackrest(*, rounds: int, scale: int, settings: Mapping[str, str]) -> Finding:
    """The same on a server of the system that pgBackRest's package knows."""
    title = f"Backups of PostgreSQL {_PGBACKRESTS_LAST} at scale {scale}"
    command = f"python -m bench pgbackrest --rounds {rounds} --scale {scale}"
    known = (one for one in system_folders() if one.parent.name == str(_PGBACKRESTS_LAST))
    folders = [one for one in known if (one / "initdb").exists()]
    pgbackrest = find_pgbackrest()
    if pgbackrest.missing or not folders:
        absent = pgbackrest.sentence() if folders else f"PostgreSQL {_PGBACKRESTS_LAST}: missing on this machine"
        return Finding(title=title, method="", headings=_HEADINGS, rows=(), missing=(absent,), command=command)
    with throwaway_cluster("bench", settings=settings, runtime=find_runtime(bin_folder=folders[0])) as server:
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        with scratch_database(access, "backup") as database:
            contest = _contest(access, database, scale)

            @contextmanager
            def steps(folder: Path) -> Iterator[Sequence[_Step]]:
                other = set_up_pgbackrest(pgbackrest, access, folder / "pgbackrest")
                yield [
                    *contest.copies(folder),
                    *_of_tool(other, "pgbackrest backup --type=full", "full", _GUIDE_COPY),
                    _Step(name="", run=lambda: change(access, database)),
                    *_of_tool(other, "pgbackrest backup --type=incr", "increment", _GUIDE_COPY),
                    *contest.ways_back(folder),
                    *_of_tool(other, "pgbackrest restore", "restore", _GUIDE_UNPACK),
                    *contest.dumps(folder),
                ]

            return Finding(
                title=title,
                method=_method(rounds, contest.rows, scale)
                + " This version has no increments of its own; pgBackRest's are of whole files. It runs with two"
                " processes, zstd 1, and without an archive of the log.",
                headings=_HEADINGS,
                rows=_take_turns(rounds, steps, Meter(access)),
                missing=(pgbackrest.sentence(),),
                command=command,
            )


_Ability = Literal["full", "increment", "restore"]


def _of_tool(tool: BackupTool | None, name: str, what: _Ability, beside: str) -> list[_Step]:
    """The step of another tool; none when this machine does not have it."""
    return [] if tool is None else [_Step(name=name, run=getattr(tool, what), beside=beside)]


_HEADINGS = ("contender", "median s", "min s", "max s", "CPU s", "MB", "ratio", "CPU ratio", "rows/s", "memory MB")


def _method(rounds: int, rows: int, scale: int) -> str:
    return (
        f"pgbench at scale {scale} and documents of words, {rows:,} rows; {rounds} interleaved runs, medians."
        " Squizzle's times include the fingerprints of every row (of an increment: of what may have changed), the"
        " manifest and the wait for the disk; the others prove nothing."
        " Ratio: how many times faster than the guide's command for the same. CPU: seconds of processor, of the server"
        " and all others involved; they depend less on what else the machine does. Memory: the most that Squizzle's"
        " process had, Python and all that is loaded included."
    )


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

    def copies(self, folder: Path) -> Iterator[_Step]:
        """A whole copy of the cluster; the first steps of a round."""
        self.order = replace(self.order, store=FolderStore(folder / "store"))
        copy = folder / "copy"

        def guide() -> int:
            return self._guide("pg_basebackup", copy, f"--pgdata={copy}", "-Ft", "-z", "--checkpoint=fast")

        yield _Step(name=_GUIDE_COPY, run=guide)
        yield _Step(
            name=_COPY, run=lambda: self._take(BackupKind.PHYSICAL), beside=_GUIDE_COPY, rows=self.rows, is_ours=True
        )

    def increment(self) -> _Step:
        """What changed since the copy."""
        return _Step(name=_INCREMENT, run=lambda: self._take(BackupKind.INCREMENTAL), beside=_GUIDE_COPY, is_ours=True)

    def ways_back(self, folder: Path) -> Iterator[_Step]:
        """Checking, and unpacking to where a server could start."""
        target, data = folder / "unpacked", folder / "data"

        def unpack() -> int:
            target.mkdir()
            peers.run(["tar", "-xzf", str(folder / "copy" / "base.tar.gz"), "-C", str(target)])
            return size_of(target)

        def check() -> int:
            with self.order.store.fetch(self._taken[BackupKind.PHYSICAL]) as files:
                check_files(self._taken[BackupKind.PHYSICAL], files)
            return 0

        def back() -> int:
            data.mkdir(mode=0o700)
            last = self._taken.get(BackupKind.INCREMENTAL, self._taken[BackupKind.PHYSICAL])
            rebuild(find_runtime(bin_folder=self._server_programs()), self.order.store, last, data)
            return size_of(data)

        yield _Step(name=_GUIDE_UNPACK, run=unpack)
        yield _Step(name=_CHECK, run=check, is_ours=True)
        yield _Step(name="squizzle: checked, unpacked, checked", run=back, beside=_GUIDE_UNPACK, is_ours=True)
        yield _Step(name="", run=lambda: _remove(target, data))

    def dumps(self, folder: Path) -> Iterator[_Step]:
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

        yield _Step(name=_GUIDE_DUMP, run=guide)
        yield _Step(
            name=_DUMP, run=lambda: self._take(BackupKind.FULL), beside=_GUIDE_DUMP, rows=self.rows, is_ours=True
        )
        yield _Step(name="pg_dump -Fd -j2 --compress=1", run=parallel, beside=_GUIDE_DUMP)
        yield _Step(name=_FINGERPRINTS, run=digest, rows=self.rows, is_ours=True)
        yield from self._restores(dump)

    def _restores(self, dump: Path) -> Iterator[_Step]:
        """The dumps into a new database, which is dropped again."""

        def guide() -> int:
            with self._control() as control:
                control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_RESTORED)))
            return self._guide("pg_restore", dump, f"--dbname={_RESTORED}", str(dump)) * 0

        def ours() -> int:
            backup = self._taken[BackupKind.FULL]
            order = self.order
            with self._control() as control, order.store.fetch(backup) as files:
                like = read_properties(control, order.target.database)
                restore_beside(order.access, control, backup, files, programs=order.programs, into=_RESTORED, like=like)
            return 0

        def drop() -> int:
            with self._control() as control:
                drop_database(control, _RESTORED)
                control.execute("CHECKPOINT")
            return 0

        yield _Step(name=_GUIDE_RESTORE, run=guide)
        yield _Step(name="", run=drop)
        yield _Step(name=_RESTORE, run=ours, beside=_GUIDE_RESTORE, is_ours=True)
        yield _Step(name="", run=drop)

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
    rounds: int, steps_of: Callable[[Path], AbstractContextManager[Sequence[_Step]]], meter: Meter
) -> tuple[tuple[str, ...], ...]:
    """Run every step of every round; a step without a name is not timed."""
    taken: dict[str, list[_Result]] = {}
    steps: dict[str, _Step] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, steps_of(Path(folder)) as found:
            for step in found:
                meter.start()
                started = time.perf_counter()
                size = step.run()
                seconds = time.perf_counter() - started
                if step.name:
                    steps[step.name] = step
                    one = _Result(seconds=seconds, processor=meter.seconds(), size=size, memory=peak_bytes())
                    taken.setdefault(step.name, []).append(one)
                    print(f"{step.name}: {seconds:.2f} s, CPU {one.processor:.2f} s", file=sys.stderr, flush=True)
    return tuple(_rows(taken, steps))


def _rows(taken: Mapping[str, list[_Result]], steps: Mapping[str, _Step]) -> Iterator[tuple[str, ...]]:
    medians = {name: statistics.median(one.seconds for one in results) for name, results in taken.items()}
    processor = {name: statistics.median(one.processor for one in results) for name, results in taken.items()}
    for name, results in taken.items():
        seconds = [one.seconds for one in results]
        size = statistics.median(one.size for one in results)
        step = steps[name]
        yield (
            name,
            *(f"{cell:.2f}" for cell in (medians[name], min(seconds), max(seconds), processor[name])),
            f"{size / 1_000_000:.1f}" if size else "",
            *(f"{of[step.beside] / of[name]:.1f}" if step.beside else "" for of in (medians, processor)),
            f"{step.rows / medians[name]:,.0f}" if step.rows else "",
            f"{max(one.memory for one in results) / 1_000_000:.0f}" if step.is_ours else "",
        )
