"""`[approvals.slack]`: who is asked in Slack, and where its tokens come from; and what Slack is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from squizzle.approvals.asked import Asked, WaitingApproval, asked_document, read_asked
from squizzle.approvals.slack_blocks import answer_form, waiting_message
from squizzle.config import load_config
from squizzle.errors import InvalidInputError
from squizzle.postgres.decisions import Answer, ApprovalRules, DecisionRow
from squizzle.postgres.secret import Secret
from squizzle.settings.approvals import resolve_slack
from squizzle.slack.text import harmless
from tests.support.slack import refused

SLACK = """
[approvals.slack]
channel = "C0123456789"
app_token_env = "APP"
people = { U0123456789 = "anna" }
"""
AT = datetime(2026, 1, 2, tzinfo=UTC)


def written(folder: Path, text: str) -> Path:
    path = folder / "squizzle.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_slack_is_read_from_the_file_and_its_tokens_from_the_environment(tmp_path: Path) -> None:
    section = load_config(written(tmp_path, SLACK)).approvals.slack
    assert section is not None

    settings = resolve_slack(section, {"APP": "xapp-1", "SLACK_BOT_TOKEN": "xoxb-1"})

    assert (settings.channel, settings.people) == ("C0123456789", {"U0123456789": "anna"})
    assert (settings.app_token, settings.bot_token) == (Secret("xapp-1"), Secret("xoxb-1"))
    assert "xoxb-1" not in repr(settings)
    with pytest.raises(InvalidInputError, match="needs the variable APP"):
        resolve_slack(section, {"SLACK_BOT_TOKEN": "xoxb-1"})


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("C0123456789", "#ops", "must be the id of a channel"),
        ("U0123456789", "anna", "which is no member id"),
        ('"anna" }', '"" }', "people.U0123456789 must be a name"),
        ('{ U0123456789 = "anna" }', "{}", "nobody could answer"),
        ("app_token_env", "app_token", "unknown settings: app_token"),
    ],
)
def test_what_slack_would_not_know_is_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_config(written(tmp_path, SLACK.replace(before, after)))


def test_a_message_keeps_within_slacks_limits_and_calls_nobody() -> None:
    asked = Asked(gate="test", title="t" * 400, plan_digest="d" * 64, name_to_type="shop", rules=ApprovalRules())
    waiting = WaitingApproval(
        run_id="r" * 36, run_name="n" * 200, pause="p" * 60, asked=asked, text="<!channel> " * 2000,
        asked_at=AT, expires_at=None, url="http://127.0.0.1/run",
    )  # fmt: skip

    _, blocks = waiting_message(waiting)
    form = answer_form(waiting, Answer.APPROVE)

    assert refused(blocks) == ""
    assert "<!channel>" not in json.dumps(blocks)
    assert harmless("`a < b` <@U1>") == "`a < b` &lt;@U1>"
    assert len(form["private_metadata"]) < 3000
    assert read_asked({"squizzle": asked_document(asked)}) == asked
    assert read_asked({}) is None
    with pytest.raises(InvalidInputError, match="another version"):
        read_asked({"squizzle": {"gate": "test"}})


def row(number: int, by: str, answer: str = "approve") -> DecisionRow:
    return DecisionRow(
        id=number, gate="g", plan_digest="d", answer=answer, decided_by=by, comment="", decided_at=AT, run="r"
    )


def test_of_what_is_recorded_only_the_yes_of_people_who_may_counts_and_any_no() -> None:
    rules = ApprovalRules(approvers=("Anna", "Ben", "Zoe"), two_people=True, started_by=("zoe",))
    anna, ben, again, carl, zoe, no = (
        row(1, " anna "), row(2, "BEN"), row(3, "Anna"), row(4, "carl"), row(5, "Zoe"), row(6, "carl", "reject"),
    )  # fmt: skip

    assert rules.standing((anna, ben)) == ben
    for not_enough in ((), (anna,), (anna, again), (anna, carl), (anna, zoe)):
        assert rules.standing(not_enough) is None
    assert rules.standing((anna, ben, no)) == no
    assert rules.standing((no, row(7, "anna"))) is None
    assert ApprovalRules().standing((anna, carl)) == carl
