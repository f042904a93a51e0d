"""Copying a database by cloning its files, where the file system can, beside copying them; and where it cannot.

PostgreSQL 18 knows `file_copy_method`. The file systems are the temporary folder's own, and XFS and Btrfs in a file
that is mounted, which takes root.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
import psycopg
from psycopg import sql

from bench import peers
from bench.debian import find_program
from bench.report import Bar, Figure, Finding, Picture
from bench.turns import Taken
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect
from squizzle.postgres.embedded import find_runtime, throwaway_cluster
from squizzle.recovery.new_database import drop_database

COPY, CLONE = "copy", "clone"
_DATABASE, _COPIED = "bench_reflink", "bench_reflink_copy"
_FIRST_MAJOR = 18
# Room for the database, two copies of it, and the server's log.
_IMAGE_MB = 3000
_KINDS = (("xfs", "mkfs.xfs", "xfsprogs"), ("btrfs", "mkfs.btrfs", "btrfs-progs"))
_ROWS = "CREATE TABLE filler AS SELECT n, repeat(md5(n::text), 28) AS body FROM generate_series(1, %s) n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """One copy: seconds, and megabytes that the file system has less for it."""

    seconds: float
    megabytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """What was measured on one file system; no copies by a way that it refused, and why."""

    name: str
    megabytes: float
    copies: dict[str, list[Copied]]
    refused: dict[str, str]

    def seconds(self, way: str) -> Taken:
        """Of each copy."""
        return Taken(values=tuple(one.seconds for one in self.copies[way]))

    @property
    def has_cloned(self) -> bool:
        """Whether a clone took no room; a file system that cannot may copy without a word."""
        return any(one.megabytes < self.megabytes / 10 for one in self.copies[CLONE])


def measure(_access: ServerAccess, *, rounds: int, rows: int) -> Finding:
    """Copy a database both ways, in turn, on every file system that this machine has or can make.

    Args:
        rounds: How often, each way.
        rows: Of the database, a kilobyte each.
    """
    places, missing = [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        for name, opened in _file_systems(Path(place)):
            try:
                with opened as base:
                    places.append(_measured(name, base, rounds, rows))
            except (RuntimeError, OSError) as exc:
                missing.append(f"{name}: {' '.join(str(exc).split())[-160:]}")
    return Finding(
        title="A copy of a database by cloning its files",
        method=f"CREATE DATABASE … STRATEGY FILE_COPY of {places[0].megabytes:,.0f} MB with `file_copy_method` copy and"
        f" clone in turn, {rounds} rounds, medians. MB: what the file system has less afterwards. Squizzle asks for a"
        " clone, and copies where that is refused.",
        headings=("file system", "copy: s", "copy: MB", "clone: s", "clone: MB", "ratio", "it clones"),
        rows=tuple(_row(one) for one in places),
        figures=tuple(_figures(places)),
        picture=Picture(title="A copy of a database", unit="s", bars=tuple(_bars(places))),
        missing=tuple(missing),
        shows_not="other file systems, and disks that are no memory of this machine. A clone shares its blocks with the"
        " database that it was made of: what damages them on the disk damages both.",
    )


def _row(place: _Place) -> tuple[str, ...]:
    cells: list[str] = []
    for way in (COPY, CLONE):
        taken, used = place.seconds(way), [one.megabytes for one in place.copies[way]]
        cells += [f"{taken.median:.2f}", f"{median(used):.0f}"] if used else ["refused", ""]
    ratio = f"{place.seconds(CLONE).ratio_to(place.seconds(COPY)):.2f}" if place.copies[CLONE] else ""
    return (place.name, *cells, ratio, "yes" if place.has_cloned else f"no {place.refused.get(CLONE, '')}".strip())


def _figures(places: list[_Place]) -> Iterator[Figure]:
    for place in places:
        if place.has_cloned:
            copied = place.seconds(COPY)
            yield place.seconds(CLONE).figure("a clone", "s", peer=copied, peer_name=f"a copy on {place.name}")


def _bars(places: list[_Place]) -> Iterator[Bar]:
    for place in places:
        for way in (COPY, CLONE):
            if place.copies[way]:
                yield place.seconds(way).bar(f"{place.name}: {way}", is_ours=way == CLONE)


def _measured(name: str, base: Path | None, rounds: int, rows: int) -> _Place:
    runtime = find_runtime(base=base)
    if runtime.major < _FIRST_MAJOR:
        raise RuntimeError(f"PostgreSQL {runtime.version} knows no file_copy_method")
    copies: dict[str, list[Copied]] = {COPY: [], CLONE: []}
    refused = {}
    with throwaway_cluster("bench", settings={"max_wal_size": "1GB"}, runtime=runtime) as server:
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        megabytes = _fill(access, rows)
        with connect(access, CONTROL_DATABASE, purpose="bench") as control:
            for _ in range(rounds):
                for way in (COPY, CLONE):
                    try:
                        copies[way].append(_copy(control, way, server.data_folder))
                    except psycopg.Error as exc:
                        refused[way] = str(exc).partition("\n")[0]
                    print(f"  {name}, {way}: {copies[way][-1:] or refused[way]}", file=sys.stderr, flush=True)
    return _Place(name=name, megabytes=megabytes, copies=copies, refused=refused)


def _fill(access: ServerAccess, rows: int) -> float:
    """Make the database; returns its megabytes."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))
    with connect(access, _DATABASE, purpose="bench") as session:
        session.execute(_ROWS, (rows,))
        session.execute("VACUUM ANALYZE")
        row = session.execute("SELECT pg_database_size(current_database())").fetchone()
    return (row[0] if row else 0) / 1_000_000


