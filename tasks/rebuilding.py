"""Rebuilding a lost server from its store: find what is left, bring it back on an empty one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from squizzle.postgres.access import CONTROL_DATABASE, connect
from squizzle.postgres.programs import find_programs
from squizzle.recovery.rebuild.finding import find_saved_server, is_of_a_server
from squizzle.recovery.rebuild.rebuilding import NewServer, rebuild_server, refuse_unfit_server
from squizzle.recovery.rebuild.records import RebuiltServer, SavedServer
from tasks.sources import DatabaseSource, StoreSource
from tasks.steps import log_line, step


def _left(saved: SavedServer) -> str:
    names = ", ".join(backup.database for backup in saved.databases)
    lost = f"; nobody saved {', '.join(saved.not_saved)}" if saved.not_saved else ""
    return f"{names}, as of {saved.oldest:%Y-%m-%d %H:%M:%S} UTC or later{lost}"


@step("Find what is left of the server in its store", timeout=timedelta(minutes=30), detail=_left)
def find_saved(
    server: DatabaseSource, store: StoreSource, *, cluster: str = "", wanted: Callable[[str], bool] = is_of_a_server
) -> SavedServer:
    """The newest usable backup of each database, and the roles; nothing is changed.

    Raises:
        RefusedError, InvalidInputError: There is nothing, or the new server cannot take it.
    """
    saved = find_saved_server(store.open(), cluster=cluster or None, wanted=wanted)
    refuse_unfit_server(_new(server, store), saved)
    for note in saved.notes:
        log_line(note)
    return saved


def _new(server: DatabaseSource, store: StoreSource) -> NewServer:
    access = server.access()
    with connect(access, CONTROL_DATABASE, purpose="version check", read_only=True) as connection:
        programs = find_programs(explicit=None, server_major=connection.info.server_version // 10000)
    return NewServer(access=access, store=store.open(), programs=programs)


def _rebuilt(done: RebuiltServer) -> str:
    if done.is_whole:
        return f"{done.rows:,} rows in {len(done.databases)} databases are what was saved"
    return f"NOT as it was saved: {done.sentences[0]}"


@step("Rebuild the server, and compare", timeout=timedelta(hours=48), detail=_rebuilt)
def rebuild_it(server: DatabaseSource, store: StoreSource, saved: SavedServer) -> RebuiltServer:
    """Make the roles that are missing, restore every database and compare it row by row.

    Safe to repeat: what is there is not touched, and a database that was restored already is compared again.
    """
    return rebuild_server(_new(server, store), saved, say=log_line)
