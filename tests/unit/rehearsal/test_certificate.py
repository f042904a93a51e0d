"""A certificate reads back as it was written, keeps its promises to scripts, and is not believed when it was changed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.analysis.locks.records import RelationName
from squizzle.backups.records import Backup
from squizzle.errors import BackupDamagedError, KeyNotUsableError
from squizzle.postgres.secret import Secret
from squizzle.rehearsal.certificate import certificate_hash, document_of, from_json, to_json
from squizzle.rehearsal.record_json import encode, relation_of, relation_text
from squizzle.rehearsal.records import Certificate, TracedStatement
from squizzle.rehearsal.signature import is_signed_by, sign, signing_key
from tests.support.certificates import certificate_of

# Short everywhere: whether one more table changes anything is not what is asked.
TEXTS = st.text(max_size=4)
st.register_type_strategy(str, TEXTS)
DURATIONS = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=3650))
RELATIONS = st.builds(RelationName, schema=TEXTS, name=st.text(min_size=1, max_size=4))
st.register_type_strategy(timedelta, DURATIONS)
st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(RelationName, RELATIONS)


@pytest.fixture
def certificate(backup: Backup) -> Certificate:
    return replace(certificate_of(backup), id="20250302T120000Z-0002-abcdef")


@given(certificate=st.builds(Certificate))
def test_every_certificate_reads_back_as_it_was_written(certificate: Certificate) -> None:
    found = from_json(to_json(certificate), source="the test")

    assert found == certificate
    assert certificate_hash(found) == certificate_hash(certificate)


@given(relation=RELATIONS)
def test_the_text_of_a_relation_tells_schema_and_name(relation: RelationName) -> None:
    assert relation_of(relation_text(relation)) == relation


def test_the_document_has_what_the_contract_of_the_command_promises(certificate: Certificate) -> None:
    document = document_of(certificate)

    assert list(document)[1:8] == ["id", "version", "backup_id", "verdict", "statements", "rollback", "rto_ms"]
    (statement,) = document["statements"]
    assert statement["locks"][0]["relation"] == "public.orders"
    assert statement["locks"][0]["mode"] == "ACCESS EXCLUSIVE"
    assert statement["locks"][0]["held_ms"] == 2.345
    expected = {"rewrites": ["public.orders"], "rows": 8, "wal_bytes": 4096, "duration_ms": 7}
    assert {name: statement[name] for name in expected} == expected
    rollback = document["rollback"]
    assert (rollback["schema"], rollback["data"]) == ("logical", "different")
    assert rollback["differences"] == [
        "changed: column orders.state",
        "public.orders: 8 rows changed in state, such as (1)",
    ]
    assert document["rto_ms"] == {"roll_back": 30, "restore_beside": 41_000}
    assert document["up"]["duration_ms"] == 12


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every text, number, truth or nothing of a document is."""
    if isinstance(value, dict):
        return [found for key, one in value.items() for found in _paths(one, (*path, key))]
    if isinstance(value, list):
        return [found for place, one in enumerate(value) for found in _paths(one, (*path, place))]
    return [path]


def test_no_value_can_be_changed_without_the_hash_or_the_reader_noticing(certificate: Certificate) -> None:
    whole = replace(certificate, signature="s")
    document = document_of(whole)
    paths = _paths(document)
    assert len(paths) > 90
    for path in paths:
        changed = json.loads(json.dumps(document))
        place = changed
        for step in path[:-1]:
            place = place[step]
        found = place[path[-1]]
        place[path[-1]] = not found if isinstance(found, bool) else found + 1 if isinstance(found, int | float) else "x"
        try:
            read = from_json(json.dumps(changed), source="the test")
        except BackupDamagedError:
            continue
        assert certificate_hash(read) != certificate_hash(whole) or path == ("signature",), path


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "7", '{"format_version": 1}', "[" * 100_000])
def test_what_is_no_certificate_is_said_to_be_none(text: str) -> None:
    with pytest.raises(BackupDamagedError, match="the test is no certificate"):
        from_json(text, source="the test")


def test_another_format_and_an_unknown_key_are_left_to_a_newer_program(certificate: Certificate) -> None:
    document = document_of(certificate)
    with pytest.raises(BackupDamagedError, match="has format 2, this program reads 1"):
        from_json(json.dumps(document | {"format_version": 2}), source="the test")
    with pytest.raises(BackupDamagedError, match="do not fit together") as caught:
        from_json(json.dumps(document | {"colour": "red"}), source="the test")
    assert "newer version" in caught.value.hint


def test_a_field_that_an_earlier_version_did_not_know_changes_no_hash(certificate: Certificate) -> None:
    document = document_of(certificate)
    del document["beside"], document["masked"]
    for statement in document["statements"]:
        del statement["temp_bytes"]

    read = from_json(json.dumps(document), source="the test")

    assert read == certificate
    assert certificate_hash(read) == certificate_hash(certificate)
    (statement,) = certificate.up.statements if certificate.up else ()
    assert "temp_bytes" in encode(statement)
    assert "temp_bytes" not in encode(replace(statement, temp_bytes=0), with_defaults=False)
    assert isinstance(statement, TracedStatement)


def test_a_signature_is_of_one_key_and_of_everything_that_is_said(certificate: Certificate) -> None:
    key, other = Secret("k" * 32), Secret("o" * 32)
    signed = replace(certificate, signature=sign(certificate, key))

    assert is_signed_by(signed, key)
    assert not is_signed_by(signed, other)
    assert not is_signed_by(certificate, key)
    assert not is_signed_by(replace(signed, reasons=()), key)
    assert not is_signed_by(replace(signed, signature="ä"), key)


def test_a_key_comes_from_the_variable_that_is_named_and_is_long_enough() -> None:
    assert signing_key(None, {}) is None
    assert signing_key("SIGNING", {"SIGNING": "k" * 32}) == Secret("k" * 32)
    for environ, why in (({}, "is not set"), ({"SIGNING": "short-one"}, "holds fewer than 32 bytes")):
        with pytest.raises(KeyNotUsableError, match=why) as caught:
            signing_key("SIGNING", environ)
        assert "openssl rand -hex 32" in caught.value.hint
        assert "short-one" not in str(caught.value)
