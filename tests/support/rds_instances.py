"""Instances of RDS that are restored, changed, rebooted and renamed: each takes its time, and comes up with defaults.

Requests are read and answers are written by botocore's own model of the service, so nothing can be misspelt alike in
the fake and in the code. Nothing here deletes an instance: a request to do so is an error of the test.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import ListShape, Shape, StructureShape

from tests.support.rds_service import START, Fault, RdsFake, serve

MODEL = botocore.session.Session().get_service_model("rds")
# What an instance comes up with when nobody says otherwise.
DEFAULTS: dict[str, Any] = {
    "DBInstanceClass": "db.t3.micro",
    "Engine": "postgres",
    "EngineVersion": "16.4",
    "MasterUsername": "postgres",
    "AllocatedStorage": 20,
    "StorageType": "gp2",
    "MultiAZ": False,
    "PubliclyAccessible": True,
    "AutoMinorVersionUpgrade": True,
    "CopyTagsToSnapshot": False,
    "DeletionProtection": False,
    "IAMDatabaseAuthenticationEnabled": False,
    "BackupRetentionPeriod": 1,
    "PreferredBackupWindow": "05:00-05:30",
    "PreferredMaintenanceWindow": "sun:06:00-sun:06:30",
    "MonitoringInterval": 0,
    "PerformanceInsightsEnabled": False,
    "NetworkType": "IPV4",
    "CACertificateIdentifier": "rds-ca-rsa2048-g1",
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-default", "Status": "active"}],
    "DBParameterGroups": [{"DBParameterGroupName": "default.postgres16", "ParameterApplyStatus": "in-sync"}],
    "OptionGroupMemberships": [{"OptionGroupName": "default:postgres-16", "Status": "in-sync"}],
    "DBSubnetGroup": {"DBSubnetGroupName": "default"},
}
# Arguments that are called otherwise than what RDS says afterwards.
_SET: dict[str, Callable[[Any], dict[str, Any]]] = {
    "DBPortNumber": lambda value: {"Port": value},
    "DBSubnetGroupName": lambda value: {"DBSubnetGroup": {"DBSubnetGroupName": value}},
    "VpcSecurityGroupIds": lambda value: {"VpcSecurityGroups": [{"VpcSecurityGroupId": one} for one in value]},
    "DBParameterGroupName": lambda value: {
        "DBParameterGroups": [{"DBParameterGroupName": value, "ParameterApplyStatus": "in-sync"}]
    },
    "OptionGroupName": lambda value: {"OptionGroupMemberships": [{"OptionGroupName": value}]},
    "EnableIAMDatabaseAuthentication": lambda value: {"IAMDatabaseAuthenticationEnabled": value},
    "EnableCloudwatchLogsExports": lambda value: {"EnabledCloudwatchLogsExports": value},
    "EnablePerformanceInsights": lambda value: {"PerformanceInsightsEnabled": value},
    "Tags": lambda value: {"TagList": value},
}
_NO_SETTINGS = frozenset(
    {
        "DBInstanceIdentifier",
        "DBSnapshotIdentifier",
        "SourceDBInstanceIdentifier",
        "TargetDBInstanceIdentifier",
        "RestoreTime",
        "ApplyImmediately",
        "NewDBInstanceIdentifier",
    }
)


@dataclass
class InstancesFake(RdsFake):
    """The service's state; `documents` are the instances by name."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    takes_s: float = 100.0
    """So long a restore, a change, a reboot and a rename take each."""
    unnoticed_s: float = 20.0
    """So long after a request RDS goes on to say that the instance is available."""
    pending_s: float = 0.0
    """So long a change is still said to be pending though it shows."""
    lingers_s: float = 60.0
    """So long an instance still answers to its old name."""
    ignores: frozenset[str] = frozenset()
    """Arguments that are accepted and forgotten."""
    restore_fails: bool = False
    hosts: dict[str, str] = field(default_factory=dict)
    """Where an instance is reached that has a server behind it, by its id."""
    made: int = 0
    due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def answer(self, action: str, asked: dict[str, str]) -> str:
        while over := [one for one in self.due if one[0] <= self.clock.seconds]:
            event = min(over, key=lambda one: one[0])
            self.due.remove(event)
            event[1]()
        return super().answer(action, asked)

    def put(self, name: str, **facts: Any) -> dict[str, Any]:
        """An instance that is available."""
        self.made += 1
        document = {
            **DEFAULTS,
            "DBInstanceIdentifier": name,
            "DbiResourceId": f"db-{self.made}",
            "DBInstanceStatus": "available",
            "InstanceCreateTime": START - timedelta(days=30),
            "Port": 5432,
            **facts,
        }
        self.documents[name] = document
        return document

    def later(self, seconds: float, event: Callable[[], None]) -> None:
        self.due.append((self.clock.seconds + seconds, event))

    def _describe_db_instances(self, asked: dict[str, str]) -> str:
        found = self._document(asked["DBInstanceIdentifier"])
        address = self.hosts.get(found["DbiResourceId"], f"{found['DBInstanceIdentifier']}.c0ffee.rds.amazonaws.com")
        endpoint = {"Address": address, "Port": found["Port"]}
        latest = self.clock.now() - timedelta(minutes=5)
        answer = {**found, "Endpoint": endpoint, "LatestRestorableTime": latest}
        if not found["BackupRetentionPeriod"]:
            del answer["LatestRestorableTime"]
        return to_xml(MODEL.shape_for("DBInstanceList"), [answer], "DBInstances")

    def _restore_db_instance_from_db_snapshot(self, asked: dict[str, str]) -> str:
        arguments = from_query("RestoreDBInstanceFromDBSnapshot", asked)
        name = arguments["DBSnapshotIdentifier"].rpartition(":")[2]
        if name not in self.snapshots:
            raise Fault("DBSnapshotNotFound", 404)
        return self._restore(arguments["DBInstanceIdentifier"], arguments)

    def _restore_db_instance_to_point_in_time(self, asked: dict[str, str]) -> str:
        arguments = from_query("RestoreDBInstanceToPointInTime", asked)
        self._document(arguments["SourceDBInstanceIdentifier"])
        return self._restore(arguments["TargetDBInstanceIdentifier"], arguments)

    def _restore(self, name: str, arguments: Mapping[str, Any]) -> str:
        if name in self.documents:
            raise Fault("DBInstanceAlreadyExists")
        if "Iops" in arguments and arguments.get("StorageType") == "gp2":
            raise Fault("InvalidParameterCombination")
        document = self.put(name, DBInstanceStatus="creating", InstanceCreateTime=self.clock.now())
        document.update(self._settings(arguments))
        after = "incompatible-restore" if self.restore_fails else "available"
        self.later(self.takes_s, lambda: document.update(DBInstanceStatus=after))
        return ""

    def _modify_db_instance(self, asked: dict[str, str]) -> str:
        arguments = from_query("ModifyDBInstance", asked)
        document = self._available(arguments["DBInstanceIdentifier"])
        if new := arguments.get("NewDBInstanceIdentifier"):
            self._rename(document, new)
            return ""
        document["PendingModifiedValues"] = {"AllocatedStorage": 21}

        def apply() -> None:
            document.update(self._settings(arguments), DBInstanceStatus="available")
            self.later(self.pending_s, lambda: document.update(PendingModifiedValues={}))
            if "DBParameterGroupName" in arguments:
                document["DBParameterGroups"][0]["ParameterApplyStatus"] = "pending-reboot"

        self.later(self.unnoticed_s, lambda: document.update(DBInstanceStatus="modifying"))
        self.later(self.unnoticed_s + self.takes_s, apply)
        return ""

    def _reboot_db_instance(self, asked: dict[str, str]) -> str:
        document = self._available(asked["DBInstanceIdentifier"])

        def apply() -> None:
            document["DBParameterGroups"][0]["ParameterApplyStatus"] = "in-sync"
            document["DBInstanceStatus"] = "available"

        self.later(self.unnoticed_s, lambda: document.update(DBInstanceStatus="rebooting"))
        self.later(self.unnoticed_s + self.takes_s, apply)
        return ""

    def _rename(self, document: dict[str, Any], new: str) -> None:
        if new in self.documents:
            raise Fault("DBInstanceAlreadyExists")
        old = document["DBInstanceIdentifier"]
        self.documents[new] = {**document, "DBInstanceStatus": "renaming"}  # taken from now on, and not shown yet
        self.documents[new]["hidden"] = True

        def shown() -> None:
            document.update(DBInstanceIdentifier=new, DBInstanceStatus="available")
            self.documents[new] = document
            self.later(self.lingers_s, lambda: self._forget(old, document))

        self.later(self.unnoticed_s, lambda: document.update(DBInstanceStatus="renaming"))
        self.later(self.unnoticed_s + self.takes_s, shown)

    def _forget(self, name: str, document: dict[str, Any]) -> None:
        if self.documents.get(name) is document:
            del self.documents[name]

    def _settings(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in arguments.items():
            if name not in _NO_SETTINGS | self.ignores:
                found.update(_SET[name](value) if name in _SET else {name: value})
        return found

    def _document(self, name: str) -> dict[str, Any]:
        if name not in self.documents or self.documents[name].get("hidden"):
            raise Fault("DBInstanceNotFound", 404)
        return self.documents[name]

    def _available(self, name: str) -> dict[str, Any]:
        found = self._document(name)
        if found["DBInstanceStatus"] != "available":
            raise Fault("InvalidDBInstanceState")
        return found


@contextlib.contextmanager
def rds_instances() -> Iterator[InstancesFake]:
    """The service on a port of its own, until the block ends."""
    with serve(InstancesFake()) as fake:
        yield fake


def to_xml(shape: Shape, value: Any, name: str) -> str:
    """An answer as the query protocol writes it."""
    if isinstance(shape, StructureShape):
        members = ((key, one) for key, one in shape.members.items() if value.get(key) is not None)
        text = "".join(to_xml(one, value[key], one.serialization.get("name", key)) for key, one in members)
    elif isinstance(shape, ListShape):
        inner = shape.member.serialization.get("name", "member")
        text = "".join(to_xml(shape.member, one, inner) for one in value)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, datetime):
        text = value.isoformat()
    else:
        text = escape(str(value))
    return f"<{name}>{text}</{name}>"


def from_query(operation: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a request."""
    shape = MODEL.operation_model(operation).input_shape
    assert isinstance(shape, StructureShape)
    found = _read(shape, asked, "")
    assert isinstance(found, dict)
    return found


def _read(shape: Shape, asked: Mapping[str, str], prefix: str) -> Any:
    if isinstance(shape, StructureShape):
        return {
            name: _read(one, asked, f"{prefix}.{name}" if prefix else name)
            for name, one in shape.members.items()
            if any(key == _at(prefix, name) or key.startswith(f"{_at(prefix, name)}.") for key in asked)
        }
    if isinstance(shape, ListShape):
        inner = f"{prefix}.{shape.member.serialization.get('name', 'member')}"
        count = len({key.removeprefix(f"{inner}.").split(".")[0] for key in asked if key.startswith(f"{inner}.")})
        return [_read(shape.member, asked, f"{inner}.{number}") for number in range(1, count + 1)]
    text = asked[prefix]
    if shape.type_name == "boolean":
        return text == "true"
    return int(text) if shape.type_name in {"integer", "long"} else text


def _at(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
