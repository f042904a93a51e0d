"""How long each way back takes, from the command to clients being let in again, and how that grows with the database.

A script damages one row in twenty; every way back is a command of Squizzle in a process of its own, and what it left is
compared with what was there before. Beside them what runbooks have: pg_restore, a count, two renames.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from psycopg import sql

from bench import peers
from bench.report import Figure, Finding, Picture
from bench.turns import Taken
from squizzle.backups.change_log.switching import enable
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, client_environment, connect
from squizzle.postgres.embedded import ServerAddress, drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.new_database import drop_database
from tests.support.processes import wait_until
from tests.support.wal import take_over

_DATABASE, _BESIDE, _TABLE = "bench_recovery", "bench_beside", "goods"
_TABLES = f"""\
CREATE TABLE {_TABLE} (id int PRIMARY KEY, price int NOT NULL, name text NOT NULL, note text);
CREATE INDEX goods_name_idx ON {_TABLE} (name);
"""
_ROWS = (
    "INSERT INTO goods SELECT n, n %% 1000, md5(n::text), repeat(md5((n + 1)::text), 2) FROM generate_series(1, %s) n"
)
_DAMAGE = "UPDATE goods SET price = price + 1 WHERE id % 20 = 0"
_REPAIR = "UPDATE goods SET price = price - 1 WHERE id % 20 = 0"

_COUNT = f"SELECT count(*) FROM {_TABLE}"  # noqa: S608 - a name of ours
_SWITCH = (
    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_DATABASE}'",  # noqa: S608 - same
    f"ALTER DATABASE {_DATABASE} RENAME TO {_DATABASE}_corrupted",
    f"ALTER DATABASE {_BESIDE} RENAME TO {_DATABASE}",
)

ROLL_BACK = "down script: squizzle rollback"
UNDO = "rows from the change log: squizzle undo"
PREPARE = "(beforehand: squizzle copies prepare)"
SWAP = "prepared copy: squizzle switch-over, unfence"
BESIDE = "backup: squizzle restore --switch-over"
POINT = "point in time: squizzle restore MARK --switch-over"
RUNBOOK = "runbook: createdb, pg_restore, count(*), two renames"
_WHY = "every file is checked before, every row compared afterwards, and the planner gets its statistics"
# In the order in which they are measured: the first two leave the database in its place.
_LOSES = {
    ROLL_BACK: "nothing",
    UNDO: "nothing",
    PREPARE: "",
    SWAP: "since the copy",
    BESIDE: "since the backup",
    POINT: "since the point",
    RUNBOOK: "since the backup",
}


def measure(_access: ServerAccess, *, rounds: int, rows: int, steps: int) -> Finding:
    """Damage a database and get it back, by each way, at several sizes, on servers that archive their log.

    Args:
        rounds: How often, at each size.
        rows: Of the biggest database.
        steps: How many sizes; each is a fifth of the next one.
    """
    sizes = [_measured(rows // 5**step, rounds) for step in reversed(range(steps))]
    megabytes = [f"{one.megabytes:,.0f} MB" for one in sizes]
    return Finding(
        title="The time that each way back takes",
        method=f"Databases of {' and '.join(megabytes)}, one row in twenty damaged by a script;"
        f" medians of {rounds} rounds. From the start of the command to clients being let in, the comparison of every"
        " row included wherever another database takes the place of the damaged one; the runbook counts one table and"
        " compares nothing. The way by point in time recovers the whole cluster on a server of its own first. What each"
        " way left was compared with what was there before, outside of the time.",
        headings=("way back", *(f"{one}: s" for one in megabytes), "what is lost"),
        rows=tuple((name, *(f"{one.taken[name].median:.2f}" for one in sizes), lost) for name, lost in _LOSES.items()),
        figures=tuple(figure for one in sizes for figure in one.figures()),
        picture=Picture(
            title=f"Ways back of a database of {megabytes[-1]}",
            unit="s",
            bars=tuple(one.bar(name, is_ours=name != RUNBOOK) for name, one in sizes[-1].taken.items()),
            is_logarithmic=True,
        ),
        shows_not="a database that does not fit into memory, a disk or a store behind a network, and how long people"
        " take to decide.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Size:
    """What was measured at one size."""

    megabytes: float
    taken: dict[str, Taken]

    def figures(self) -> Iterator[Figure]:
        for way, one in self.taken.items():
            name = f"{way}, {self.megabytes:,.0f} MB"
            if way == BESIDE:
                yield one.figure(name, "s", peer=self.taken[RUNBOOK], peer_name=RUNBOOK, why=_WHY)
            elif way != RUNBOOK:
                yield one.figure(name, "s")


def _measured(rows: int, rounds: int) -> _Size:
    with _prepared(rows) as contest:
        done = [contest.round() for _ in range(rounds)]
        taken = {name: Taken(values=tuple(one[name] for one in done)) for name in _LOSES}
        return _Size(megabytes=contest.megabytes, taken=taken)


@contextmanager
def _prepared(rows: int) -> Iterator[_Contest]:
    """A server with the database, its backups from before, and the log up to the mark in the archive."""
    runtime = find_runtime()
    settings = {**drill_settings(runtime.major), "max_wal_size": "4GB"}
    with (
        throwaway_cluster("bench", settings=settings, runtime=runtime, from_template=False) as server,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        migrations = _write_versions(Path(folder) / "migrations")
        _fill(access, migrations, rows)
        yield _Contest(access, server, Path(folder), migrations)


def _write_versions(folder: Path) -> Path:
    for name, up, down in (("0001_goods", _TABLES, f"DROP TABLE {_TABLE}"), ("0002_prices", _DAMAGE, _REPAIR)):
        (folder / name).mkdir(parents=True)
        (folder / name / "up.sql").write_text(f"{up};\n", encoding="utf-8")
        (folder / name / "down.sql").write_text(f"{down};\n", encoding="utf-8")
    return folder


def _fill(access: ServerAccess, migrations: Path, rows: int) -> None:
    target = Target(database=_DATABASE)
    with connect(access, CONTROL_DATABASE, purpose="bench") as control:
        control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))
    with connect(access, _DATABASE, purpose="bench") as session:
        apply_versions(session, target, read_migrations(migrations), only="0001")
        session.execute(_ROWS, (rows,))
        enable(session, target, (("public", _TABLE),), on_wait=print)
        session.execute("VACUUM ANALYZE")
        session.execute("CHECKPOINT")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Saved:
    """What was made before anything was damaged."""

    full: Backup
    mark: Backup
    dump: Path
    digest: DatabaseDigest


class _Contest:
    """Every way back of one database.

    Args:
        access: The server.
        server: The same; its archive is in a folder of its own.
        folder: Where stores may be made.
        migrations: The folder of migrations.
    """

    def __init__(self, access: ServerAccess, server: ServerAddress, folder: Path, migrations: Path) -> None:
        self._access, self._server, self._folder, self._migrations = access, server, folder, migrations
        self._squizzle = peers.find_squizzle()
        with connect(access, _DATABASE, purpose="bench") as session:
            self._programs: ClientPrograms = find_programs(
                explicit=None, server_major=session.info.server_version // 10000
            )
            row = session.execute("SELECT pg_database_size(current_database())").fetchone()
        self.megabytes = (row[0] if row else 0) / 1_000_000
        self._store = FolderStore(folder / "store")
        self._saved = self._save()

    def round(self) -> dict[str, float]:
        """Each way once; seconds."""
        taken: dict[str, float] = {}
        for way in self._ways():
            way.damage()
            begun = time.perf_counter()
            way.bring_back()
            taken[way.name] = time.perf_counter() - begun
            print(f"  {self.megabytes:,.0f} MB, {way.name}: {taken[way.name]:.2f} s", file=sys.stderr, flush=True)
            self._refuse_damage(way.name)
            if way.name != PREPARE:  # the copy is what the next way brings back
                self._drop_others()
        return taken

    def _ways(self) -> Iterator[_Way]:
        yield _Way(name=ROLL_BACK, damage=self._apply, bring_back=lambda: self._run("rollback", "0002"))
        since = datetime.now(UTC).isoformat()
        yield _Way(
            name=UNDO,
            damage=self._damage,
            bring_back=lambda: self._run("undo", "--table", _TABLE, "--since", since, "--limit", "0"),
        )
        yield _Way(name=PREPARE, damage=lambda: None, bring_back=lambda: self._run("copies", "prepare"))
        yield _Way(name=SWAP, damage=self._damage, bring_back=self._swap)
        beside = ("--into", _BESIDE, "--switch-over", "--store", self._store.address)
        full, mark = self._saved.full.id, self._saved.mark.id
        yield _Way(name=BESIDE, damage=self._damage, bring_back=lambda: self._run("restore", full, *beside))
        yield _Way(name=POINT, damage=self._damage, bring_back=lambda: self._run("restore", mark, *beside))
        yield _Way(name=RUNBOOK, damage=self._damage, bring_back=self._by_runbook)

    def _run(self, *verb: str) -> None:
        peers.run_squizzle(self._squizzle, self._access, _DATABASE, self._migrations, *verb, "--yes")

    def _apply(self) -> None:
        with connect(self._access, _DATABASE, purpose="bench") as session:
            apply_versions(session, Target(database=_DATABASE), read_migrations(self._migrations), only="0002")

    def _damage(self) -> None:
        with connect(self._access, _DATABASE, purpose="bench") as session:
            session.execute(_DAMAGE)

    def _swap(self) -> None:
        self._run("switch-over", _DATABASE, "--to", self._others()[0])
        self._run("unfence")

    def _by_runbook(self) -> None:
        """As the guide has it."""
        psql = peers.find_psql(self._access)

        def say(database: str, *commands: str) -> None:
            peers.run_psql(psql, self._access, database, [word for one in commands for word in ("-c", one)])

        say(CONTROL_DATABASE, f"CREATE DATABASE {_BESIDE}")
        with client_environment(self._access, _BESIDE) as environment:
            restore = [str(self._programs.path("pg_restore")), f"--dbname={_BESIDE}", str(self._saved.dump)]
            peers.run(restore, environment)
        say(_BESIDE, _COUNT)
        say(CONTROL_DATABASE, *_SWITCH)

    # Before and afterwards

    def _save(self) -> _Saved:
        """The copy of the cluster, the dumps, and the mark, in this order."""
        copy = self._take(BackupKind.PHYSICAL)
        full = self._take(BackupKind.FULL)
        dump = self._folder / "dump"
        with client_environment(self._access, _DATABASE) as environment:
            peers.run([str(self._programs.path("pg_dump")), "-Fc", f"--file={dump}"], environment)
        mark = self._take(BackupKind.MARK)
        with connect(self._access, _DATABASE, purpose="bench") as session:
            row = session.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            archive = self._server.archive_folder
            wait_until((archive / (row[0] if row else "")).exists, "the log is archived")
            digest = digest_database(session)
        take_over(archive, self._store.folder, copy.system_identifier)
        return _Saved(full=full, mark=mark, dump=dump, digest=digest)

    def _take(self, kind: BackupKind) -> Backup:
        order = Order(
            access=self._access,
            target=Target(database=_DATABASE, schema="public"),
            store=self._store,
            kind=kind,
            programs=self._programs,
        )
        return take_backup(order, suffix=f"{kind.value:a<6.6}")

    def _refuse_damage(self, way: str) -> None:
        """A way back that brings nothing back would be fast."""
        with connect(self._access, _DATABASE, purpose="bench") as session:
            found = compare_digests(self._saved.digest, digest_database(session))
        # The change log itself has grown.
        wrong = [one for one in found.row_sentences() if one.startswith(f"public.{_TABLE}:")]
        if wrong:
            raise RuntimeError(f"{way} left {wrong[0]}")

    def _others(self) -> list[str]:
        """Every database beside the one that clients use, whoever made it."""
        with connect(self._access, CONTROL_DATABASE, purpose="bench") as control:
            query = "SELECT datname::text FROM pg_database WHERE datname LIKE 'bench\\_%%' AND datname <> %s"
            return [name for (name,) in control.execute(query, (_DATABASE,))]

    def _drop_others(self) -> None:
        for name in self._others():
            with closing(connect(self._access, CONTROL_DATABASE, purpose="bench")) as control:
                drop_database(control, name)
        with connect(self._access, CONTROL_DATABASE, purpose="bench") as control:
            control.execute("CHECKPOINT")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    """One way back.

    Attributes:
        name: Of the row.
        damage: Comes before, and is not timed.
        bring_back: Is timed.
    """

    name: str
    damage: Callable[[], None]
    bring_back: Callable[[], None]
