"""What an instance is set to, what a restore has to be told of it, and what it did not take over. Pure.

A restored instance comes up with defaults for whatever it is not told: one zone, the default groups, no protection
(Amazon RDS User Guide, "Restoring to a DB instance"). So every setting is passed that the restore takes, the rest is
changed afterwards, and the result is compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from squizzle.errors import BackupDamagedError

Document = Mapping[str, Any]
"""What RDS says about an instance (Amazon RDS API Reference, DBInstance)."""

_PROVISIONED = frozenset({"io1", "io2"})
# gp3 takes numbers of its own only from this size on, with PostgreSQL (User Guide, "gp3 storage").
_GP3_TAKES_NUMBERS_GIB = 400
# Set by AWS itself; nobody else may.
_TAGS_OF_AWS = "aws:"
_TAGS_OF_OURS = "squizzle:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting of an instance.

    Attributes:
        name: For a person.
        read: Its value, out of what RDS says; None where it is not set.
        restore: The argument of a restore from a snapshot; empty when it takes none.
        in_time: The same of a restore to a point in time.
        modify: The argument that changes it afterwards; empty when nothing does.
    """

    name: str
    read: Callable[[Document], Any]
    restore: str = ""
    in_time: str = ""
    modify: str = ""


def _plain(name: str, *, restore: bool = True, in_time: bool = True, modify: bool = True, to: str = "") -> Setting:
    argument = to or name
    return Setting(
        name=name,
        read=lambda found: found.get(name),
        restore=argument if restore else "",
        in_time=argument if in_time else "",
        modify=argument if modify else "",
    )


def _first(found: Document, list_name: str, name: str) -> Any:
    return next((one.get(name) for one in found.get(list_name, ())), None)


def _numbers_of_storage(found: Document, name: str) -> Any:
    """IOPS or throughput, where they are not the type's own and may be said."""
    kind = found.get("StorageType")
    is_large = int(found.get("AllocatedStorage", 0)) >= _GP3_TAKES_NUMBERS_GIB
    is_said = (kind in _PROVISIONED and name == "Iops") or (kind == "gp3" and is_large)
    return found.get(name) if is_said else None


