"""The service between Prefect and Slack: posts what waits, takes answers, and says what became of each.

What it posted is noted in Prefect before and after, so it can be killed anywhere and started again. Where Slack or
Prefect is down it says so, tries again, and Prefect's own pages go on working.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from squizzle.approvals.asked import WaitingApproval
from squizzle.approvals.messages import Kept
from squizzle.approvals.slack_blocks import (
    BUTTON,
    FORM,
    NAME_FIELD,
    REASON_FIELD,
    Outcome,
    answer_form,
    read_form,
    settled_message,
    waiting_message,
)
from squizzle.approvals.slack_client import LOG, Slack, SlackSocket
from squizzle.errors import CloudBusyError, CloudError, InvalidInputError, RefusedError, SquizzleError
from squizzle.postgres.decisions import Answer, Entry
from squizzle.slack.text import escaped
from squizzle.slack.web import MessageGoneError

# A person who pressed a button elsewhere should not see an old message for long, and a server has other things to do.
POLL_S = 5.0
_LONGEST_S = 60.0


class Waiting(Protocol):
    """The runs that wait, and what is noted about messages; Prefect's API is one."""

    def waiting(self) -> tuple[WaitingApproval, ...]:
        """All that wait."""

    def find(self, run: str) -> WaitingApproval:
        """One of them, by its run's id."""

    def answer(self, meant: WaitingApproval | Kept, entry: Entry) -> None:
        """Let its run go on with this answer, or raise RefusedError."""

    def outcome(self, run_id: str, pause: str) -> Outcome:
        """What became of one that waits no more."""

    def kept(self) -> tuple[Kept, ...]:
        """The messages that stand for questions."""

    def reserve(self, kept: Kept) -> bool:
        """Note that a message is about to be posted; False where that is noted already."""

    def keep(self, kept: Kept) -> None:
        """Note what became of it."""

    def forget(self, kept: Kept) -> None:
        """Nothing will come of it any more."""


