"""Messages that stand for questions: what is kept about each, so that none is posted twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from squizzle.approvals.asked import WaitingApproval

# A variable of Prefect's holds 5,000 characters.
_TITLE = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """One message, posted or about to be.

    Attributes:
        run_id, run_name, pause: The question that it stands for.
        title: Of the question.
        plan_digest: Of the plan.
        channel: Where it was posted; Slack's id.
        timestamp: Slack's name of the message; empty as long as it is only about to be posted.
    """

    run_id: str
    run_name: str
    pause: str
    title: str
    plan_digest: str
    channel: str = ""
    timestamp: str = ""

    @classmethod
    def of(cls, waiting: WaitingApproval) -> Self:
        """Nothing is posted yet."""
        return cls(
            run_id=waiting.run_id,
            run_name=waiting.run_name,
            pause=waiting.pause,
            title=waiting.asked.title[:_TITLE],
            plan_digest=waiting.asked.plan_digest,
        )

    @property
    def key(self) -> str:
        """The question's own, 32 hexadecimal digits."""
        return key_of(self.run_id, self.pause)

    def names(self) -> dict[str, object]:
        """Which question it is, and nothing else: as much as fits behind a button."""
        return {"run_id": self.run_id, "pause": self.pause, "plan_digest": self.plan_digest}

    def document(self) -> dict[str, object]:
        """As it is kept."""
        return {
            "run_id": self.run_id,
            "run_name": self.run_name,
            "pause": self.pause,
            "title": self.title,
            "plan_digest": self.plan_digest,
            "channel": self.channel,
            "timestamp": self.timestamp,
        }

    @classmethod
    def read(cls, document: Mapping[str, object]) -> Self:
        """The same again."""
        return cls(**{name: str(document.get(name, "")) for name in cls.__slots__})


def key_of(run_id: str, pause: str) -> str:
    """A name for one question, 32 hexadecimal digits."""
    return hashlib.sha256(f"{run_id} {pause}".encode()).hexdigest()[:32]
