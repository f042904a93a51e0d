"""What the sandbox consists of, and the order it is started and stopped in."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from sandbox.fleet import CONSOLE_VARIABLE, FleetFolder, make_shops
from sandbox.one_root import VARIABLE, one_root
from sandbox.processes import Records, environment_without, wait_until
from squizzle.errors import ToolError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import Cluster, ClusterStatus, ServerAddress, drill_settings, find_runtime
from squizzle.postgres.embedded.base_folder import safe_base

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".squizzle" / "sandbox"
POOL = "squizzle"
# An empty database to try migrations on.
PLAYGROUND = "playground"
# Tells `sandbox.register`, which runs as a process of its own, which sandbox it is for.
STATE_VARIABLE = "SQUIZZLE_SANDBOX"
# Prefect's usual port; any free one when it is taken.
_PORT = 4200
# The console of messages; any free port when this one is taken.
_CONSOLE_PORT = 4210
_SERVER, _WORKER, _CONSOLE, _LOAD = "prefect-server", "prefect-worker", "console", "load"
_MESSAGES = "messages.jsonl"
# The first start makes Prefect's tables: 9 to 15 s here, a slow laptop needs longer.
_SERVER_PATIENCE_S = 180.0
_WORKER_PATIENCE_S = 60.0
_CONSOLE_PATIENCE_S = 60.0


class Stack:
    """The sandbox of this checkout; two checkouts do not disturb each other.

    PostgreSQL runs twice: `target` is what Squizzle works on, `cockpit` is where Prefect keeps its runs. The cockpit
    must not be in the cluster that is being recovered.

    Args:
        state: Where logs, process records and Prefect's files go.
    """

    def __init__(self, state: Path = STATE) -> None:
        self.records = Records(state)
        self.state = state
        self._suffix = hashlib.sha256(str(state).encode()).hexdigest()[:8]

    def up(self, tell: Callable[[str], None]) -> str:
        """Start what does not run yet; returns the UI's address. Safe to repeat.

        Raises:
            ToolError: A part does not start; the message has the end of its log.
        """
        target = self._start_cluster("target", tell)
        _make_database(target, PLAYGROUND)
        cockpit = self._start_cluster("cockpit", tell)
        _make_database(cockpit, "prefect")
        console = self._start_console(tell)
        address = self._begin_server(cockpit, tell)
        tell("making forty shops, and their application")
        make_shops(target)
        self._wait(_SERVER, lambda: _answers(f"{address}/api/health"), _SERVER_PATIENCE_S)
        environment = self._client_environment(address) | {CONSOLE_VARIABLE: console}
        names = ("PREFECT_API_URL", "PREFECT_HOME", VARIABLE, CONSOLE_VARIABLE)
        self.shops.write(target, {name: environment[name] for name in names})
        self._start_load(target, environment)
        tell("registering blocks, creating the work pool, deploying")
        _run([sys.executable, "-m", "sandbox.register"], environment | {STATE_VARIABLE: str(self.state)})
        self._start_worker(environment, tell)
        return address

    def playground_url(self) -> str:
        """A connection string for the playground; the password stays in its file."""
        target = self.target()
        return f"postgresql://{target.user}@{target.host}:{target.port}/{PLAYGROUND}?passfile={target.password_file}"

    @property
    def shops(self) -> FleetFolder:
        """The folder of the fleet of shops."""
        return FleetFolder(path=self.state / "shops")

    def console(self) -> str:
        """The address of the page with messages; it must have been started once."""
        return f"http://127.0.0.1:{(self.state / 'console-port').read_text(encoding='utf-8')}/"

    def target(self) -> ServerAddress:
        """The server that Squizzle works on; it must be running."""
        return self._cluster("target").address()

    def down(self) -> tuple[str, ...]:
        """Stop what `up` started, the last first; returns the names. Data stays for the next `up`."""
        stopped = [name for name in (_LOAD, _WORKER, _SERVER, _CONSOLE) if self.records.stop(name)]
        for name in ("cockpit", "target"):
            cluster = self._cluster(name)
            if cluster.status() is ClusterStatus.RUNNING:
                cluster.stop()
                stopped.append(f"PostgreSQL ({name})")
        return tuple(stopped)

    def remove_data(self) -> None:
        """Remove both servers' data, the shops' folder, the messages; `down` first. Logs and reports stay."""
        (self.state / _MESSAGES).unlink(missing_ok=True)
        shutil.rmtree(self.shops.path, ignore_errors=True)
        for name in ("cockpit", "target"):
            self._cluster(name).destroy()

    def status(self) -> dict[str, str]:
        """What runs."""
        states = {name: self._cluster(name).status().value for name in ("target", "cockpit")}
        for name in (_SERVER, _WORKER, _CONSOLE, _LOAD):
            daemon = self.records.running(name)
            states[name] = f"running, process {daemon.pid}" if daemon else "stopped"
        return states

    def _cluster(self, name: str) -> Cluster:
        return Cluster(find_runtime(), f"sandbox-{name}-{self._suffix}")

    def _start_cluster(self, name: str, tell: Callable[[str], None]) -> ServerAddress:
        cluster = self._cluster(name)
        if cluster.status() is ClusterStatus.RUNNING:
            return cluster.address()
        tell(f"starting PostgreSQL ({name})")
        if cluster.status() is not ClusterStatus.STOPPED:
            cluster.create(drill_settings(find_runtime().major))
        return cluster.start(guarded=False)

    def _begin_server(self, cockpit: ServerAddress, tell: Callable[[str], None]) -> str:
        port_file = self.state / "port"
        if self.records.running(_SERVER) is not None:
            return f"http://127.0.0.1:{port_file.read_text(encoding='utf-8')}"
        tell("starting Prefect's server")
        port = _free_port(int(os.environ.get("SQUIZZLE_PREFECT_PORT") or _PORT))
        port_file.write_text(str(port), encoding="utf-8")
        address = f"http://127.0.0.1:{port}"
        command = [_program("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        self.records.start(_SERVER, command, environment=self._server_environment(cockpit, address), cwd=ROOT)
        return address

    def _start_console(self, tell: Callable[[str], None]) -> str:
        if self.records.running(_CONSOLE) is not None:
            return self.console()
        tell("starting the console of messages")
        self.state.mkdir(parents=True, exist_ok=True)
        port = _free_port(_CONSOLE_PORT)
        (self.state / "console-port").write_text(str(port), encoding="utf-8")
        command = [sys.executable, "-m", "sandbox.console", str(port), str(self.state / _MESSAGES)]
        self.records.start(_CONSOLE, command, environment=environment_without("PREFECT_"), cwd=ROOT)
        self._wait(_CONSOLE, lambda: _answers(self.console()), _CONSOLE_PATIENCE_S)
        return self.console()

    def _start_load(self, target: ServerAddress, environment: dict[str, str]) -> None:
        if self.records.running(_LOAD) is None:
            command = [sys.executable, "-m", "sandbox.load", str(target.socket_folder), str(target.port), target.user]
            self.records.start(_LOAD, command, environment=environment, cwd=ROOT)

    def _start_worker(self, environment: dict[str, str], tell: Callable[[str], None]) -> None:
        if self.records.running(_WORKER) is not None:
            return
        tell("starting a worker")
        log = self.records.log_file(_WORKER)
        log.unlink(missing_ok=True)
        command = [_program("prefect"), "worker", "start", "--pool", POOL, "--type", "process", "--name", "sandbox"]
        self.records.start(_WORKER, command, environment=environment | _room_for_runs(), cwd=ROOT)
        self._wait(_WORKER, lambda: "started!" in log.read_text(encoding="utf-8"), _WORKER_PATIENCE_S)

    def _wait(self, name: str, is_ready: Callable[[], bool], seconds: float) -> None:
        def check() -> bool:
            if self.records.running(name) is None:
                raise ToolError(f"{name} ended: {self.records.log_tail(name)}", hint="run make down, then make up")
            return is_ready()

        wait_until(check, what=name, seconds=seconds)

    def _server_environment(self, cockpit: ServerAddress, address: str) -> dict[str, str]:
        return self._client_environment(address) | {
            # Through the private socket, which asks for no password: none in any environment or file.
            "PREFECT_API_DATABASE_CONNECTION_URL": (
                f"postgresql+asyncpg://{cockpit.user}@/prefect?host={cockpit.socket_folder}&port={cockpit.port}"
            ),
            # A restart of the server would otherwise cancel who holds a limit, and leak the slot.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            # Whoever sets a schedule going wants to see its runs; Prefect would look once a minute.
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            # A third of the CPU time per task run, and no lag (measured).
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        }

    def _client_environment(self, address: str) -> dict[str, str]:
        return environment_without("PREFECT_") | {
            "PREFECT_API_URL": f"{address}/api",
            "PREFECT_HOME": str(self.state / "prefect"),
            VARIABLE: one_root(self.state),
            # Whoever presses Run wants to see it run; Prefect's worker would look every ten seconds.
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def is_somebody_elses(folder: Path, *, uid: int) -> bool:
    """Whether a folder is there that belongs to another account, so that this one may not write to it."""
    return folder.exists() and folder.stat().st_uid != uid


def _room_for_runs() -> dict[str, str]:
    """Prefect's runner has one folder in the temp folder, which belongs to the account that came first."""
    temporary = Path(tempfile.gettempdir())
    if not is_somebody_elses(temporary / "runner_storage", uid=os.geteuid()):
        return {}
    return {"TMPDIR": str(safe_base(temporary / f"squizzle-runner-{os.geteuid()}"))}


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        name = Path(command[0]).name
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ToolError(
            f"{name} {' '.join(command[1:])} ended with exit code {done.returncode}: {tail}",
            command=name,
            exit_code=done.returncode,
            hint="mend what it complains about, then run make up again",
        )


def _make_database(address: ServerAddress, name: str) -> None:
    access = ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user)
    with connect(access, "postgres", purpose="sandbox") as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())


def _free_port(usual: int) -> int:
    for wanted in (usual, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise ToolError("no free port on 127.0.0.1", hint="end something that listens")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - an address of ours
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