class SlackApprovalService:
    """Posts, answers and settles; safe to call from several threads.

    Args:
        prefect: The runs that wait.
        slack: The channel.
        people: Whose answers are taken: Slack's id, and the name that approvals know.
    """

    def __init__(self, prefect: Waiting, slack: Slack, people: Mapping[str, str]) -> None:
        self._prefect = prefect
        self._slack = slack
        self._people = people
        self._sweeping = threading.Lock()
        self.answered = threading.Event()

    def sweep(self) -> None:
        """Post what waits and is not posted, and settle what waits no more.

        Raises:
            CloudError: Something could not be done; everything else was, and the next sweep does the rest.
        """
        with self._sweeping:
            kept = {one.key: one for one in self._prefect.kept()}
            waiting = {Kept.of(one).key: one for one in self._prefect.waiting()}
            work: list[Callable[[], None]] = []
            for key, question in waiting.items():
                if key not in kept or not kept[key].timestamp:
                    work.append(_bound(self._post, question, kept.get(key)))
            work += [_bound(self._settle, message) for key, message in kept.items() if key not in waiting]
            failures: list[CloudError] = []
            for one in work:
                try:
                    one()
                except CloudError as exc:
                    failures.append(exc)
            if failures:
                raise failures[0]

    def handle(self, payload: dict[str, Any]) -> dict[str, Any] | None:
        """Take what a button or a form sends.

        Returns:
            What a form is answered with: errors beside its fields, None to close it.
        """
        person = str(payload["user"]["id"])
        name = self._people.get(person)
        if payload.get("type") == "view_submission" and payload["view"].get("callback_id") == FORM:
            return self._submitted(payload["view"], name)
        for action in payload.get("actions") or ():
            if payload.get("type") == "block_actions" and str(action["action_id"]).startswith(BUTTON):
                self._pressed(payload, action, person, name)
        return None

    def _pressed(self, payload: dict[str, Any], action: dict[str, Any], person: str, name: str | None) -> None:
        answer = Answer(str(action["action_id"]).removeprefix(BUTTON))
        try:
            if name is None:
                raise RefusedError(f"your answer is not taken: {person} is not among the people that Squizzle knows")
            meant = Kept.read(json.loads(action["value"]))
            waiting = self._prefect.find(meant.run_id)
            if Kept.of(waiting).key != meant.key:
                raise RefusedError("this was answered, and is asked again: look at the newest message")
            probe = Entry(answer=answer, by=name, typed=waiting.asked.name_to_type)
            if objection := waiting.asked.objection(probe):
                raise RefusedError(objection)
            self._slack.open_form(str(payload["trigger_id"]), answer_form(waiting, answer))
        except SquizzleError as exc:
            LOG.warning("a button pressed by %s (%s): %s", name or "somebody unknown", person, exc.message)
            self.answered.set()
            self._slack.tell(person, escaped(f"{exc.message}. Nothing was answered."))

    def _submitted(self, view: dict[str, Any], name: str | None) -> dict[str, Any] | None:
        if name is None:
            return _errors(REASON_FIELD, "your answer is not taken: Squizzle does not know you")
        meant, entry = read_form(view, by=name)
        try:
            self._prefect.answer(meant, entry)
        except SquizzleError as exc:
            LOG.warning("an answer of %s to run %s: %s", name, meant.run_id, exc.message)
            fields = {str(block.get("block_id")) for block in view.get("blocks") or ()}
            is_name = NAME_FIELD in fields and "typed by hand" in exc.message
            return _errors(NAME_FIELD if is_name else REASON_FIELD, exc.message)
        LOG.info("%s answered run %s: %s", name, meant.run_id, entry.answer.value)
        self.answered.set()
        return None

    def _post(self, waiting: WaitingApproval, kept: Kept | None) -> None:
        posted = ""
        if kept is None:
            kept = Kept.of(waiting)
            if not self._prefect.reserve(kept):
                return
        else:
            # It was about to be posted when something happened: Slack knows whether it was.
            posted = self._found(kept)
        if not posted:
            text, blocks = waiting_message(waiting)
            posted = self._slack.post(text, blocks, kept.key)
            LOG.info("posted to Slack: %s (%s)", waiting.asked.title, waiting.run_name)
        self._prefect.keep(replace(kept, channel=self._slack.channel, timestamp=posted))

    def _found(self, kept: Kept) -> str:
        try:
            return self._slack.find(kept.key)
        except CloudBusyError:
            raise
        except CloudError as exc:
            if exc.retryable:
                raise
            LOG.warning("%s; so a message may be posted a second time: %s", exc.message, kept.title)
            return ""

    def _settle(self, kept: Kept) -> None:
        outcome = self._prefect.outcome(kept.run_id, kept.pause)
        if not kept.timestamp:
            kept = replace(kept, channel=self._slack.channel, timestamp=self._found(kept))
        if kept.timestamp:
            try:
                self._slack.update(kept, *settled_message(kept, outcome))
            except MessageGoneError as exc:
                LOG.warning("%s: %s", kept.title, exc.message)
        self._prefect.forget(kept)
        LOG.info("%s (%s): %s", kept.title, kept.run_name, outcome.sentence())


def serve(service: SlackApprovalService, socket: SlackSocket, stop: threading.Event, *, poll_s: float = POLL_S) -> None:
    """Go on until told to stop; what fails is written to the log and tried again, later each time.

    Args:
        service: What is done.
        socket: By which answers come.
        stop: Set it, and `service.answered`, to end.
        poll_s: So often Prefect is asked, in seconds.

    Raises:
        InvalidInputError: Slack does not take a token at the start.
    """
    failed, has_worked = 0, False
    while not stop.is_set():
        wait_s = poll_s
        service.answered.clear()
        try:
            _both(socket.connect, service.sweep)
            failed, has_worked = 0, True
        except InvalidInputError as exc:
            if not has_worked:
                raise
            failed += 1
            wait_s = _LONGEST_S
            LOG.error("%s; again in %.0f s", exc.message, wait_s)
        except CloudError as exc:
            failed += 1
            asked = exc.wait_s if isinstance(exc, CloudBusyError) else 0.0
            wait_s = max(min(_LONGEST_S, poll_s * 2 ** min(failed, 6)), asked)
            LOG.warning("%s; again in %.0f s. Prefect's own page takes answers meanwhile", exc.message, wait_s)
        if not stop.is_set():
            service.answered.wait(wait_s)


def _both(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Messages are posted, too, while answers cannot come."""
    try:
        first()
    except CloudError:
        second()
        raise
    second()


def _bound(function: Callable[..., None], *arguments: object) -> Callable[[], None]:
    return lambda: function(*arguments)


def _errors(field: str, message: str) -> dict[str, Any]:
    return {"response_action": "errors", "errors": {field: message[:2000]}}
