"""A Kubernetes API server of our own on loopback, as far as fences need one, with the real server's habits.

Written after a real one (1.20) and the API reference: a change that names an older `resourceVersion` is refused with 409,
and a controller's writing of the status makes it older; numbers that are 0 are left out of a status; the status lags
behind; a pod that is told to end is there until its grace period has passed, and counts in no status.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "Planted-token-5b1f"
NAMESPACE = "shop"
KINDS = {"deployments": "Deployment", "statefulsets": "StatefulSet"}
HANG = -1
"""A fault: the request is carried out, and nothing is answered."""


@dataclass
class Workload:
    """A Deployment or StatefulSet, its controller and its pods."""

    name: str
    replicas: int
    plural: str = "deployments"
    annotations: dict[str, str] = field(default_factory=dict)
    lag: int = 1
    """So many reads before its controller has seen a change."""
    grace: int = 2
    """So many lists of pods before a pod that was told to end has gone."""
    generation: int = 1
    observed: int = 1
    version: int = 100
    pods: list[str] = field(default_factory=list)
    ending: dict[str, int] = field(default_factory=dict)
    waiting: int = 0

    def __post_init__(self) -> None:
        self.pods = [f"{self.name}-{number}" for number in range(self.replicas)]

    def look(self) -> None:
        """Time passes: the controller does its work when it comes to it."""
        if self.observed == self.generation:
            return
        self.waiting += 1
        if self.waiting <= self.lag:
            return
        self.waiting = 0
        self.observed = self.generation
        self.version += 1
        while len(self.pods) > self.replicas:
            self.ending[self.pods.pop()] = self.grace
        self.pods += [f"{self.name}-{number}" for number in range(len(self.pods), self.replicas)]

    def running(self) -> list[str]:
        """The pods that are there, and one step further towards their end."""
        there = [*self.pods, *self.ending]
        self.ending = {name: left - 1 for name, left in self.ending.items() if left > 1}
        return there

    @property
    def document(self) -> dict[str, Any]:
        status: dict[str, Any] = {"observedGeneration": self.observed}
        if self.pods or self.plural == "statefulsets":  # of these alone the API never leaves it out
            status["replicas"] = len(self.pods)
        return {
            "apiVersion": "apps/v1",
            "kind": KINDS[self.plural],
            "metadata": {
                "name": self.name,
                "namespace": NAMESPACE,
                "resourceVersion": str(self.version),
                "generation": self.generation,
                **({"annotations": self.annotations} if self.annotations else {}),
            },
            "spec": {
                "replicas": self.replicas,
                "serviceName": "",
                "selector": {
                    "matchLabels": {"app": self.name},
                    "matchExpressions": [
                        {"key": "tier", "operator": "NotIn", "values": ["db", "cache"]},
                        {"key": "batch", "operator": "DoesNotExist"},
                    ],
                },
                "template": {"metadata": {"labels": {"app": self.name}}, "spec": {"containers": []}},
            },
            "status": status,
        }


@dataclass
class KubernetesApi:
    """The server's state. `faults` are used up by the next requests of a method, one each; None lets one through."""

    workloads: dict[str, Workload] = field(default_factory=dict)
    autoscalers: dict[str, tuple[str, int | None, int]] = field(default_factory=dict)
    """By name: the workload, minReplicas and maxReplicas."""
    forbidden: set[str] = field(default_factory=set)
    faults: dict[str, list[int | None]] = field(default_factory=dict)
    meddle: list[str] = field(default_factory=list)
    """Before so many changes somebody else changes the workload: the names of the annotations that it writes."""
    requests: list[str] = field(default_factory=list)
    hang_after: int = 0
    """Carry out this request, by its number from 1, and answer neither it nor what follows; 0 for none."""
    hanging: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    token: str = TOKEN
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kubeconfig(self) -> str:
        """A file as kubectl has it."""
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                "users": [{"name": "u", "user": {"token": self.token}}],
                "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "test",
            }
        )

    def workload(self, name: str, replicas: int, **given: Any) -> Workload:
        """Make one."""
        self.workloads[name] = made = Workload(name=name, replicas=replicas, **given)
        return made

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """One request: status and document."""
        url = urlsplit(path)
        *_, plural, name = url.path.split("/")
        if name in {"pods", "horizontalpodautoscalers"}:
            plural, name = name, ""
        self.requests.append(f"{method} {plural}")
        if plural in self.forbidden:
            return _refusal(403, f'{plural} is forbidden: User "u" cannot do that')
        fault = (self.faults.get(method) or [None]).pop(0)
        if fault and fault != HANG:
            return _refusal(fault, "planted")
        match plural:
            case "pods":
                answer = 200, self._pods(parse_qs(url.query)["labelSelector"][0])
            case "horizontalpodautoscalers":
                answer = 200, self._scalers()
            case _:
                answer = self._workload(method, plural, name, body)
        return (HANG, {}) if fault == HANG else answer

    def _workload(self, method: str, plural: str, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        found = self.workloads.get(name)
        if found is None or found.plural != plural:
            return _refusal(404, f'{plural}.apps "{name}" not found')
        refused = self._patch(found, body) if method == "PATCH" else found.look()
        return refused or (200, found.document)

    def _patch(self, found: Workload, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if self.meddle:
            found.annotations[self.meddle.pop(0)] = "somebody"
            found.version += 1
        changes = dict(body["metadata"])
        if changes.pop("resourceVersion", str(found.version)) != str(found.version):
            return _refusal(409, "the object has been modified; please apply your changes to the latest version")
        for name, value in changes.pop("annotations", {}).items():
            if value is None:
                found.annotations.pop(name, None)
            elif isinstance(value, str):
                found.annotations[name] = value
            else:
                return _refusal(400, "cannot unmarshal number into Go value of type string")
        replicas = body.get("spec", {}).get("replicas", found.replicas)
        if replicas != found.replicas:
            found.replicas = replicas
            found.generation += 1
            found.waiting = 0
        found.version += 1
        return None

    def _pods(self, selector: str) -> dict[str, Any]:
        names = [
            name
            for found in self.workloads.values()
            if selector == f"app={found.name},tier notin (db,cache),!batch"
            for name in found.running()
        ]
        # A job of the same labels that has come to its end disturbs nobody.
        phases = [*((name, "Running") for name in names), ("migrate-once", "Succeeded")]
        items = [{"metadata": {"name": name}, "status": {"phase": phase}} for name, phase in phases]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    def _scalers(self) -> dict[str, Any]:
        items = [
            {
                "metadata": {"name": name},
                "spec": {
                    "scaleTargetRef": {"kind": "Deployment", "name": workload, "apiVersion": "apps/v1"},
                    **({} if least is None else {"minReplicas": least}),
                    "maxReplicas": most,
                },
            }
            for name, (workload, least, most) in self.autoscalers.items()
        ]
        return {"kind": "HorizontalPodAutoscalerList", "apiVersion": "autoscaling/v2", "metadata": {}, "items": items}


def _refusal(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}


@contextlib.contextmanager
def kubernetes_api() -> Iterator[KubernetesApi]:
    """A server for the length of a block."""
    api = KubernetesApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait for each other for 40 ms

        def do_GET(self) -> None:
            self._handle({})

        def do_PATCH(self) -> None:
            assert self.headers["Content-Type"] == "application/merge-patch+json"
            self._handle(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _handle(self, body: dict[str, Any]) -> None:
            with api.guard:
                if self.headers.get("Authorization") != f"Bearer {api.token}":
                    status, document = _refusal(401, "Unauthorized")
                else:
                    status, document = api.answer(self.command, self.path, body)
            if api.hang_after and len(api.requests) >= api.hang_after:
                api.hanging.set()
                status = HANG
            if status == HANG:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    # Until the other side goes, or the server is told to end.
                    self.connection.recv(1)
                return
            payload = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        open_sockets: list[socket.socket] = []  # noqa: RUF012 - one server each

        def process_request(self, request: Any, client_address: Any) -> None:
            self.open_sockets.append(request)
            super().process_request(request, client_address)

    with Server(("127.0.0.1", 0), Handler) as server:
        api.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            for one in server.open_sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            thread.join()
