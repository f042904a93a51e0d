"""What Slack shows: the message for a question, the form of an answer, and what became of it (Block Kit).

Limits are Slack's: 150 characters of a header, 12,000 of Markdown in a message, 3,000 of any other text, 2,000 of a
button's value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from squizzle.approvals.asked import SHORT, WaitingApproval
from squizzle.approvals.messages import Kept
from squizzle.postgres.decisions import Answer, Entry
from squizzle.slack.text import Blocks, escaped, harmless, header

# What buttons and forms are called; Slack hands these back.
BUTTON = "squizzle-answer-"
FORM = "squizzle-answer"
NAME_FIELD, REASON_FIELD = "typed_name", "reason"
METADATA = "squizzle_approval"

_MARKDOWN = 11_000
_REASON = 2_000
_WORDS = {Answer.APPROVE: "Approve", Answer.REJECT: "Reject"}
_STYLES = {Answer.APPROVE: "primary", Answer.REJECT: "danger"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a question.

    Attributes:
        entry: The answer; None for none.
        at: When it was given; None for no answer.
        objection: Why it did not count; empty where it did.
        state: What the run's state is called by now; empty for a run that is gone.
    """

    entry: Entry | None
    at: datetime | None
    objection: str
    state: str

    def sentence(self) -> str:
        """Who decided what, when, why."""
        if self.entry is None:
            ended = {
                "Failed": "nobody answered in time, so nothing was done",
                "Cancelled": "the run was cancelled, so nothing was done",
                "": "the run is gone",
            }
            return ended.get(self.state, f"no answer; the run is {self.state.lower()}")
        what = "Approved" if self.entry.answer is Answer.APPROVE else "Rejected"
        when = f" at {self.at:%Y-%m-%d %H:%M:%S %Z}" if self.at else ""
        why = f": {self.entry.comment}" if self.entry.comment else ""
        not_counted = f". It did not count, and is asked again: {self.objection}" if self.objection else ""
        return f"{what} by {self.entry.by}{when}{why}{not_counted}"


def waiting_message(waiting: WaitingApproval) -> tuple[str, Blocks]:
    """A question with its facts and two buttons: the text for notifications, and the blocks."""
    value = json.dumps(Kept.of(waiting).names())
    buttons = [
        {
            "type": "button",
            "action_id": BUTTON + answer.value,
            "style": _STYLES[answer],
            "text": {"type": "plain_text", "text": f"{_WORDS[answer]} …"},
            "value": value,
        }
        for answer in Answer
    ]
    text = harmless(waiting.text)
    if len(text) > _MARKDOWN:
        text = f"{text[:_MARKDOWN]}\n\n… cut here; the run's page has all of it."
    blocks: Blocks = [
        header(f"Approval: {waiting.asked.title}"),
        {"type": "markdown", "text": text},
        _context(waiting.run_name, waiting.url, waiting.asked.plan_digest),
        {"type": "actions", "elements": buttons},
    ]
    return escaped(f"Approval wanted: {waiting.asked.title}"), blocks


def settled_message(kept: Kept, outcome: Outcome) -> tuple[str, Blocks]:
    """What the message says when nothing is waited for any more: no button is left."""
    sentence = outcome.sentence()
    mark = ":hourglass:"
    if outcome.entry is not None and not outcome.objection:
        mark = ":white_check_mark:" if outcome.entry.answer is Answer.APPROVE else ":no_entry:"
    blocks: Blocks = [
        header(f"Approval: {kept.title}"),
        {"type": "section", "text": {"type": "mrkdwn", "text": f"{mark} {escaped(sentence)[:2900]}"}},
        _context(kept.run_name, "", kept.plan_digest),
    ]
    return escaped(f"{kept.title}: {sentence}"), blocks


def answer_form(waiting: WaitingApproval, answer: Answer) -> dict[str, Any]:
    """The form that opens behind a button: the reason, and for a yes the name that has to be typed by hand."""
    typed: Blocks = []
    if answer is Answer.APPROVE and waiting.asked.name_to_type:
        typed = [_input(NAME_FIELD, "Name of the database or fleet, typed by hand", most=200, optional=False)]
    said = Kept.of(waiting).names() | {"answer": answer.value}
    consequence = "it is done at once" if answer is Answer.APPROVE else "the run ends, and nothing is done"
    if answer is Answer.APPROVE and waiting.asked.missing > 1:
        consequence = "another person has to approve it, too"
    return {
        "type": "modal",
        "callback_id": FORM,
        "private_metadata": json.dumps(said),
        "title": {"type": "plain_text", "text": _WORDS[answer]},
        "submit": {"type": "plain_text", "text": _WORDS[answer]},
        "close": {"type": "plain_text", "text": "Not now"},
        "blocks": [
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": f"*{escaped(waiting.asked.title)[:2000]}*\nThen {consequence}."},
            },
            *typed,
            _input(REASON_FIELD, "Reason", most=_REASON, optional=True),
        ],
    }


def read_form(view: Mapping[str, Any], *, by: str) -> tuple[Kept, Entry]:
    """What was filled in, and the question that it answers.

    Args:
        view: The form as Slack sends it.
        by: Whose it is.
    """
    said = json.loads(view["private_metadata"])
    values = view["state"]["values"]
    typed, reason = (str(values.get(name, {}).get(name, {}).get("value") or "") for name in (NAME_FIELD, REASON_FIELD))
    return Kept.read(said), Entry(answer=Answer(said["answer"]), by=by, comment=reason, typed=typed)


def _context(run_name: str, url: str, digest: str) -> dict[str, Any]:
    run = f"<{url}|{escaped(run_name)}>" if url else escaped(run_name)
    return {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": f"run {run} · plan `{digest[:SHORT]}`"}],
    }


def _input(name: str, label: str, *, most: int, optional: bool) -> dict[str, Any]:
    return {
        "type": "input",
        "block_id": name,
        "optional": optional,
        "label": {"type": "plain_text", "text": label},
        "element": {
            "type": "plain_text_input",
            "action_id": name,
            "multiline": name == REASON_FIELD,
            "max_length": most,
        },
    }
