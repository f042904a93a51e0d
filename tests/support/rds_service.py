"""An RDS of our own on loopback: the query protocol, with states that take time, and faults on demand.

Time is a number that whoever waits moves on, so nothing here ever sleeps. Written after the service model of botocore.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore import xform_name

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
DROP = "drop the connection"
"""A fault: the request is carried out, and its reply is lost."""


class Fault(Exception):  # noqa: N818 - it is one of the service's, not ours
    """An error of the service."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


@dataclass
class Clock:
    """The time; sleeping moves it on. `at` says what happens at a moment."""

    seconds: float = 0.0
    at: dict[float, Callable[[], None]] = field(default_factory=dict)

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        for moment in sorted(moment for moment in self.at if moment <= self.seconds):
            self.at.pop(moment)()


@dataclass
class Instance:
    identifier: str
    resource_id: str
    status: str = "available"
    engine: str = "postgres"
    cluster: str = ""
    version: str = "16.4"
    address: str = ""
    ready_at: float = 0.0
    """Until then it is in its state; after that it is available."""


@dataclass
class Snapshot:
    identifier: str
    instance: str
    resource_id: str
    tags: dict[str, str]
    begun_at: float = 0.0
    takes_s: float = 100.0
    fails: bool = False
    kind: str = "manual"
    gib: int = 20
    key: str = "arn:key"
    account: int = 1

    def percent(self, now: float) -> int:
        return min(100, int(100 * (now - self.begun_at) / self.takes_s)) if self.takes_s else 100

    def status(self, now: float) -> str:
        if self.fails and self.percent(now) >= 50:
            return "failed"
        return "available" if self.percent(now) >= 100 else "creating"


@dataclass
class RdsFake:
    """The service's state. `faults` are used up by the next requests of an action, one each; None lets one through."""

    clock: Clock = field(default_factory=Clock)
    instances: dict[str, Instance] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    faults: dict[str, list[Fault | str | None]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    snapshot_takes_s: float = 100.0
    next_fails: bool = False
    quota: int = 100
    hidden_looks: int = 0
    """So many looks at a new snapshot do not show it yet."""
    metric: list[tuple[datetime, float]] = field(default_factory=list)
    page: int = 100
    address: str = ""

    def count(self, action: str) -> int:
        return sum(1 for name, _ in self.requests if name == action)

    def answer(self, action: str, asked: dict[str, str]) -> str:
        self.requests.append((action, asked))
        return str(getattr(self, f"_{xform_name(action)}")(asked))

    def _assume_role(self, _asked: dict[str, str]) -> str:
        ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            "<Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>t</SessionToken><Expiration>{ends}</Expiration></Credentials>"
        )

    def _describe_db_instances(self, asked: dict[str, str]) -> str:
        found = self._instance(asked["DBInstanceIdentifier"])
        cluster = f"<DBClusterIdentifier>{found.cluster}</DBClusterIdentifier>" if found.cluster else ""
        return (
            f"<DBInstances><DBInstance><DBInstanceIdentifier>{found.identifier}</DBInstanceIdentifier>{cluster}"
            f"<DBInstanceStatus>{self._status(found)}</DBInstanceStatus><Engine>{found.engine}</Engine>"
            f"<EngineVersion>{found.version}</EngineVersion><DbiResourceId>{found.resource_id}</DbiResourceId>"
            f"<Endpoint><Address>{found.address}</Address><Port>5432</Port></Endpoint>"
            "<AllocatedStorage>20</AllocatedStorage><MaxAllocatedStorage>100</MaxAllocatedStorage>"
            "<LatestRestorableTime>2026-03-01T02:55:00Z</LatestRestorableTime><MultiAZ>true</MultiAZ>"
            "<PendingModifiedValues><MasterUserPassword>hunter2</MasterUserPassword></PendingModifiedValues>"
            "<DBParameterGroups><DBParameterGroup><DBParameterGroupName>shop-pg16</DBParameterGroupName>"
            "<ParameterApplyStatus>in-sync</ParameterApplyStatus></DBParameterGroup></DBParameterGroups>"
            "</DBInstance></DBInstances>"
        )

    def _create_db_snapshot(self, asked: dict[str, str]) -> str:
        identifier = asked["DBSnapshotIdentifier"]
        found = self._instance(asked["DBInstanceIdentifier"])
        if identifier in self.snapshots:
            raise Fault("DBSnapshotAlreadyExists")
        if self._status(found) not in {"available", "storage-optimization"}:
            raise Fault("InvalidDBInstanceState")
        if len(self.snapshots) >= self.quota:
            raise Fault("SnapshotQuotaExceeded")
        numbers = range(1, 51)
        tags = {
            asked[f"Tags.Tag.{n}.Key"]: asked.get(f"Tags.Tag.{n}.Value", "")
            for n in numbers
            if f"Tags.Tag.{n}.Key" in asked
        }
        made = Snapshot(
            identifier=identifier,
            instance=found.identifier,
            resource_id=found.resource_id,
            tags=tags,
            begun_at=self.clock.seconds,
            takes_s=self.snapshot_takes_s,
            fails=self.next_fails,
        )
        self.next_fails = False
        self.snapshots[identifier] = made
        found.status, found.ready_at = "backing-up", self.clock.seconds + made.takes_s
        return self._xml(made)

    def _describe_db_snapshots(self, asked: dict[str, str]) -> str:
        if identifier := asked.get("DBSnapshotIdentifier"):
            if identifier in self.snapshots and self.hidden_looks:
                self.hidden_looks -= 1
                raise Fault("DBSnapshotNotFound", 404)
            if identifier not in self.snapshots:
                raise Fault("DBSnapshotNotFound", 404)
            return f"<DBSnapshots>{self._xml(self.snapshots[identifier])}</DBSnapshots>"
        instance, kind = asked.get("DBInstanceIdentifier"), asked.get("SnapshotType")
        fitting = [
            one for one in self.snapshots.values() if instance in {None, one.instance} and kind in {None, one.kind}
        ]
        begin = int(asked.get("Marker", "0"))
        end = begin + self.page
        marker = f"<Marker>{end}</Marker>" if end < len(fitting) else ""
        return f"{marker}<DBSnapshots>{''.join(map(self._xml, fitting[begin:end]))}</DBSnapshots>"

    def _delete_db_snapshot(self, asked: dict[str, str]) -> str:
        found = self.snapshots.pop(asked["DBSnapshotIdentifier"], None)
        if found is None:
            raise Fault("DBSnapshotNotFound", 404)
        return self._xml(found)

    def _describe_account_attributes(self, _asked: dict[str, str]) -> str:
        return (
            "<AccountQuotas><AccountQuota><AccountQuotaName>ManualSnapshots</AccountQuotaName>"
            f"<Used>{len(self.snapshots)}</Used><Max>{self.quota}</Max></AccountQuota></AccountQuotas>"
        )

    def _instance(self, identifier: str) -> Instance:
        if identifier not in self.instances:
            raise Fault("DBInstanceNotFound", 404)
        return self.instances[identifier]

    def _status(self, found: Instance) -> str:
        is_passing = found.status in {"backing-up", "modifying"}
        return "available" if is_passing and self.clock.seconds >= found.ready_at else found.status

    def _xml(self, one: Snapshot) -> str:
        now = self.clock.seconds
        tags = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in one.tags.items())
        created = (START + timedelta(seconds=one.begun_at)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"<DBSnapshot><DBSnapshotIdentifier>{one.identifier}</DBSnapshotIdentifier>"
            f"<DBSnapshotArn>arn:aws:rds:eu-central-1:{one.account}:snapshot:{one.identifier}</DBSnapshotArn>"
            f"<DBInstanceIdentifier>{one.instance}</DBInstanceIdentifier>"
            f"<DbiResourceId>{one.resource_id}</DbiResourceId><Status>{one.status(now)}</Status>"
            f"<PercentProgress>{one.percent(now)}</PercentProgress><SnapshotType>{one.kind}</SnapshotType>"
            f"<SnapshotCreateTime>{created}</SnapshotCreateTime><AllocatedStorage>{one.gib}</AllocatedStorage>"
            f"<EngineVersion>16.4</EngineVersion><Encrypted>true</Encrypted><KmsKeyId>{one.key}</KmsKeyId>"
            f"<TagList>{tags}</TagList></DBSnapshot>"
        )

    def statistics(self, asked: dict[str, Any]) -> dict[str, Any]:
        """CloudWatch's answer."""
        self.requests.append(("GetMetricStatistics", asked))
        points = [{"Timestamp": when.timestamp(), "Minimum": value, "Unit": "Bytes"} for when, value in self.metric]
        return {"Label": asked["MetricName"], "Datapoints": points}


