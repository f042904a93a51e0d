"""Whatever a certificate is bound to: when it is another one, exactly that is said, and what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from squizzle.backups.manifest import manifest_hash
from squizzle.backups.records import Backup
from squizzle.postgres.secret import Secret
from squizzle.rehearsal.matching import KnownBackup, Situation, mismatches, remarks
from squizzle.rehearsal.records import Certificate, CertificateVerdict, MigrationFiles
from squizzle.rehearsal.signature import sign
from squizzle.settings.rehearsal import RehearsalSettings
from tests.support.certificates import ISSUED, certificate_of

KEY = Secret("k" * 32)
NEXT = "rehearse again: squizzle rehearse 0002 --env production"


@pytest.fixture(scope="module")
def certificate(backup: Backup) -> Certificate:
    draft = replace(certificate_of(backup), id="c1")
    return replace(draft, signature=sign(draft, KEY))


@pytest.fixture(scope="module")
def situation(certificate: Certificate, backup: Backup) -> Situation:
    return Situation(
        now=ISSUED + timedelta(days=6),
        version=certificate.version,
        files=certificate.files,
        database=certificate.database,
        environment=certificate.environment,
        identity_id=certificate.identity_id,
        schema=certificate.schema,
        schema_digest=certificate.schema_before,
        server_version=certificate.rehearsed_version,
        settings=certificate.settings,
        backups={backup.id: KnownBackup(sha256=manifest_hash(backup))},
        generated_sha256=certificate.rollback.sha256,
        signing_key=KEY,
    )


def test_a_certificate_of_just_this_counts(certificate: Certificate, situation: Situation) -> None:
    assert mismatches(certificate, situation) == ()
    assert remarks(certificate, situation) == ()


FILES = MigrationFiles(up="a" * 64, down="b" * 64, verify="")
NOW_OTHERWISE: list[tuple[dict[str, Any], str]] = [
    ({"now": ISSUED + timedelta(days=8)}, "it is 8 d old, allowed are 7 d ([rehearsal] max_age)"),
    (
        {"files": replace(FILES, up="c" * 64)},
        "the up script was changed since the rehearsal (SHA-256 was aaaaaaaaaaaa,",
    ),
    ({"files": replace(FILES, down="")}, "the down script is gone since the rehearsal (SHA-256 was bbbbbbbbbbbb, is"),
    ({"files": replace(FILES, verify="c" * 64)}, "the verify script was added since the rehearsal (SHA-256 was none,"),
    ({"identity_id": "other"}, "it is about another database: shop with the id 6f3f8b54-5d67-4c9e-9d3e-000000000001,"),
    ({"identity_id": "", "database": "stock"}, "it is about another database: shop, not stock;"),
    ({"schema": "app"}, "it was rehearsed in the schema public, not in app;"),
    (
        {"schema_digest": "0" * 64},
        "the schema is not the one that it was rehearsed on (its digest was eeeeeeeeeeee, is 0",
    ),
    (
        {"schema_digest": "0" * 64, "drift": ("index i", "table t")},
        "the schema is not the one that it was rehearsed on in index i, table t (its digest was eeeeeeeeeeee, is 0",
    ),
    ({"schema_digest": "", "unknown_because": "0001 has none"}, "the schema that the script would start from is not"),
    ({"server_version": 180001}, "the server is newer than the rehearsed one (PostgreSQL was 15.18, is 18.1);"),
    ({"server_version": 140022}, "the server is older than the rehearsed one (PostgreSQL was 15.18, is 14.22);"),
    ({"settings": {"DateStyle": "ISO, DMY", "TimeZone": "UTC"}}, "the setting DateStyle differs (was 'ISO, MDY', is"),
    ({"settings": {"DateStyle": "ISO, MDY"}}, "the setting TimeZone differs (was 'UTC', is not recorded);"),
    ({"backups": {}}, "its backup 20250301T120000Z-shop-abcdef is not in the store;"),
    (
        {"generated_sha256": "0" * 64},
        "the generated way back is not the one that was proven (SHA-256 was dddddddddddd,",
    ),
    ({"signing_key": Secret("o" * 32)}, "its signature is not of this key, or it was changed; find out who wrote it"),
]


@pytest.mark.parametrize(("changes", "sentence"), NOW_OTHERWISE)
def test_what_is_otherwise_now_is_said_and_nothing_else(
    certificate: Certificate, situation: Situation, changes: dict[str, Any], sentence: str
) -> None:
    (found,) = mismatches(certificate, replace(situation, **changes))

    assert found.startswith(sentence)
    assert NEXT in found


def test_another_version_and_another_environment_are_said_with_their_own_next_step(
    certificate: Certificate, situation: Situation
) -> None:
    (version,) = mismatches(certificate, replace(situation, version="0003"))
    (environment,) = mismatches(certificate, replace(situation, environment="staging"))

    assert version == "it is about version 0002, not 0003; rehearse again: squizzle rehearse 0003 --env production"
    assert environment.startswith("it is about the environment production, not staging; rehearse again: squizzle")
    assert "--env staging" in environment


@pytest.mark.parametrize("verdict", [CertificateVerdict.FAILED, CertificateVerdict.INCONCLUSIVE])
def test_only_a_proven_one_counts_and_the_reason_is_told(
    certificate: Certificate, situation: Situation, verdict: CertificateVerdict
) -> None:
    other = replace(certificate, verdict=verdict, reasons=("the index i is missing",), signature="")
    other = replace(other, signature=sign(other, KEY))

    (found,) = mismatches(other, situation)

    assert found == f"its verdict is {verdict}: the index i is missing; repair that, then {NEXT}"


def test_an_unsigned_one_counts_only_where_no_key_is_configured(certificate: Certificate, situation: Situation) -> None:
    unsigned = replace(certificate, signature="")

    assert mismatches(unsigned, situation)[0].startswith("it is not signed; find out who wrote it")
    assert mismatches(unsigned, replace(situation, signing_key=None)) == ()


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (
            KnownBackup(sha256="0" * 64),
            "the manifest of its backup 20250301T120000Z-shop-abcdef is not the one of then",
        ),
        (KnownBackup(sha256="", problem="it is damaged"), "can no longer be counted on: it is damaged"),
    ],
)
def test_a_backup_that_would_not_help_is_no_way_back(
    certificate: Certificate, situation: Situation, known: KnownBackup, sentence: str
) -> None:
    sha256 = known.sha256 or certificate.backup_sha256
    backups = {certificate.backup_id: replace(known, sha256=sha256)}

    (found,) = mismatches(certificate, replace(situation, backups=backups))

    assert sentence in found
    assert NEXT in found


def test_what_the_policy_allows_is_remarked_and_no_reason(certificate: Certificate, situation: Situation) -> None:
    minor = replace(situation, server_version=150019)
    strict = replace(minor, policy=RehearsalSettings(allow_minor=False))
    fleet = replace(situation, identity_id="other", database="shop2", environment="fleet")
    relaxed = replace(fleet, policy=RehearsalSettings(same_schema=True))

    assert mismatches(certificate, minor) == ()
    assert remarks(certificate, minor) == ("it was rehearsed on PostgreSQL 15.18, the server is 15.19",)
    assert len(mismatches(certificate, strict)) == 1
    assert "another minor version" in mismatches(certificate, strict)[0]
    assert len(mismatches(certificate, fleet)) == 2
    assert mismatches(certificate, relaxed) == ()
    assert len(remarks(certificate, relaxed)) == 1
    assert mismatches(certificate, replace(relaxed, schema_digest="0" * 64))
    older = replace(situation, now=ISSUED + timedelta(days=8), policy=RehearsalSettings(max_age=timedelta(days=9)))
    assert mismatches(certificate, older) == ()


def test_a_renamed_database_is_the_same_as_long_as_its_id_is(certificate: Certificate, situation: Situation) -> None:
    assert mismatches(certificate, replace(situation, database="shop_old")) == ()


def test_a_run_that_died_goes_on_with_the_certificate_that_it_began_with(
    certificate: Certificate, situation: Situation
) -> None:
    half_done = replace(situation, schema_digest="0" * 64)

    assert mismatches(certificate, replace(half_done, begun_with=certificate.id)) == ()
    assert len(mismatches(certificate, replace(half_done, begun_with="c0"))) == 1


def test_every_difference_is_told_at_once(certificate: Certificate, situation: Situation) -> None:
    other = replace(situation, now=ISSUED + timedelta(days=30), schema="app", server_version=160000, backups={})

    assert len(mismatches(certificate, other)) == 4
