"""How long a backup takes and how big it is, beside the commands that a guide would tell one to use."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import peers
from bench.replay import scratch_database
from bench.report import Finding
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import BackupKind
from squizzle.backups.taking import take_backup
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, client_environment, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.proof.digests import digest_database

_GUIDE_COPY = "pg_basebackup -Ft -z"
_GUIDE_DUMP = "pg_dump -Fc --compress=9"
_COPY = "squizzle backup physical"
_DUMP = "squizzle backup full"
_INCREMENT = "squizzle backup incremental (1 % of the rows)"
_FINGERPRINTS = "fingerprints alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Result:
    """One run: seconds, and bytes in the store."""

    seconds: float
    size: int


def measure(access: ServerAccess, *, rounds: int, scale: int) -> Finding:
    """Save the same database with every contender in turn, each round with new changes for the increment."""
    taken: dict[str, list[_Result]] = {}
    with scratch_database(access, "backup") as database, _summaries(access):
        rows = _fill(access, database, scale)
        for number in range(rounds):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                for name, run in _contenders(access, database, Path(folder), number).items():
                    started = time.perf_counter()
                    size = run()
                    taken.setdefault(name, []).append(_Result(seconds=time.perf_counter() - started, size=size))
    return Finding(
        title=f"Backups of pgbench at scale {scale}",
        method=f"{rounds} interleaved runs, medians. Squizzle's times include the fingerprints of {rows:,} rows, the"
        " manifest and the wait for the disk; the guide's commands prove nothing and wait for nothing but their own"
        " files. Ratio: how many times faster than the guide's command of the same kind.",
        headings=("contender", "median s", "min s", "max s", "MB", "ratio", "rows/s"),
        rows=tuple(_rows(taken, rows)),
        command=f"python -m bench backup --rounds {rounds} --scale {scale}",
    )


def _contenders(access: ServerAccess, database: str, folder: Path, number: int) -> Mapping[str, Callable[[], int]]:
    with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
        programs = find_programs(explicit=None, server_major=connection.info.server_version // 10000)
    order = Order(
        access=access,
        target=Target(database=database, schema="public"),
        store=FolderStore(folder / "store"),
        kind=BackupKind.PHYSICAL,
        programs=programs,
    )

    def ours(kind: BackupKind) -> int:
        return take_backup(replace(order, kind=kind), suffix=f"{number}{kind.value}").size_bytes

    def guide(program: str, target: Path, *arguments: str) -> int:
        with client_environment(access, database) as environment:
            peers.run([str(programs.path(program)), *arguments], environment)
        return sum(path.stat().st_size for path in (target.rglob("*") if target.is_dir() else (target,)))

    def increment() -> int:
        return ours(BackupKind.INCREMENTAL)

    def fingerprint() -> int:
        with connect(access, database, purpose="bench", read_only=True) as connection:
            digest_database(connection)
        return 0

    copy, dump = folder / "copy", folder / "dump"
    return {
        _GUIDE_COPY: lambda: guide("pg_basebackup", copy, f"--pgdata={copy}", "-Ft", "-z", "--checkpoint=fast"),
        _COPY: lambda: ours(BackupKind.PHYSICAL),
        "(the changes)": lambda: _change(access, database),
        _INCREMENT: increment,
        _GUIDE_DUMP: lambda: guide("pg_dump", dump, "-Fc", "--compress=9", f"--file={dump}"),
        _DUMP: lambda: ours(BackupKind.FULL),
        _FINGERPRINTS: fingerprint,
    }


@contextmanager
def _summaries(access: ServerAccess) -> Iterator[None]:
    """Increments need them; the other benchmarks shall not pay for them."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
        connection.execute("ALTER SYSTEM SET summarize_wal = on")
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            connection.execute("ALTER SYSTEM RESET summarize_wal")
            connection.execute("SELECT pg_reload_conf()")


def _fill(access: ServerAccess, database: str, scale: int) -> int:
    with connect(access, database, purpose="bench") as connection:
        programs = find_programs(explicit=None, server_major=connection.info.server_version // 10000)
        with client_environment(access, database) as environment:
            peers.run([str(programs.path("pgbench")), "-i", "-q", "-s", str(scale)], environment)
        # The setting has arrived, and what is written from now on is summarised.
        connection.execute("CHECKPOINT")
        digest = digest_database(connection)
    return digest.rows


def _change(access: ServerAccess, database: str) -> int:
    """One row in a hundred, in one place."""
    with connect(access, database, purpose="bench") as connection:
        connection.execute(
            "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= (SELECT max(aid) / 100"
            " FROM pgbench_accounts)"
        )
        connection.execute("CHECKPOINT")
    return 0


def _rows(taken: Mapping[str, list[_Result]], rows: int) -> Iterator[tuple[str, ...]]:
    medians = {name: statistics.median(one.seconds for one in results) for name, results in taken.items()}
    guides = {_COPY: _GUIDE_COPY, _INCREMENT: _GUIDE_COPY, _DUMP: _GUIDE_DUMP}
    for name, results in taken.items():
        if name.startswith("("):
            continue
        seconds = [one.seconds for one in results]
        yield (
            name,
            *(f"{cell:.2f}" for cell in (medians[name], min(seconds), max(seconds))),
            f"{statistics.median(one.size for one in results) / 1_000_000:.1f}",
            f"{medians[guides[name]] / medians[name]:.1f}" if name in guides else "",
            f"{rows / medians[name]:,.0f}" if name == _FINGERPRINTS else "",
        )
