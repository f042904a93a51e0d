"""What is said in each kind of channel."""

from __future__ import annotations

import json

import pytest

from squizzle.notify.channels import signature
from squizzle.notify.records import Moment
from squizzle.notify.wording import SMS_LENGTH, document, pager_event, plain_text, short_text, slack_message
from squizzle.severity import Severity, severity_of
from tests.support.telling import told


@pytest.mark.parametrize(
    ("word", "severity"),
    [("critical", Severity.CRITICAL), ("Warning", Severity.MEDIUM), ("info", Severity.LOW), ("error", Severity.HIGH)],
)
def test_the_guides_words_are_known(word: str, severity: Severity) -> None:
    assert severity_of(word) is severity
    with pytest.raises(ValueError, match="ly"):
        severity_of(f"{word}ly")


def test_plain_text_has_everything_in_the_order_in_which_it_is_read() -> None:
    lines = plain_text(told()).splitlines()
    assert lines[0] == "[CRITICAL] migration 0042 failed on shop"
    assert lines[-1] == "fleet shops, 2026-03-01 03:07:09 UTC"
    assert lines.index("target: shop_07") < lines.index("runbook: https://wiki/runbook")


def test_a_title_of_several_lines_is_one_line() -> None:
    assert told(title="one\r\nBcc: all@example.org").line() == "[CRITICAL] one Bcc: all@example.org"
    assert told(moment=Moment.ENDS).line().startswith("[RESOLVED] ")


@pytest.mark.parametrize("title", ["short", "long " * 60, "ümläüt " * 40])
def test_a_text_message_is_one_text_message_with_a_whole_address(title: str) -> None:
    text = short_text(told(title=title))
    assert len(text) <= SMS_LENGTH
    assert text.isascii()
    assert text.endswith(" https://prefect/runs/1")


def test_an_address_that_is_too_long_for_a_text_message_is_left_out() -> None:
    link = told().links[0]
    text = short_text(told(links=(type(link)(name="run", url="https://prefect/" + "a" * 200),)))
    assert text == "[CRITICAL] migration 0042 failed on shop"


def test_slack_mentions_nobody_and_keeps_its_limits() -> None:
    facts = tuple((f"fact {number}", "<!channel>" * 300) for number in range(30))
    text, blocks = slack_message(told(title="<!here> " * 100, text="<@U1> " * 4000, facts=facts))
    # A header is plain text: nobody is called from there.
    whole = json.dumps(blocks[1:])
    assert "<!" not in whole
    assert "<@" not in whole
    assert "<!" not in text
    assert len(blocks[0]["text"]["text"]) == 150
    (fields,) = [one["fields"] for one in blocks if "fields" in one]
    assert len(fields) == 10
    assert all(len(one["text"]) <= 2000 for one in fields)
    assert "20 facts more" in whole
    assert all(len(one["text"]) <= 12_000 for one in blocks if one["type"] == "markdown")


def test_a_page_is_one_incident_by_its_key_and_is_ended_by_it() -> None:
    event = pager_event(told(), "key")
    assert (event["event_action"], event["payload"]["severity"]) == ("trigger", "critical")
    assert event["payload"]["custom_details"]["version"] == "0042"
    ended = pager_event(told(moment=Moment.ENDS), "key")
    assert ended == {"routing_key": "key", "event_action": "resolve", "dedup_key": event["dedup_key"]}


def test_a_document_is_for_programs() -> None:
    said = document(told())
    assert json.loads(json.dumps(said)) == said
    assert said["format"] == 1
    assert said["at"] == "2026-03-01T03:07:09+00:00"


def test_a_signature_can_be_computed_by_anybody_who_has_the_key() -> None:
    # printf '17.{}' | openssl dgst -sha256 -hmac key
    assert signature(b"{}", "key", 17) == "t=17,v1=" + _EXPECTED


_EXPECTED = "e66392eac42eafc68c35a01c712811e016386c12456975fc3af80c9268568e3a"