SETTINGS: tuple[Setting, ...] = (
    _plain("DBInstanceClass"),
    Setting(
        name="Port",
        read=lambda found: found.get("Endpoint", {}).get("Port") or found.get("DbInstancePort") or None,
        restore="Port",
        in_time="Port",
        modify="DBPortNumber",
    ),
    Setting(
        name="DBSubnetGroup",
        read=lambda found: (found.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
        restore="DBSubnetGroupName",
        in_time="DBSubnetGroupName",
    ),
    Setting(
        name="VpcSecurityGroups",
        read=lambda found: sorted(one["VpcSecurityGroupId"] for one in found.get("VpcSecurityGroups", ())) or None,
        restore="VpcSecurityGroupIds",
        in_time="VpcSecurityGroupIds",
        modify="VpcSecurityGroupIds",
    ),
    Setting(
        name="DBParameterGroup",
        read=lambda found: _first(found, "DBParameterGroups", "DBParameterGroupName"),
        restore="DBParameterGroupName",
        in_time="DBParameterGroupName",
        modify="DBParameterGroupName",
    ),
    Setting(
        name="OptionGroup",
        read=lambda found: _first(found, "OptionGroupMemberships", "OptionGroupName"),
        restore="OptionGroupName",
        in_time="OptionGroupName",
        modify="OptionGroupName",
    ),
    _plain("MultiAZ"),
    _plain("PubliclyAccessible"),
    _plain("AutoMinorVersionUpgrade"),
    _plain("StorageType"),
    # A disk of a restored instance can be larger than the snapshot's, never smaller, and never shrinks again.
    _plain("AllocatedStorage", modify=False),
    Setting(
        name="Iops",
        read=lambda found: _numbers_of_storage(found, "Iops"),
        restore="Iops",
        in_time="Iops",
        modify="Iops",
    ),
    Setting(
        name="StorageThroughput",
        read=lambda found: _numbers_of_storage(found, "StorageThroughput"),
        restore="StorageThroughput",
        in_time="StorageThroughput",
        modify="StorageThroughput",
    ),
    _plain("MaxAllocatedStorage", restore=False),
    _plain("DedicatedLogVolume"),
    _plain("CopyTagsToSnapshot"),
    _plain("DeletionProtection"),
    Setting(
        name="IAMDatabaseAuthentication",
        read=lambda found: found.get("IAMDatabaseAuthenticationEnabled"),
        restore="EnableIAMDatabaseAuthentication",
        in_time="EnableIAMDatabaseAuthentication",
        modify="EnableIAMDatabaseAuthentication",
    ),
    Setting(
        name="EnabledCloudwatchLogsExports",
        read=lambda found: sorted(found.get("EnabledCloudwatchLogsExports", ())) or None,
        restore="EnableCloudwatchLogsExports",
        in_time="EnableCloudwatchLogsExports",
    ),
    Setting(
        name="ProcessorFeatures",
        read=lambda found: sorted(found.get("ProcessorFeatures", ()), key=lambda one: one["Name"]) or None,
        restore="ProcessorFeatures",
        in_time="ProcessorFeatures",
        modify="ProcessorFeatures",
    ),
    _plain("NetworkType"),
    _plain("CACertificateIdentifier"),
    _plain("EngineLifecycleSupport", modify=False),
    _plain("BackupRetentionPeriod"),
    _plain("PreferredBackupWindow"),
    _plain("PreferredMaintenanceWindow", restore=False, in_time=False),
    _plain("MonitoringInterval", restore=False, in_time=False),
    _plain("MonitoringRoleArn", restore=False, in_time=False),
    _plain("PerformanceInsightsEnabled", restore=False, in_time=False, to="EnablePerformanceInsights"),
    _plain("PerformanceInsightsKMSKeyId", restore=False, in_time=False),
    _plain("PerformanceInsightsRetentionPeriod", restore=False, in_time=False),
    Setting(
        name="Tags",
        read=lambda found: _tags(found) or None,
        restore="Tags",
        in_time="Tags",
    ),
    Setting(name="KmsKeyId", read=lambda found: found.get("KmsKeyId")),
    Setting(name="Engine", read=lambda found: found.get("Engine")),
    Setting(name="EngineVersion", read=lambda found: found.get("EngineVersion")),
    Setting(name="MasterUsername", read=lambda found: found.get("MasterUsername")),
)
"""Everything that is compared. What is not: names, times, states, and the zone, which RDS chooses."""


def read_document(text: str, *, source: str) -> Document:
    """What RDS said about an instance, out of a backup's `instance.json`.

    Raises:
        BackupDamagedError: It is no such file.
    """
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not document.get("DBInstanceIdentifier"):
        raise BackupDamagedError(f"{source} does not say what the instance was set to", hint="use another backup")
    return document


def restore_arguments(wanted: Document, *, in_time: bool, tags: Mapping[str, str]) -> dict[str, Any]:
    """What a restore is told.

    Args:
        wanted: The instance as it was.
        in_time: Whether to a point in time; else from a snapshot.
        tags: Further ones, which say whose the new instance is.
    """
    arguments: dict[str, Any] = {}
    for setting in SETTINGS:
        argument = setting.in_time if in_time else setting.restore
        value = setting.read(wanted)
        if argument and value is not None and not _is_default_group(value):
            arguments[argument] = value
    arguments["Tags"] = [{"Key": key, "Value": value} for key, value in {**_tags(wanted), **tags}.items()]
    return arguments


def modify_arguments(wanted: Document, found: Document) -> dict[str, Any]:
    """What has to be changed after a restore, as far as anything can be; empty when nothing."""
    arguments: dict[str, Any] = {}
    for setting in _differing(wanted, found):
        value = setting.read(wanted)
        if setting.modify and value is not None:
            arguments[setting.modify] = value
    if arguments.get("MonitoringInterval") and wanted.get("MonitoringRoleArn"):
        arguments["MonitoringRoleArn"] = wanted["MonitoringRoleArn"]  # one is refused without the other
    return arguments


def differences(wanted: Document, found: Document) -> tuple[str, ...]:
    """In which settings an instance is not as it should be, one sentence each; empty when in none."""
    return tuple(
        f"{setting.name}: {_words(setting.read(found))}, expected {_words(setting.read(wanted))}"
        for setting in _differing(wanted, found)
    )


def not_carried(wanted: Document) -> tuple[str, ...]:
    """What belongs to an instance and comes along with no restore, for whoever goes on by hand."""
    found = ["alarms of CloudWatch, and targets of proxies, that name the instance: they follow its name, if anything"]
    if wanted.get("AssociatedRoles"):
        roles = ", ".join(str(one.get("RoleArn", "")) for one in wanted["AssociatedRoles"])
        found.append(f"roles of the instance (`aws rds add-role-to-db-instance`): {roles}")
    if wanted.get("ReadReplicaDBInstanceIdentifiers"):
        replicas = ", ".join(wanted["ReadReplicaDBInstanceIdentifiers"])
        found.append(f"read replicas, which stay with the old instance: {replicas}")
    if wanted.get("MasterUserSecret"):
        found.append("the master password in Secrets Manager (`--manage-master-user-password`)")
    if wanted.get("DomainMemberships"):
        found.append("the membership in a directory")
    return tuple(found)


def _differing(wanted: Document, found: Document) -> Iterable[Setting]:
    for setting in SETTINGS:
        if setting.name == "Tags":
            there = _tags(found)
            if any(there.get(key) != value for key, value in _tags(wanted).items()):
                yield setting
        elif setting.read(wanted) != setting.read(found):
            yield setting


def _tags(found: Document) -> dict[str, str]:
    """The tags that people set."""
    pairs = ((one["Key"], one.get("Value", "")) for one in found.get("TagList", ()))
    return {key: value for key, value in pairs if not key.startswith((_TAGS_OF_AWS, _TAGS_OF_OURS))}


def _is_default_group(value: Any) -> bool:
    """Groups that RDS makes itself come by themselves, and not every one of them may be named."""
    return isinstance(value, str) and value.startswith(("default:", "default."))


def _words(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str).strip('"')
