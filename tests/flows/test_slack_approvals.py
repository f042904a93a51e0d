"""The service between Prefect and Slack, against a real Prefect and a Slack of our own."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from blocks import PostgresDatabase, SlackApprovals
from squizzle.approvals.messages import Kept
from squizzle.approvals.slack_client import Slack
from squizzle.approvals.slack_service import SlackApprovalService, serve
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.postgres.decisions import Answer, ApprovalRules, Entry
from squizzle.postgres.secret import Secret
from tasks.prefect_approvals import PrefectApprovals, open_approvals
from tests.flows.test_approve import TWO, a_run_that_asks, question, wait_for, waiting_of
from tests.support.processes import wait_until
from tests.support.slack import APP_TOKEN, BOT_TOKEN, LOST, PEOPLE, TICKET, FakeSlack, fake_slack

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("quick_gate")]


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with fake_slack() as running:
        yield running


@pytest.fixture
def prefect() -> Iterator[PrefectApprovals]:
    with open_approvals() as opened:
        yield opened


@contextmanager
def the_service(prefect: PrefectApprovals, slack: FakeSlack) -> Iterator[SlackApprovalService]:
    """Serves in another thread; ends as a signal would end it."""
    client = Slack(slack.settings)
    service = SlackApprovalService(prefect, client, PEOPLE)
    stop = threading.Event()

    def go_on() -> None:
        with client.listen(service.handle) as socket:
            serve(service, socket, stop, poll_s=0.1)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(go_on,))
    thread.start()
    try:
        yield service
    finally:
        stop.set()
        service.answered.set()
        thread.join()


def message_of(slack: FakeSlack, digest: str, *, at_least: int = 1) -> dict[str, object]:
    """The newest message about a plan, when there are so many."""

    def found() -> list[dict[str, object]]:
        return [one for one in list(slack.messages.values()) if digest[:12] in str(one["blocks"])]

    wait_until(lambda: len(found()) >= at_least, "it is posted")
    return found()[-1]


def is_settled(message: dict[str, object], words: str) -> Callable[[], bool]:
    return lambda: words in str(message["blocks"]) and "squizzle-answer" not in str(message["blocks"])


def test_two_people_approve_in_slack_and_a_stranger_a_wrong_name_and_an_old_button_do_nothing(
    database: PostgresDatabase, prefect: PrefectApprovals, slack: FakeSlack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    digest = question("in slack").digest
    with a_run_that_asks("in slack", database) as state, the_service(prefect, slack):
        first = message_of(slack, digest)
        wait_until(lambda: bool(slack.sockets), "the socket is connected")
        slack.press("approve", first, person="U0NOBODY")
        wait_until(lambda: bool(slack.told), "the stranger is told")
        assert slack.told[0][0] == "U0NOBODY"
        assert slack.forms == []

        slack.press("approve", first, person="U0ANNA01")
        wait_until(lambda: bool(slack.forms), "the form opens")
        form = slack.forms[-1]
        refused = slack.submit(form, person="U0ANNA01", typed_name="shop-test", reason="")
        assert "this is about 'shop'" in refused["errors"]["typed_name"]
        assert slack.submit(form, person="U0ANNA01", typed_name="shop", reason="looks <good>") == {}
        wait_until(is_settled(first, "Approved by anna at "), "the first message is settled")
        assert "looks &lt;good&gt;" in str(first["blocks"])

        second = message_of(slack, digest, at_least=2)
        # The form of the first question answers no second one, whoever sends it; nor does the same person.
        assert "asks again" in slack.submit(form, person="U0BEN001", typed_name="shop")["errors"]["reason"]
        slack.press("approve", second, person="U0ANNA01")
        wait_until(lambda: len(slack.told) == 2, "she is told")
        assert "has approved it already" in slack.told[1][1]
        slack.break_sockets()
        wait_until(lambda: bool(slack.sockets), "the socket is there again")
        slack.press("approve", second, person="U0BEN001")
        wait_until(lambda: len(slack.forms) == 2, "his form opens")
        assert slack.submit(slack.forms[-1], person="U0BEN001", typed_name="shop") == {}
        wait_until(is_settled(second, "Approved by ben at "), "the second message is settled")
    assert state["end"].result() == "ben"
    assert prefect.kept() == ()
    # The fake's own log apart.
    log = "\n".join(one.getMessage() for one in caplog.records if not one.name.startswith("websockets"))
    assert f"anna answered run {state['end'].state_details.flow_run_id}: approve" in log
    for secret in (BOT_TOKEN, APP_TOKEN, TICKET):
        assert secret not in log


def test_killed_anywhere_it_posts_once_and_what_is_answered_elsewhere_is_told(
    database: PostgresDatabase, prefect: PrefectApprovals, slack: FakeSlack
) -> None:
    digest = question("posted once").digest
    anybody = ApprovalRules()

    def sweep() -> None:
        # A new one each time, as after a kill.
        SlackApprovalService(prefect, Slack(slack.settings), PEOPLE).sweep()

    with a_run_that_asks("posted once", database, anybody) as state:
        waiting = wait_for(prefect, "posted once")
        slack.faults["chat.postMessage"] = [LOST]
        with pytest.raises(Exception, match=r"Slack does not answer chat\.postMessage"):
            sweep()
        sweep()
        sweep()
        message = message_of(slack, digest)
        assert len(slack.messages) == 1
        (kept,) = prefect.kept()
        assert (kept.timestamp, prefect.reserve(Kept.of(waiting))) == (message["ts"], False)

        prefect.answer(waiting, Entry(answer=Answer.REJECT, by="zed", comment="by the command line"))
        wait_until(lambda: not waiting_of(prefect, "posted once"), "it is answered")
        slack.faults["chat.update"] = [429]
        with pytest.raises(Exception, match=r"Slack is busy: chat\.update"):
            sweep()
        sweep()
        assert is_settled(message, "Rejected by zed at ")()
        assert prefect.kept() == ()
    with pytest.raises(RefusedError, match="by the command line"):
        state["end"].result()


def test_while_slack_is_down_prefect_takes_answers_and_afterwards_it_is_posted(
    database: PostgresDatabase, prefect: PrefectApprovals, slack: FakeSlack, caplog: pytest.LogCaptureFixture
) -> None:
    slack.down = True
    with a_run_that_asks("down", database) as state, the_service(prefect, slack):
        waiting = wait_for(prefect, "down")
        wait_until(lambda: slack.calls.count("chat.postMessage") >= 1, "it tries to post")
        prefect.answer(waiting, Entry(answer=Answer.APPROVE, by="anna", typed="shop"))
        second = wait_for(prefect, "down", approved_by=("anna",))
        slack.down = False
        message = message_of(slack, second.plan_digest)
        prefect.answer(second, Entry(answer=Answer.APPROVE, by="ben", typed="shop"))
        wait_until(is_settled(message, "Approved by ben"), "it is settled")
    assert state["end"].result() == "ben"
    assert "Prefect's own page takes answers meanwhile" in caplog.text


def test_a_token_that_slack_does_not_take_ends_the_service_and_a_block_says_the_same_as_the_file(
    prefect: PrefectApprovals, slack: FakeSlack
) -> None:
    block = SlackApprovals(
        channel="C0APPROVALS", bot_token=BOT_TOKEN, app_token="xapp-of-another-one", people=PEOPLE,
        api_url=slack.settings.api_url,
    )  # fmt: skip
    settings = block.settings()
    assert settings.bot_token == Secret(BOT_TOKEN)
    client = Slack(settings)
    service = SlackApprovalService(prefect, client, PEOPLE)
    with (
        client.listen(service.handle) as socket,
        pytest.raises(InvalidInputError, match="does not take the app's token: invalid_auth"),
    ):
        serve(service, socket, threading.Event())
    with pytest.raises(InvalidInputError, match="must be the id of a channel"):
        block.model_copy(update={"channel": "#ops"}).settings()
    assert TWO.two_people
