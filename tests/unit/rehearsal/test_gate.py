"""Which of several certificates has the last word, and what a person's word needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.backups.records import Backup
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.rehearsal.certificate_store import Certificates
from squizzle.rehearsal.gate import (
    Answer,
    Answers,
    Override,
    choose_certificate,
    is_asked_for,
    override_of,
    require_certificates,
    why_not,
)
from squizzle.rehearsal.matching import KnownBackup, Situation
from squizzle.rehearsal.records import Certificate, CertificateVerdict
from squizzle.settings.rehearsal import RehearsalSettings
from tests.support.certificates import ISSUED, certificate_of

POLICY = RehearsalSettings()
WORD = Override(reason="an outage", approver="ada")


@pytest.fixture(scope="module")
def proven(backup: Backup) -> Certificate:
    return replace(certificate_of(backup), id="proven")


@pytest.fixture(scope="module")
def situation(proven: Certificate) -> Situation:
    return Situation(
        now=ISSUED + timedelta(days=1),
        version=proven.version,
        files=proven.files,
        database=proven.database,
        environment=proven.environment,
        identity_id=proven.identity_id,
        schema=proven.schema,
        schema_digest=proven.schema_before,
        server_version=proven.rehearsed_version,
        settings=proven.settings,
        backups={proven.backup_id: KnownBackup(sha256=proven.backup_sha256)},
    )


def test_a_newer_one_that_failed_takes_the_word_away_and_one_that_was_not_carried_out_does_not(
    proven: Certificate, situation: Situation
) -> None:
    failed = replace(proven, id="failed", verdict=CertificateVerdict.FAILED, reasons=("an index is missing",))
    unclear = replace(failed, id="unclear", verdict=CertificateVerdict.INCONCLUSIVE)
    elsewhere = replace(failed, id="elsewhere", schema_before="0" * 64)

    def chosen(*newest_first: Certificate) -> str | None:
        answer = choose_certificate(Certificates(found=newest_first), situation)
        assert (answer.certificate is None) == bool(answer.reasons)
        return answer.certificate.id if answer.certificate else None

    assert chosen(unclear, proven) == "proven"
    assert chosen(elsewhere, proven) == "proven"
    assert chosen(failed, proven) is None
    assert chosen(proven, failed) == "proven"
    answer = choose_certificate(Certificates(found=(failed, proven)), situation)
    assert answer.reasons[0].startswith("certificate failed does not count: its verdict is failed: an index is missing")
    assert why_not(proven, answer) == ("a newer certificate of 0002 takes its place: one that failed",)


def test_the_nearest_miss_is_explained_and_what_cannot_be_read_is_not_hidden(
    proven: Certificate, situation: Situation
) -> None:
    far = replace(proven, id="far", schema="app", rehearsed_version=170000)
    near = replace(proven, id="near", schema="app")
    other = replace(proven, id="other", version="0003")

    answer = choose_certificate(Certificates(found=(far, near, other), damaged=("one is damaged",)), situation)

    assert [reason[:24] for reason in answer.reasons] == ["certificate near does no", "one is damaged"]


def test_a_persons_word_needs_a_reason_a_name_and_a_project_that_takes_it() -> None:
    assert override_of(None, None, POLICY) is None
    assert override_of(" an outage ", "ada", POLICY) == WORD
    for reason, approver in (("an outage", None), (None, "ada"), (" ", "ada"), ("an outage", "")):
        with pytest.raises(InvalidInputError, match="needs a reason and the name"):
            override_of(reason, approver, POLICY)
    with pytest.raises(RefusedError, match="may_override = false"):
        override_of("an outage", "ada", RehearsalSettings(may_override=False))


def test_a_word_counts_only_where_no_certificate_does(proven: Certificate) -> None:
    answers = Answers(
        answers=(
            Answer(version="0002", certificate=proven),
            Answer(version="0003", certificate=None, reasons=("there is none", "and more")),
        ),
        environment="production",
        schema_digest="e" * 64,
    )

    with pytest.raises(RefusedError) as caught:
        require_certificates(answers, POLICY)
    assert caught.value.message == (
        "production asks for certificates, and none counts for 0003\n  0003: there is none\n  0003: and more"
    )
    assert caught.value.hint.startswith("squizzle rehearse 0003 --env production; with somebody's word: ")
    with pytest.raises(RefusedError) as strict:
        require_certificates(answers, RehearsalSettings(may_override=False))
    assert "word" not in strict.value.hint

    approvals = require_certificates(answers, POLICY, WORD)
    known, word = (approvals.by_version[version] for version in ("0002", "0003"))
    assert (known.certificate, known.approved_by) == ("proven", None)
    assert (word.certificate, word.approved_by) == ("none: an outage", "ada")
    assert approvals.schema_digest == "e" * 64


def test_an_environment_asks_by_whatever_name_it_has() -> None:
    assert is_asked_for(POLICY, [None, "production"])
    assert is_asked_for(POLICY, ["staging", "production"])
    assert not is_asked_for(POLICY, ["staging", None])
    assert not is_asked_for(RehearsalSettings(required_for=()), ["production"])
