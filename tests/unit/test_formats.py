"""What every earlier version wrote is read by this one, and what a newer one adds is no harm.

`tests/data/formats` has a document of each shape that was ever written, oldest first: who changes what is written adds
one. Certificates of shape 0 were written before their format was settled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squizzle.backups.manifest import document_of as manifest_document
from squizzle.backups.manifest import from_json as read_manifest
from squizzle.backups.manifest import manifest_hash
from squizzle.backups.notes import read_notes, write_hold, write_proof
from squizzle.backups.store import notes_of
from squizzle.errors import BackupDamagedError
from squizzle.migrations.batch_records import BatchProgress
from squizzle.migrations.saved_rows import SavedRows
from squizzle.recovery.fences.records import holds_text, read_holds
from squizzle.rehearsal.certificate import certificate_hash
from squizzle.rehearsal.certificate import document_of as certificate_document
from squizzle.rehearsal.certificate import from_json as read_certificate
from squizzle.rollout.baselines import Noted

FORMATS = Path(__file__).resolve().parents[1] / "data" / "formats"


class _Notes:
    """A store that has notes of one backup."""

    def __init__(self, **texts: str) -> None:
        self.found = texts

    def texts(self, folder: str) -> dict[str, str]:
        assert folder == notes_of("b1")
        return self.found

    def put_text(self, path: str, text: str) -> None:
        self.found["hold" if "hold-" in path else "proof"] = text


def _note(text: str) -> Any:
    """A note that was read, written again."""
    kind = "hold-x" if '"reason"' in text else "proof-x"
    notes = read_notes(_Notes(**{kind: text}), "b1")  # type: ignore[arg-type] - only what is read
    assert not notes.damaged
    again = _Notes()
    for hold in notes.holds:
        write_hold(again, hold)  # type: ignore[arg-type]
    for proof in notes.proofs:
        write_proof(again, proof)  # type: ignore[arg-type]
    (written,) = again.found.values()
    return json.loads(written)


# By kind: a document that was read, as it would be written today.
READERS: dict[str, Callable[[str], Any]] = {
    "manifest": lambda text: {"manifest": manifest_document(read_manifest(text, source="m"))},
    "certificate": lambda text: certificate_document(read_certificate(text, source="c")),
    "proof": _note,
    "hold": _note,
    "batch_progress": lambda text: (BatchProgress.from_json(json.loads(text)) or pytest.fail("none")).to_json(),
    "saved_rows": lambda text: (SavedRows.from_json(json.loads(text)) or pytest.fail("none")).to_json(),
    "fence_holds": lambda text: json.loads(holds_text(read_holds(text, where="x"))),
    "rollout_baseline": lambda text: (Noted.from_json(json.loads(text)) or pytest.fail("none")).to_json(),
}


def _again(kind: str, text: str) -> Any:
    return json.loads(json.dumps(READERS[kind](text)))


SHAPES = sorted(path for path in FORMATS.iterdir() if ".0." not in path.name)


def _keys(value: Any, path: str = "") -> set[str]:
    """Where every key of a document is; all entries of a list are one place."""
    if isinstance(value, dict):
        return {f"{path}.{key}" for key in value}.union(*(_keys(one, f"{path}.{key}") for key, one in value.items()))
    if isinstance(value, list):
        return set().union(*(_keys(one, f"{path}[]") for one in value))
    return set()


def _says_all_of(today: Any, before: Any) -> bool:
    """Whether nothing that was written is lost, but which format it was."""
    if isinstance(before, dict):
        return all(
            key in {"format_version", "manifest_sha256"} or (key in today and _says_all_of(today[key], value))
            for key, value in before.items()
        )
    if isinstance(before, list):
        return len(today) == len(before) and all(map(_says_all_of, today, before))
    return bool(today == before)


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_a_document_of_every_earlier_shape_is_read_whole(path: Path) -> None:
    kind, _ = path.stem.split(".")
    text = path.read_text(encoding="utf-8")

    today = _again(kind, text)

    assert _says_all_of(today, json.loads(text))
    newest = path == max(one for one in SHAPES if one.name.startswith(f"{kind}."))
    assert not newest or _keys(today) <= _keys(json.loads(text)), "something new is written: add its shape"


def test_what_a_newer_version_adds_to_documents_in_tables_is_passed_over() -> None:
    def grown(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: grown(one) for key, one in value.items()} | {"later": 1}
        return [grown(one) for one in value] if isinstance(value, list) else value

    for kind in ("batch_progress", "saved_rows", "fence_holds"):
        newest = max(path for path in SHAPES if path.name.startswith(f"{kind}."))
        document = json.loads(newest.read_text(encoding="utf-8"))
        assert _again(kind, json.dumps(grown(document))) == document, kind


def test_hashes_that_others_name_a_document_by_stay_what_they_were() -> None:
    manifest = (FORMATS / "manifest.2.json").read_text(encoding="utf-8")
    assert manifest_hash(read_manifest(manifest, source="m")) == json.loads(manifest)["manifest_sha256"]
    certificate = read_certificate((FORMATS / "certificate.1.json").read_text(encoding="utf-8"), source="c")
    assert certificate_hash(certificate) == "b815d05d08a480290f5aad367e371c1d12446354d87684a8a87d894e4f91c69e"


def test_a_certificate_from_before_its_format_was_settled_is_refused_and_never_misread() -> None:
    with pytest.raises(BackupDamagedError, match="do not fit together") as told:
        read_certificate((FORMATS / "certificate.0.json").read_text(encoding="utf-8"), source="c")
    assert "rehearse again" in told.value.hint
