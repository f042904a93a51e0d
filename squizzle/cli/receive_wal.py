"""The verb that receives a server's write-ahead log as it is written, for as long as it runs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.wal.open_archive import open_archive
from squizzle.backups.wal.receiver import Received, Receiving, receive_log
from squizzle.backups.wal.slots import DEFAULT_SLOT
from squizzle.cli.backups import store_address
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say


@click.command("receive-wal")
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option("--slot", default=DEFAULT_SLOT, show_default=True, metavar="NAME", help="The replication slot.")
@click.option("--create-slot", is_flag=True, help="Make the slot when there is none.")
@click.option("--allow-unlimited", is_flag=True, help="Make it even where it could fill the server's disk.")
@click.option("--skip-gap", is_flag=True, help="Go on behind segments that the server has removed.")
@click.option("--folder", type=click.Path(path_type=Path), metavar="DIR", help="Where the log lies until it is stored.")
@click.option("--compress", is_flag=True, help="Compress segments with zstd.")
@common_options
def receive_wal(
    invocation: Invocation,
    address: str | None,
    *,
    slot: str,
    create_slot: bool,
    allow_unlimited: bool,
    skip_gap: bool,
    folder: Path | None,
    compress: bool,
) -> None:
    """Receive the write-ahead log as it is written, and bring every whole segment into a store; until SIGTERM.

    The server keeps what was not received yet, for its slot, up to max_slot_wal_keep_size. Killed at any instant, the
    next start goes on where this one was. The folder has to be on a disk of this machine ($STATE_DIRECTORY of systemd,
    else ~/.local/state/squizzle).

    \b
    Example:
      squizzle receive-wal --env production --store file:///var/backups/shop --create-slot
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    order = Receiving(
        access=access,
        database=target.database,
        folder=folder or _default_folder() / "receive-wal",
        slot=slot,
        create_slot=create_slot,
        allow_unlimited=allow_unlimited,
        skip_gap=skip_gap,
        compress=compress,
        programs=invocation.config.programs,
    )
    archive = open_archive(store_address(address, invocation.config), open_keys(invocation.config.backups.keys))
    with _stopped_by_signals() as stop:
        done = receive_log(order, archive, stop=stop, on_progress=say)
    document = {
        "slot": slot,
        "folder": str(order.folder),
        "segments": done.segments,
        "last": done.last,
        "waiting": done.waiting,
    }
    print_result(document, _text(done, slot), as_json=invocation.as_json)


def _default_folder() -> Path:
    given = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME")
    above = Path(given) if given else Path.home() / ".local" / "state"
    return above if "STATE_DIRECTORY" in os.environ else above / "squizzle"


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Something that is set by SIGTERM and SIGINT, which end nothing meanwhile."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _text(done: Received, slot: str) -> str:
    last = f"the last one {done.last}" if done.last else "none was whole"
    lines = [f"stopped: {done.segments} files were archived, {last}"]
    if done.waiting:
        lines.append(f"{done.waiting} segments wait for the store; the next start brings them there")
    lines.append(
        f"the server keeps its log for the slot {slot} until the next start;"
        f" for good: SELECT pg_drop_replication_slot('{slot}')"
    )
    return "\n".join(lines)
