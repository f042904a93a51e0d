"""A master key in AWS KMS: data keys come from there, and its refusals become sentences with a next step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from squizzle.backups.encryption.keys import KeyRing
from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.settings import KeySettings
from squizzle.errors import BackupDamagedError, KeyNotUsableError
from squizzle.postgres.secret import Secret
from tests.support.keys import random_key, ring_of
from tests.support.kms_service import ALIAS, ARN, OTHER, Kms, kms_service

OWNER = "20250301T120000Z-shop-abcdef"


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kms]:
    with kms_service() as running:
        for name, value in {
            "AWS_ENDPOINT_URL_KMS": running.endpoint,
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIDTEST",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            monkeypatch.setenv(name, value)
        yield running


def ring(key: str, more: str | None = None) -> KeyRing:
    found = open_keys(KeySettings(kms_key=key, keys=Secret(more) if more else None))
    assert found is not None
    return found


def test_the_service_makes_and_unwraps_the_key_of_one_backup(kms: Kms) -> None:
    made = ring(ALIAS).new_data_key(OWNER)
    assert made.master == f"aws-kms:{ARN}"
    reader = ring(ARN)

    assert reader.data_key(made.for_manifest, OWNER) == made.plain
    assert reader.data_key(made.for_manifest, OWNER) == made.plain
    assert kms.asked == ["GenerateDataKey", "Decrypt"]
    with pytest.raises(BackupDamagedError, match="belongs to something else"):
        ring(ARN).data_key(made.for_manifest, "20250302T120000Z-shop-abcdef")


def test_another_key_of_the_service_is_not_taken_for_ours_and_an_older_one_still_is(kms: Kms) -> None:
    made = ring(OTHER).new_data_key(OWNER)
    assert [key for key, _, _ in kms.wrapped.values()] == [OTHER]

    with pytest.raises(KeyNotUsableError, match=f"encrypted with the key aws-kms:{OTHER}"):
        ring(ALIAS).data_key(made.for_manifest, OWNER)
    assert ring(f"{ALIAS} {OTHER}").data_key(made.for_manifest, OWNER) == made.plain


def test_whoever_moves_to_the_service_still_reads_what_the_key_file_encrypted(kms: Kms) -> None:
    old = random_key()
    made = ring_of(old).new_data_key(OWNER)

    assert ring(ALIAS, more=old).data_key(made.for_manifest, OWNER) == made.plain
    assert kms.asked == []


@pytest.mark.parametrize(
    ("refusal", "said", "what_to_do"),
    [
        ("AccessDeniedException", "the account may not use it", "kms:GenerateDataKey"),
        ("DisabledException", "it is switched off", "switch it on"),
        ("KMSInternalException", "the service answered KMSInternalException", "run the same again"),
    ],
)
def test_a_refusal_says_what_to_do(
    kms: Kms, monkeypatch: pytest.MonkeyPatch, refusal: str, said: str, what_to_do: str
) -> None:
    monkeypatch.setattr("squizzle.backups.encryption.kms._ATTEMPTS", 1)
    kms.refusal = refusal

    with pytest.raises(KeyNotUsableError, match=rf"aws-kms:{ALIAS} cannot be used: {said}") as caught:
        ring(ALIAS).new_data_key(OWNER)
    assert what_to_do in caught.value.hint
