"""A certificate's text: what was proven, and a hash that others name it by."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from squizzle.errors import BackupDamagedError
from squizzle.rehearsal.record_json import decode, encode, milliseconds
from squizzle.rehearsal.records import Certificate, RollbackProof, TracedStatement

FORMAT_VERSION = 1
_HINT = "rehearse again (`squizzle rehearse VERSION --env NAME`)"


def to_json(certificate: Certificate) -> str:
    """The certificate as a JSON document; starts with the keys that the command's contract promises."""
    return json.dumps(document_of(certificate), ensure_ascii=False, indent=1) + "\n"


def document_of(certificate: Certificate) -> dict[str, Any]:
    """What a certificate says, as JSON types; starts with the keys that the command's contract promises.

    Shapes: `statements` are those of the up script, each with its locks; a relation is a text, quoted as in SQL;
    `rollback.differences` names every object, sequence and row that is not as before; `rto_ms` has the ways back that
    were carried out, by the slowest try of each. The rest are the fields of the record.
    """
    everything = encode(certificate)
    up = everything.pop("up")
    statements = [] if certificate.up is None else [_statement(one) for one in certificate.up.statements]
    if up is not None:
        del up["statements"]
    rollback = everything.pop("rollback")
    return {
        "format_version": FORMAT_VERSION,
        **{name: everything.pop(name) for name in ("id", "version", "backup_id", "verdict")},
        "statements": statements,
        "rollback": _rollback(certificate.rollback, rollback),
        "rto_ms": _rto(certificate),
        **everything,
        "up": up,
    }


def _statement(statement: TracedStatement) -> dict[str, Any]:
    document: dict[str, Any] = encode(statement)
    first = {name: document.pop(name) for name in ("sql", "locks", "rewrites")}
    return first | {"rows": statement.rows_changed} | document


def _rollback(proof: RollbackProof, document: dict[str, Any]) -> dict[str, Any]:
    differences = (*proof.differences, *(one.sentence() for one in proof.rows))
    return {
        "schema": document.pop("schema"),
        "data": "equal" if proof.data_is_equal else "different",
        "differences": list(differences),
        "schema_differences": document.pop("differences"),
        **document,
    }


def _rto(certificate: Certificate) -> dict[str, int | float]:
    measured: dict[str, int | float] = {}
    for one in certificate.ways:
        if one.executed and one.duration is not None:
            measured[one.way.value] = max(measured.get(one.way.value, 0), milliseconds(one.duration))
    return measured


def from_json(text: str, *, source: str) -> Certificate:
    """Read what `to_json` wrote.

    Args:
        text: The document.
        source: Where it comes from, for messages.

    Raises:
        BackupDamagedError: It is none of ours, was changed, or is of a newer format.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise BackupDamagedError(f"{source} is no certificate: {type(exc).__name__}", hint=_HINT) from exc
    return certificate_of(document, source=source)


def certificate_of(document: Any, *, source: str) -> Certificate:
    """The certificate of a document; see `from_json`."""
    try:
        if document["format_version"] != FORMAT_VERSION:
            raise BackupDamagedError(
                f"{source} has format {document['format_version']}, this program reads {FORMAT_VERSION}",
                hint="use the version of squizzle that wrote it, or a newer one",
            )
        rollback = document["rollback"]
        rollback = rollback | {"differences": rollback["schema_differences"]}
        up = document["up"]
        up = None if up is None else up | {"statements": document["statements"]}
        certificate: Certificate = decode(Certificate, document | {"up": up, "rollback": rollback})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as exc:
        raise BackupDamagedError(f"{source} is no certificate: {type(exc).__name__}", hint=_HINT) from exc
    if not _is_part(document, document_of(certificate)):
        raise BackupDamagedError(
            f"{source} says things that do not fit together",
            hint=f"it was changed by hand, or written by a newer version of squizzle; {_HINT}",
        )
    return certificate


def _is_part(found: Any, made: Any) -> bool:
    """Whether everything that was found is what we would write; a document of an earlier version may say less."""
    if isinstance(found, dict) and isinstance(made, dict):
        return all(key in made and _is_part(value, made[key]) for key, value in found.items())
    if isinstance(found, list) and isinstance(made, list):
        return len(found) == len(made) and all(map(_is_part, found, made))
    return bool(found == made)


def certificate_hash(certificate: Certificate) -> str:
    """SHA-256 over everything that a certificate says but its signature, by which the next one names it.

    It is made of the fields alone, without those that have their default, so it stays what it is when a later version
    of the program adds a field or writes the document in another order.
    """
    content = encode(certificate, with_defaults=False)
    content.pop("signature", None)
    canonical = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
