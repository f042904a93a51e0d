"""A copy's server begins anew among the work, by another session's crash: nothing is lost by that, or called damaged."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from squizzle.errors import ConnectionFailedError
from squizzle.postgres.access import Connection
from squizzle.postgres.embedded import find_runtime
from squizzle.postgres.programs import find_programs
from squizzle.recovery.corruption.asking import Asker
from squizzle.recovery.corruption.copying import DamagedCopy, Source, damaged_copy, superuser_of
from squizzle.recovery.corruption.reading import TableReader, read_shape
from squizzle.recovery.corruption.salvage import DUMP_FOLDER, Salvage
from squizzle.recovery.corruption.structure import read_relations
from tests.integration.conftest import SYSTEM_FOLDERS
from tests.support.damaged import ORDERS, damaged_shop
from tests.support.processes import wait_until

AGAIN = "the copy's server began anew: saving the rest of the database again"


@pytest.fixture(scope="module")
def copy() -> Iterator[DamagedCopy]:
    with damaged_shop(find_runtime(bin_folder=SYSTEM_FOLDERS[-1] if SYSTEM_FOLDERS else None)) as shop:
        shop.cluster.start(guarded=True)
        with damaged_copy(Source(access=shop.access, database="shop")) as copy:
            shop.cluster.stop()
            copy.start()
            superuser_of(copy, "shop")
            yield copy


def crash_another(copy: DamagedCopy) -> None:
    """As a crashed session does it, whose death takes all others with it; returns when the server has noticed."""
    with closing(copy.connect_again("postgres")) as other, closing(copy.connect("postgres")) as witness:
        os.kill(other.info.backend_pid, signal.SIGKILL)
        wait_until(lambda: not answers(witness), "the server noticed the crash")


def answers(session: Connection) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def crashes_while_it_dumps(copy: DamagedCopy, folder: Path, times: int) -> Iterator[DamagedCopy]:
    """The copy, with a pg_dump that loses its session by another's crash; so many of them."""
    folder.mkdir()
    real = copy.programs.path("pg_dump")
    # It waits in its last step before it connects, until somebody has done the rest.
    (folder / "pg_dump").write_text(
        f"""#!/bin/sh
        if [ "$1" = --format=directory ]; then touch {folder}/here; while [ -e {folder}/here ]; do sleep 0.01; done; fi
        if [ -e {folder}/crashed ]; then rm {folder}/crashed; exit 1; fi
        exec {real} "$@"
        """
    )
    (folder / "pg_dump").chmod(0o755)
    for name in ("pg_restore", "pg_dumpall", "psql"):
        (folder / name).symlink_to(copy.programs.path(name))
    programs = find_programs(explicit=folder, server_major=copy.runtime.major)
    over = threading.Event()

    def strike() -> None:
        left = times
        while not over.wait(0.01):
            if (folder / "here").exists():
                if left:
                    crash_another(copy)
                    (folder / "crashed").touch()
                    left -= 1
                (folder / "here").unlink()

    striker = threading.Thread(target=strike)
    striker.start()
    try:
        yield DamagedCopy(copy.cluster, copy.user, programs)
    finally:
        over.set()
        striker.join()


def test_the_rest_is_saved_again(copy: DamagedCopy, tmp_path: Path) -> None:
    said: list[str] = []
    with crashes_while_it_dumps(copy, tmp_path / "programs", 1) as crashing:
        _, rest, doubts = Salvage(crashing, "shop", tmp_path, checksums=True, say=said.append).run(
            (), (), with_rest=True
        )

    assert doubts == ()
    assert rest == DUMP_FOLDER
    assert (tmp_path / rest / "toc.dat").exists()
    assert said.count(AGAIN) == 1


def test_a_rest_that_crashes_every_time_is_said(copy: DamagedCopy, tmp_path: Path) -> None:
    said: list[str] = []
    with crashes_while_it_dumps(copy, tmp_path / "programs", 99) as crashing:
        _, rest, [doubt] = Salvage(crashing, "shop", tmp_path, checksums=True, say=said.append).run(
            (), (), with_rest=True
        )

    assert rest == ""
    assert doubt.startswith("the rest of the database could not be saved: ")
    assert said.count(AGAIN) == 2


def test_a_dump_that_fails_by_itself_is_not_made_again(copy: DamagedCopy, tmp_path: Path) -> None:
    (tmp_path / DUMP_FOLDER).mkdir()
    (tmp_path / DUMP_FOLDER / "toc.dat").touch()
    said: list[str] = []

    _, rest, [doubt] = Salvage(copy, "shop", tmp_path, checksums=True, say=said.append).run((), (), with_rest=True)

    assert rest == ""
    assert "File exists" in doubt
    assert AGAIN not in said


def test_rows_are_read_again_from_where_the_crash_struck(copy: DamagedCopy, tmp_path: Path) -> None:
    with copy.connect_again("shop") as connection:
        relation = next(one for one in read_relations(connection) if one.name == "public.orders")
        shape = read_shape(connection, relation, lambda _oid: True)
    crashed: list[bool] = []

    class CrashingFile:
        """Lets a session crash when half of the rows were written, once."""

        def __init__(self) -> None:
            self.file = (tmp_path / "rows").open("w+b")

        def write(self, chunk: bytes) -> int:
            if not crashed and bytes(chunk).startswith(b"9000\t"):
                crash_another(copy)
                crashed.append(True)
            return self.file.write(chunk)

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    output = CrashingFile()
    with closing(TableReader(copy, "shop", shape, output, ignore=False)) as reader:  # type: ignore[arg-type]
        reader.read_around(())
    output.file.close()

    keys = [int(line.partition(b"\t")[0]) for line in (tmp_path / "rows").read_bytes().splitlines()]
    assert crashed == [True]
    assert sorted(keys) == list(range(1, ORDERS + 1))
    assert reader.found.rows == ORDERS
    assert reader.found.unreadable_pages == []
    assert reader.found.unreadable_rows == []


def test_what_crashes_twice_is_said_and_the_next_question_is_answered(copy: DamagedCopy) -> None:
    asked: list[int] = []

    def crash(session: Connection) -> None:
        asked.append(session.info.backend_pid)
        os.kill(session.info.backend_pid, signal.SIGKILL)
        session.execute("SELECT 1")

    with closing(Asker(copy, "shop")) as asker:
        with pytest.raises(psycopg.OperationalError):
            asker.ask(crash)
        assert len(set(asked)) == 2
        assert asker.ask(one) == 1


def one(session: Connection) -> int:
    [(number,)] = session.execute("SELECT 1")
    return int(number)


def test_a_database_that_is_missing_is_not_waited_for(copy: DamagedCopy) -> None:
    begun = time.monotonic()
    with pytest.raises(ConnectionFailedError, match="nowhere"):
        copy.connect_again("nowhere")
    assert time.monotonic() - begun < 60
