"""The real PgBouncer, where it is installed, for the length of a block."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from squizzle.postgres.access import ServerAccess
from tests.support.processes import wait_until
from tests.support.wire import PORT

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

# Everybody is let in as the server's superuser: its socket is private.
SETTINGS = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr =
listen_port = {own_port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = {servers}
"""


@contextlib.contextmanager
def pgbouncer(access: ServerAccess, mode: str, *, servers: int = 5) -> Iterator[ServerAccess]:
    """PgBouncer in front of a server; gives how clients reach it."""
    assert PROGRAM is not None
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    # It refuses to run as root, and only the server's own account may enter the folder of its socket.
    owner = Path(access.host).stat()
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        SETTINGS.format(
            host=access.host,
            port=access.port,
            user=access.user,
            own_port=PORT,
            folder=folder,
            mode=mode,
            servers=servers,
        ),
        encoding="utf-8",
    )
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    if account:
        for path in (folder, settings):
            os.chown(path, owner.st_uid, owner.st_gid)
    with subprocess.Popen(
        [PROGRAM, str(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account,  # type: ignore[call-overload]
    ) as process:
        try:
            wait_until((folder / f".s.PGSQL.{PORT}").exists, "PgBouncer listens")
            yield replace(access, host=str(folder), port=PORT)
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder)
