"""The name and the tags of a snapshot: the same purpose gives the same ones, so a retry finds its own. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from squizzle import __version__
from squizzle.backups.rds.records import SnapshotFacts, SnapshotPurpose

ID_TAG = "squizzle:id"
SOURCE_TAG = "squizzle:source"
_HASH_CHARACTERS = 16
# 63 is the longest name of an instance. Names are cut for people; the hash tells the snapshots apart. RDS allows 255.
_PART_CHARACTERS = 63
# Tagging of RDS resources: letters, digits, spaces and these, at most 256 of them.
_NOT_IN_TAGS = re.compile(r"[^\w .:/=+@-]", re.ASCII)
_TAG_CHARACTERS = 256


def snapshot_identifier(instance: str, resource_id: str, purpose: SnapshotPurpose) -> str:
    """The name: lower case, letters, digits and single hyphens, begins with a letter (CreateDBSnapshot).

    Args:
        instance: The instance's name.
        resource_id: Its `DbiResourceId`: another instance that took over the name has snapshots of its own.
        purpose: What it is for.
    """
    parts = ("squizzle", _part(instance), _part(purpose.migration_version or ""), _purpose_id(resource_id, purpose))
    return "-".join(part for part in parts if part)


def snapshot_tags(resource_id: str, purpose: SnapshotPurpose) -> Mapping[str, str]:
    """The tags. `squizzle:id` tells whose snapshot it is; the others are for people and for cost reports."""
    tags = {
        ID_TAG: _purpose_id(resource_id, purpose),
        SOURCE_TAG: resource_id,
        "squizzle:run": purpose.run_id,
        "squizzle:migration-version": purpose.migration_version or "",
        "squizzle:rollout": purpose.rollout_id or "",
        "squizzle:created-by": f"squizzle {__version__}",
    }
    return {name: _NOT_IN_TAGS.sub("_", value)[:_TAG_CHARACTERS] for name, value in tags.items() if value}


def is_ours(snapshot: SnapshotFacts) -> bool:
    """Whether Squizzle made it, for whatever purpose."""
    return bool(snapshot.tags.get(ID_TAG))


def is_for(snapshot: SnapshotFacts, resource_id: str, purpose: SnapshotPurpose) -> bool:
    """Whether it was made for this very purpose and of this very instance."""
    return snapshot.tags.get(ID_TAG) == _purpose_id(resource_id, purpose) and snapshot.resource_id in {"", resource_id}


def _purpose_id(resource_id: str, purpose: SnapshotPurpose) -> str:
    whole = json.dumps([resource_id, purpose.run_id, purpose.migration_version, purpose.rollout_id])
    return hashlib.sha256(whole.encode()).hexdigest()[:_HASH_CHARACTERS]


def _part(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_PART_CHARACTERS].strip("-")
