"""What a whole rehearsal costs beside what it begins with: a backup, its restore, and the comparison of every row.

The example shop before its last version, which splits a column of one row in ten, and takes it away. Beside it another
version, which fills a column of one row in five from another table, and adds an index and a check. Everything is done
by the library; at the end the commands are run once, as a user runs them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bench import peers
from bench.replay import scratch_database
from bench.report import Figure, Finding, Picture
from bench.turns import Taken
from bench.usage import Meter
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import roll_back_versions
from squizzle.migrations.records import Policy
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.recovery.beside import RestoreOrder, restore_database
from squizzle.recovery.new_database import drop_database
from squizzle.rehearsal.certificate_store import write_certificate
from squizzle.rehearsal.place import PlaceOrder, rehearsal_place
from squizzle.rehearsal.records import CertificateVerdict
from squizzle.rehearsal.rehearse import draft_certificate, plan_rehearsal, rehearse_version
from squizzle.rehearsal.version_run import Course, apply_earlier
from squizzle.rehearsal.ways import measure_ways
from tests.support.shop import SHOP, load_shop

LIMIT = 2.5
_DATABASE, _RESTORED = "rehearsed", "rehearsed_restored"
_BEFORE, _VERSION = "0011", "0012"
_UP = """\
SET LOCAL shop.keep_updated_at = 'on';
ALTER TABLE orders ADD COLUMN item_count integer;
UPDATE orders AS o SET item_count = i.items
FROM (SELECT order_id, order_placed_at, count(*) AS items FROM order_items GROUP BY 1, 2) AS i
WHERE i.order_id = o.id AND i.order_placed_at = o.placed_at;
CREATE INDEX orders_item_count_idx ON orders (item_count);
ALTER TABLE orders ADD CONSTRAINT orders_item_count_range CHECK (item_count >= 0);
"""
_DOWN = """\
ALTER TABLE orders DROP CONSTRAINT orders_item_count_range;
DROP INDEX orders_item_count_idx;
ALTER TABLE orders DROP COLUMN item_count;
"""
ALONE = "backup, restore, compare"
REHEARSAL = f"rehearsal of the example's {_VERSION}"
BACKFILL = "rehearsal of a backfill"
_PARTS_OF_ALONE = ("backup full", "restore --into: restored, compared")
_PARTS = (
    "backup full",
    "restored to a scratch server, compared",
    "other ways back, measured",
    "forward, back, forward again, compared",
    "certificate",
    "scratch server stopped and removed",
)


@dataclass(kw_only=True, slots=True)
class _Taken:
    """Seconds of each part of one run, by the clock and of processors."""

    clock: dict[str, float] = field(default_factory=dict)
    processor: float = 0.0

    @property
    def total(self) -> float:
        """By the clock."""
        return sum(self.clock.values())

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """One part."""
        begun = time.perf_counter()
        yield
        self.clock[name] = time.perf_counter() - begun
        print(f"  {name}: {self.clock[name]:.2f} s", file=sys.stderr, flush=True)


def measure(access: ServerAccess, *, rounds: int, scale: float, verbs: int) -> Finding:
    """Do both in turn on the same rows; without `verbs` the commands are not run at the end."""
    loads = [os.getloadavg()[0]]
    with (
        scratch_database(access, _DATABASE),
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        load_shop(access, _DATABASE, scale=scale, timeout=timedelta(hours=1))
        example, backfill = SHOP / "migrations", _write_version(Path(folder) / "migrations")
        with connect(access, _DATABASE, purpose="bench") as connection:
            roll_back_versions(connection, Target(database=_DATABASE), read_migrations(example), to=_BEFORE)
            # As they were before anybody filled them.
            connection.execute("UPDATE users SET given_name = NULL, family_name = NULL")
            connection.execute("VACUUM FULL users")
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        contest = _Contest(access, Path(folder))
        ways: dict[str, Callable[[], _Taken]] = {
            ALONE: contest.alone,
            REHEARSAL: partial(contest.rehearsal, example),
            BACKFILL: partial(contest.rehearsal, backfill),
        }
        taken: dict[str, list[_Taken]] = {name: [] for name in ways}
        for number in range(rounds):
            # Who comes first finds the files of the database in memory, or not.
            for name in list(ways) if number % 2 == 0 else reversed(ways):
                print(f"{name}, round {number + 1}", file=sys.stderr, flush=True)
                taken[name].append(ways[name]())
                loads.append(os.getloadavg()[0])
        by_verb = tuple(contest.by_verb(example)) if verbs else ()
        rows = contest.rows
    return Finding(
        title=f"A rehearsal of one version on the example shop at scale {scale:g}",
        method=f"{rows:,} rows. The example's last version splits a column of one row in ten and takes it away; the"
        " backfill fills a column of one row in five, and adds an index and a check. Medians of"
        f" {rounds} interleaved rounds; load average {min(loads):.1f} to {max(loads):.1f} meanwhile. The ratio is"
        f" that to backup, restore and comparison alone, round by round; the limit is {LIMIT}. CPU: seconds of"
        " processor, of both servers and all others involved. The restore alone waits for the disk, the rehearsal's"
        " own server does not.",
        headings=("what", "median s", "min s", "max s", "ratio", "CPU s", "CPU ratio"),
        rows=(*_rows(taken), *by_verb),
        figures=tuple(_figures(taken)),
        picture=Picture(
            title=f"A rehearsal of one version, {rows:,} rows",
            unit="s",
            bars=tuple(_clock(runs).bar(name, is_ours=name != ALONE) for name, runs in taken.items()),
        ),
        shows_not="databases that do not fit into memory, and migrations that take longer than a backup.",
    )


def _clock(runs: Sequence[_Taken]) -> Taken:
    return Taken(values=tuple(one.total for one in runs))


_WHY = "it is backup, restore and comparison, and then the migration three times, each time compared, and the ways back"


def _figures(taken: dict[str, list[_Taken]]) -> Iterator[Figure]:
    processor = {name: Taken(values=tuple(one.processor for one in runs)) for name, runs in taken.items()}
    for name in (REHEARSAL, BACKFILL):
        yield _clock(taken[name]).figure(name, "s", peer=_clock(taken[ALONE]), peer_name=ALONE, why=_WHY)
        yield processor[name].figure(f"{name}, processor", "s", peer=processor[ALONE], peer_name=ALONE, why=_WHY)


def _write_version(folder: Path) -> Path:
    """The example's migrations with another last one."""
    shutil.copytree(SHOP / "migrations", folder, ignore=shutil.ignore_patterns(f"{_VERSION}_*"))
    version = folder / f"{_VERSION}_count_items"
    version.mkdir()
    (version / "up.sql").write_text(_UP, encoding="utf-8")
    (version / "down.sql").write_text(_DOWN, encoding="utf-8")
    return folder