def _copy(control: Connection, way: str, folder: Path) -> Copied:
    drop_database(control, _COPIED)
    control.execute("CHECKPOINT")
    control.execute("SELECT set_config('file_copy_method', %s, false)", (way,))
    command = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    free, begun = _free_mb(folder), time.perf_counter()
    control.execute(command.format(sql.Identifier(_COPIED), sql.Identifier(_DATABASE)))
    seconds = time.perf_counter() - begun
    os.sync()
    return Copied(seconds=seconds, megabytes=max(0.0, free - _free_mb(folder)))


def _free_mb(folder: Path) -> float:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize / 1_000_000


# File systems


def _file_systems(folder: Path) -> Iterator[tuple[str, AbstractContextManager[Path | None]]]:
    """What each is called, and how it is opened: the folder where servers may be made, or None for their own."""
    folder.chmod(0o755)  # the servers' account goes through it
    yield f"{_kind_of(Path(tempfile.gettempdir()))}, where temporary files lie", nullcontext()
    for kind, program, package in _KINDS:
        yield f"{kind} in a file", _mounted(kind, find_program(program, package), folder)


def _kind_of(folder: Path) -> str:
    mounts = [one for one in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(one.mountpoint)]
    return max(mounts, key=lambda one: len(one.mountpoint)).fstype if mounts else "unknown"


@contextmanager
def _mounted(kind: str, program: Path | None, folder: Path) -> Iterator[Path]:
    """A new file system of that kind.

    Raises:
        RuntimeError: It cannot be had here, and why.
    """
    if program is None:
        raise RuntimeError(f"no mkfs.{kind} on this machine, and none to be fetched")
    if os.geteuid() != 0:
        raise RuntimeError("only root mounts file systems")
    image, at = folder / f"{kind}.img", folder / kind
    image.touch()
    os.truncate(image, _IMAGE_MB << 20)
    peers.run([str(program), "-q", "-f", str(image)])
    at.mkdir()
    peers.run(["mount", "-o", "loop", str(image), str(at)])
    try:
        yield at / "base"
    finally:
        peers.run(["umount", str(at)])
        image.unlink()
