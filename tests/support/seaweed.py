"""SeaweedFS: a real S3 server, which checks signatures and checksums, for the tests of the store."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.support.processes import wait_until

ACCESS_KEY = "AKIDSQUIZZLETESTS"
SECRET_KEY = "a-secret-that-no-message-may-hold"
_ALLOWED = ["Admin", "Read", "Write", "List", "Tagging"]
_IDENTITY = {"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": _ALLOWED}
# Every server inside the one process wants a port of its own, and one for gRPC.
_SERVERS = ("master", "filer", "volume", "s3", "admin")


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """Run a server that keeps its data in a folder; gives the address of its S3 endpoint."""
    (folder / "data").mkdir()
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [_IDENTITY]}), encoding="utf-8")
    ports = _free_ports(2 * len(_SERVERS))
    options = [f"-{name}.port={ports[at]}" for at, name in enumerate(_SERVERS)]
    options += [f"-{name}.port.grpc={ports[at + len(_SERVERS)]}" for at, name in enumerate(_SERVERS)]
    options += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", f"-s3.config={config}"]
    options += ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    endpoint = f"http://127.0.0.1:{ports[_SERVERS.index('s3')]}"
    program = Path(sysconfig.get_path("scripts")) / "weed"
    with (folder / "log").open("wb") as log:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
        server = subprocess.Popen([program, "mini", *options], stdout=log, stderr=log, cwd=folder, env=environment)
        try:
            wait_until(lambda: server.poll() is not None or _answers(endpoint), "SeaweedFS answers", seconds=60)
            assert server.poll() is None, (folder / "log").read_text(errors="replace")[-2000:]
            yield endpoint
        finally:
            server.kill()  # its data is of no use to anybody
            server.wait()
            shutil.rmtree(folder / "data")


def _answers(endpoint: str) -> bool:
    try:
        urlopen(endpoint, timeout=1).close()  # noqa: S310 - our own loopback address
    except HTTPError as exc:
        exc.close()
        return exc.code == 403  # who are you? Only the finished server asks.
    except (URLError, OSError):
        return False
    return True


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
