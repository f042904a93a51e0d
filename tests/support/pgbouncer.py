"""The real PgBouncer, where it is installed, for the length of a block."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from squizzle.postgres.access import ServerAccess
from tests.support.processes import wait_until
from tests.support.wire import PORT

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

# Everybody is let in as the server's superuser: its socket is private. Only who is known by name may use the console.
SETTINGS = """
[databases]
* = host={host} port={port} user={user}{first}
[pgbouncer]
listen_addr =
listen_port = {own_port}
unix_socket_dir = {folder}
auth_type = {auth_type}
auth_file = {folder}/users.txt
admin_users = {admin}
pool_mode = {mode}
default_pool_size = {servers}
"""


@contextlib.contextmanager
def pgbouncer(
    access: ServerAccess,
    mode: str,
    *,
    servers: int = 5,
    auth_type: str = "any",
    password: str = "",
    connect_query: str = "",
    program: str | None = PROGRAM,
) -> Iterator[ServerAccess]:
    """PgBouncer in front of a server; gives how clients reach it.

    Args:
        access: The server.
        mode: Its pool_mode.
        servers: At most so many sessions on the server.
        auth_type: `any` lets everybody in but nobody to the console; `trust` the server's superuser to both, and `md5` with
            this password.
        password: Of the superuser.
        connect_query: What each session on the server begins with.
        program: Another PgBouncer than the system's.
    """
    assert program is not None
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
            auth_type=auth_type,
            first=f" connect_query='{connect_query}'" if connect_query else "",
            admin="" if auth_type == "any" else access.user,
        ),
        encoding="utf-8",
    )
    users = folder / "users.txt"
    users.write_text(f'"{access.user}" "{password}"\n', encoding="utf-8")
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    if account:
        for path in (folder, settings, users):
            os.chown(path, owner.st_uid, owner.st_gid)
    with subprocess.Popen(
        [program, str(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account,  # type: ignore[call-overload]
    ) as process:
        try:
            wait_until(lambda: _answers(folder / f".s.PGSQL.{PORT}"), "PgBouncer listens")
            yield replace(access, host=str(folder), port=PORT)
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder)


def _answers(path: Path) -> bool:
    """Whether somebody listens there: the socket is there a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