class _Contest:
    """Both on one database.

    Args:
        access: The server.
        folder: Where stores may be made.
    """

    def __init__(self, access: ServerAccess, folder: Path) -> None:
        self._access = access
        self._folder = folder
        self._target = Target(database=_DATABASE, schema="public")
        with connect(access, CONTROL_DATABASE, purpose="bench") as control:
            self._programs = find_programs(explicit=None, server_major=control.info.server_version // 10000)
        self._meter = Meter(access)
        self.rows = 0

    @contextmanager
    def _store(self) -> Iterator[Path]:
        """An empty folder for backups; everything before is on disk already."""
        store = self._folder / "store"
        self._settle()
        yield store
        shutil.rmtree(store)

    def _settle(self) -> None:
        with connect(self._access, CONTROL_DATABASE, purpose="bench") as control:
            drop_database(control, _RESTORED)
            control.execute("CHECKPOINT")

    def _back_up(self, taken: _Taken, store: FolderStore) -> Backup:
        order = Order(
            access=self._access, target=self._target, store=store, kind=BackupKind.FULL, programs=self._programs
        )
        with taken.timed(_PARTS[0]):
            backup = take_backup(order, suffix="full")
        self.rows = backup.rows
        return backup

    def alone(self) -> _Taken:
        """What `squizzle backup full` and `squizzle restore ID --into NAME` do."""
        taken = _Taken()
        with self._store() as folder:
            self._meter.start()
            store = FolderStore(folder)
            backup = self._back_up(taken, store)
            order = RestoreOrder(
                access=self._access, store=store, backup=backup, into=_RESTORED, programs=self._programs
            )
            with taken.timed(_PARTS_OF_ALONE[1]):
                comparison = restore_database(order)
            taken.processor = self._meter.seconds()
        if not comparison.is_equal:
            raise RuntimeError(f"what was restored is not what was saved: {comparison.sentences()}")
        return taken

    def rehearsal(self, versions: Path) -> _Taken:
        """What `squizzle rehearse` does, without Prefect."""
        taken = _Taken()
        with self._store() as folder:
            self._meter.start()
            store = FolderStore(folder)
            migrations = read_migrations(versions)
            with connect(self._access, _DATABASE, purpose="bench", read_only=True) as connection:
                plan = plan_rehearsal(connection, self._target, migrations)
            backup = self._back_up(taken, store)
            order = PlaceOrder(store=store, backup=backup, database=_DATABASE, by="bench")
            with ExitStack() as stack:
                with taken.timed(_PARTS[1]):
                    place = stack.enter_context(rehearsal_place(order))
                with taken.timed(_PARTS[2]):
                    ways = measure_ways(place)
                course = Course(
                    place=place,
                    schema="public",
                    migrations=migrations,
                    policy=Policy(),
                    budget=timedelta(hours=1),
                )
                with taken.timed(_PARTS[3]), place.fresh() as work:
                    before = apply_earlier(course, work, plan.earlier)
                    result = rehearse_version(course, work, _VERSION, earlier=plan.earlier, before=before)
                with taken.timed(_PARTS[4]):
                    draft = draft_certificate(plan, course, result, ways, by="bench", now=datetime.now(UTC))
                    certificate = write_certificate(store, draft)
                # Of its own server, since it was made.
                taken.processor = self._meter.seconds() + Meter(place.access).server_seconds()
                with taken.timed(_PARTS[5]):
                    stack.close()
        if certificate.verdict is not CertificateVerdict.PROVEN:
            raise RuntimeError(f"the version is {certificate.verdict.value}: {certificate.reasons}")
        return taken

    def by_verb(self, versions: Path) -> Iterator[tuple[str, ...]]:
        """The commands, once, as whole processes."""
        squizzle = peers.find_squizzle()

        def run(*verb: str) -> float:
            begun = time.perf_counter()
            peers.run_squizzle(squizzle, self._access, _DATABASE, versions, *verb)
            return time.perf_counter() - begun

        with self._store() as folder:
            address = folder.as_uri()
            alone = run("backup", "full", "--store", address)
            alone += run("restore", _newest(folder), "--store", address, "--into", _RESTORED)
        with self._store() as folder:
            rehearsed = run("rehearse", _VERSION, "--store", folder.as_uri())
        self._settle()
        yield ("squizzle backup full, squizzle restore", *[f"{alone:.2f}"] * 3, "1.00", "", "")
        yield (f"squizzle rehearse {_VERSION}", *[f"{rehearsed:.2f}"] * 3, f"{rehearsed / alone:.2f}", "", "")


def _newest(folder: Path) -> str:
    return next(iter(FolderStore(folder).list_ids()))


def _rows(taken: dict[str, list[_Taken]]) -> Iterator[tuple[str, ...]]:
    alone = taken[ALONE]
    for name, runs in taken.items():
        ratios = [one.total / other.total for one, other in zip(runs, alone, strict=True)]
        processor = [one.processor / other.processor for one, other in zip(runs, alone, strict=True)]
        yield (
            name,
            *_three([one.total for one in runs]),
            f"{statistics.median(ratios):.2f}",
            f"{statistics.median(one.processor for one in runs):.2f}",
            f"{statistics.median(processor):.2f}",
        )
        for part in runs[0].clock:
            yield (f"… {part}", *_three([one.clock[part] for one in runs]), "", "", "")


def _three(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.2f}" for value in (statistics.median(values), min(values), max(values)))
