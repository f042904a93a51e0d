"""What a run that waits asks for: kept in its form, so that whoever answers elsewhere sees exactly this question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from squizzle.errors import InvalidInputError
from squizzle.postgres.decisions import ApprovalRules, Entry, Question

# Where the form's JSON schema keeps it; validators pass over words that they do not know.
KEYWORD = "squizzle"
# As much of a digest as a person compares.
SHORT = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One question to one person.

    Attributes:
        gate, title, plan_digest, name_to_type: As in `Question`.
        rules: Whose yes counts, and how many it takes.
        approved_by: Who has approved it already.
        wrong: What was wrong with the last answer, so that it is asked again; empty for nothing.
    """

    gate: str
    title: str
    plan_digest: str
    name_to_type: str = ""
    rules: ApprovalRules
    approved_by: tuple[str, ...] = ()
    wrong: str = ""

    @classmethod
    def of(cls, question: Question, rules: ApprovalRules, *, approved_by: tuple[str, ...], wrong: str) -> Asked:
        """What is asked now."""
        return cls(
            gate=question.gate,
            title=question.title,
            plan_digest=question.digest,
            name_to_type=question.name_to_type,
            rules=rules,
            approved_by=approved_by,
            wrong=wrong,
        )

    @property
    def missing(self) -> int:
        """So many people still have to approve."""
        return self.rules.needed - len(self.approved_by)

    def objection(self, entry: Entry) -> str:
        """Why an answer does not count; empty where it does."""
        return self.rules.objection(entry, name_to_type=self.name_to_type, approved_by=self.approved_by)


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingApproval:
    """A run that waits for an answer.

    Attributes:
        run_id, run_name: The run.
        pause: Which of its pauses; an answer to another one is none to this.
        asked: What it asks.
        text: The facts to decide on, as Markdown.
        asked_at: Since when it waits.
        expires_at: After that it counts as rejected.
        url: The run's page; empty where Prefect has none.
    """

    run_id: str
    run_name: str
    pause: str
    asked: Asked
    text: str
    asked_at: datetime
    expires_at: datetime | None
    url: str = ""

    @property
    def plan_digest(self) -> str:
        """Of the plan."""
        return self.asked.plan_digest

    def document(self) -> dict[str, object]:
        """For `--json`; the text is left out."""
        asked = self.asked
        return {
            "run": self.run_id,
            "run_name": self.run_name,
            "gate": asked.gate,
            "title": asked.title,
            "plan_digest": asked.plan_digest,
            "name_to_type": asked.name_to_type or None,
            "approvers": list(asked.rules.approvers),
            "needed": asked.rules.needed,
            "approved_by": list(asked.approved_by),
            "started_by": list(asked.rules.started_by),
            "last_answer_refused": asked.wrong or None,
            "asked_at": self.asked_at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "url": self.url or None,
        }


def asked_document(asked: Asked) -> dict[str, object]:
    """As the form keeps it."""
    return {
        "gate": asked.gate,
        "title": asked.title,
        "plan_digest": asked.plan_digest,
        "name_to_type": asked.name_to_type,
        "approvers": list(asked.rules.approvers),
        "two_people": asked.rules.two_people,
        "started_by": list(asked.rules.started_by),
        "approved_by": list(asked.approved_by),
        "wrong": asked.wrong,
    }


def read_asked(schema: Mapping[str, object]) -> Asked | None:
    """What a form asks; None for a form that is none of ours.

    Args:
        schema: The form's JSON schema.

    Raises:
        InvalidInputError: It is one of ours, and made by another version that wrote it differently.
    """
    found = schema.get(KEYWORD)
    if not isinstance(found, dict):
        return None
    try:
        return Asked(
            gate=str(found["gate"]),
            title=str(found["title"]),
            plan_digest=str(found["plan_digest"]),
            name_to_type=str(found["name_to_type"]),
            rules=ApprovalRules(
                approvers=_texts(found["approvers"]),
                two_people=bool(found["two_people"]),
                started_by=_texts(found["started_by"]),
            ),
            approved_by=_texts(found["approved_by"]),
            wrong=str(found["wrong"]),
        )
    except (KeyError, TypeError) as exc:
        raise InvalidInputError(
            "the form of a run that waits was made by another version of Squizzle",
            hint="answer it in Prefect's UI, or use the version that the run has",
        ) from exc


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in cast("list[object]", value))


def asked_text(asked: Asked, plan: str, *, until: datetime) -> str:
    """The question as Markdown: what was wrong before, the facts, and what a yes takes.

    Args:
        asked: What is asked.
        plan: The facts to decide on, as Markdown.
        until: After that it counts as rejected.
    """
    rules = asked.rules
    takes = [f"- **Until** {until:%Y-%m-%d %H:%M:%S %Z}; without an answer by then it is rejected."]
    if asked.name_to_type:
        takes.append(f"- **Type by hand** what it is about, to approve: `{asked.name_to_type}`")
    if rules.approvers:
        takes.append(f"- **Who may approve:** {', '.join(rules.approvers)}. Anybody may reject.")
    if rules.two_people:
        started = ", ".join(rules.started_by) or "nobody knows who"
        takes.append(f"- **Two people** have to approve, neither of whom started it ({started}).")
    if asked.approved_by:
        takes.append(f"- **Approved already** by {', '.join(asked.approved_by)}; {asked.missing} more to go.")
    takes.append(f"- **Plan** `{asked.plan_digest[:SHORT]}`: the answer holds for this very plan, and no other.")
    wrong = [f"> **The last answer did not count:** {asked.wrong}. Please answer again.", ""] if asked.wrong else []
    return "\n".join([f"# {asked.title}", "", *wrong, plan, "", "## To decide", "", *takes])