Fake = TypeVar("Fake", bound=RdsFake)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: RdsFake) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: as two, the second waits 40 ms for the first to be acknowledged.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self.server.lock:
            if "X-Amz-Target" in self.headers:
                self._cloudwatch(body)
            else:
                self._query({key: values[0] for key, values in parse_qs(body.decode()).items()})

    def _fault(self, action: str) -> Fault | str | None:
        return (self.server.fake.faults.get(action) or [None]).pop(0)

    def _cloudwatch(self, body: bytes) -> None:
        fault = self._fault("GetMetricStatistics")
        if isinstance(fault, Fault):
            answer, status = {"__type": fault.code, "message": "no"}, fault.status
        else:
            answer, status = self.server.fake.statistics(json.loads(body)), 200
        self._send(status, json.dumps(answer).encode(), "application/x-amz-json-1.0")

    def _query(self, asked: dict[str, str]) -> None:
        action = asked["Action"]
        fault = self._fault(action)
        try:
            if isinstance(fault, Fault):
                self.server.fake.requests.append((action, asked))
                raise fault
            text = self.server.fake.answer(action, asked)
        except Fault as exc:
            text = f"<ErrorResponse><Error><Code>{exc.code}</Code><Message>no</Message></Error></ErrorResponse>"
            self._send(exc.status, text.encode(), "text/xml")
            return
        if fault == DROP:
            self.close_connection = True
            return
        text = f"<{action}Response><{action}Result>{text}</{action}Result></{action}Response>"
        self._send(200, text.encode(), "text/xml")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(fake: Fake) -> Iterator[Fake]:
    """A service on a port of its own, until the block ends."""
    server = _Server(fake)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    fake.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def rds_service() -> Iterator[RdsFake]:
    """Snapshots and free space."""
    with serve(RdsFake()) as fake:
        yield fake
