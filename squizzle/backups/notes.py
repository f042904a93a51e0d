"""Proofs and holds beside the manifests: written by whoever looked, read by whoever decides.

Each is a small sealed JSON document of its own, so two writers never meet, and a damaged one is noticed and concerns
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from squizzle.backups.proofs import Hold, Proof, ProofKind, Verdict
from squizzle.backups.sealed import open_sealed, seal
from squizzle.backups.store import BackupStore, notes_of
from squizzle.errors import BackupDamagedError, InvalidInputError

_PROOF = "proof-"
_HOLD = "hold-"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LONGEST_NAME = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Notes:
    """Everything that is known of one backup beside its manifest.

    Attributes:
        proofs: Newest first.
        holds: By name.
        damaged: Notes that cannot be read, one sentence each.
    """

    proofs: tuple[Proof, ...] = ()
    holds: tuple[Hold, ...] = ()
    damaged: tuple[str, ...] = ()

    def last(self, kind: ProofKind) -> Proof | None:
        """The newest proof of a kind."""
        return next((proof for proof in self.proofs if proof.kind is kind), None)


def read_notes(store: BackupStore, backup_id: str) -> Notes:
    """What is known of a backup. A damaged note is named in the result; it makes the backup no worse."""
    return notes_in(store.texts(notes_of(backup_id)), backup_id)


def notes_in(texts: Mapping[str, str], backup_id: str) -> Notes:
    """The same of texts that were read, by name."""
    proofs: list[Proof] = []
    holds: list[Hold] = []
    damaged: list[str] = []
    for name, text in texts.items():
        source = f"{notes_of(backup_id)}/{name}"
        try:
            document = open_sealed(text, source)
            if name.startswith(_PROOF):
                proofs.append(_proof(document, backup_id))
            elif name.startswith(_HOLD):
                holds.append(_hold(document, backup_id))
        except BackupDamagedError as exc:
            damaged.append(exc.message)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            damaged.append(f"{source} is no note of ours: {type(exc).__name__}")
    return Notes(
        proofs=tuple(sorted(proofs, key=lambda proof: proof.at, reverse=True)),
        holds=tuple(sorted(holds, key=lambda hold: hold.name)),
        damaged=tuple(damaged),
    )


def write_proof(store: BackupStore, proof: Proof) -> None:
    """Put a proof beside its backup; none is ever replaced.

    Raises:
        ToolError: The store cannot be written.
    """
    document = {
        "backup_id": proof.backup_id,
        "kind": proof.kind.value,
        "verdict": proof.verdict.value,
        "at": proof.at.isoformat(),
        "duration_ms": round(proof.duration.total_seconds() * 1000),
        "by": proof.by,
        "sentences": list(proof.sentences),
        "details": dict(proof.details),
    }
    name = f"{_PROOF}{proof.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{proof.kind.value}.json"
    store.put_text(f"{notes_of(proof.backup_id)}/{name}", seal(document))


def write_hold(store: BackupStore, hold: Hold) -> None:
    """Keep a backup from being removed; a hold of the same name is replaced.

    Raises:
        InvalidInputError: The name cannot be that of a file.
        ToolError: The store cannot be written.
    """
    document = {
        "backup_id": hold.backup_id,
        "name": hold.name,
        "reason": hold.reason,
        "by": hold.by,
        "at": hold.at.isoformat(),
        "until": None if hold.until is None else hold.until.isoformat(),
    }
    store.put_text(_path_of_hold(hold.backup_id, hold.name), seal(document))


def remove_hold(store: BackupStore, backup_id: str, name: str) -> None:
    """Lift a hold; nothing happens when there is none of that name.

    Raises:
        InvalidInputError: The name cannot be that of a hold.
    """
    store.remove_text(_path_of_hold(backup_id, name))


def _path_of_hold(backup_id: str, name: str) -> str:
    if not name or len(name) > _LONGEST_NAME or not set(name) <= _NAME:
        raise InvalidInputError(
            f"{name!r} cannot name a hold", hint="use letters, digits, '-', '_' and '.', at most 100 of them"
        )
    return f"{notes_of(backup_id)}/{_HOLD}{name}.json"


def _proof(document: dict[str, Any], backup_id: str) -> Proof:
    _same(document, backup_id)
    return Proof(
        backup_id=backup_id,
        kind=ProofKind(document["kind"]),
        verdict=Verdict(document["verdict"]),
        at=datetime.fromisoformat(document["at"]),
        duration=timedelta(milliseconds=document["duration_ms"]),
        by=document["by"],
        sentences=tuple(_texts(document["sentences"])),
        details=dict(document["details"]),
    )


def _hold(document: dict[str, Any], backup_id: str) -> Hold:
    _same(document, backup_id)
    until = document["until"]
    return Hold(
        backup_id=backup_id,
        name=document["name"],
        reason=document["reason"],
        by=document["by"],
        at=datetime.fromisoformat(document["at"]),
        until=None if until is None else datetime.fromisoformat(until),
    )


def _same(document: dict[str, Any], backup_id: str) -> None:
    if document["backup_id"] != backup_id:
        raise BackupDamagedError(
            f"a note of backup {document['backup_id']!r} lies beside backup {backup_id!r}",
            hint="find out who moved it; `squizzle backups --verify` reads all of them",
        )


def _texts(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is no text")
        yield value
