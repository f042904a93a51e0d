"""What is outside of PostgreSQL and has secrets of its own: RDS, Kubernetes, a program of the user's, Slack."""

from __future__ import annotations

import contextvars
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prefect.blocks.fields import SecretDict
from pydantic import SecretStr

from blocks import (
    BackupBucket,
    BackupFolder,
    CommandFence,
    KubernetesApplication,
    PostgresDatabase,
    RdsInstance,
    SlackApprovals,
)
from flows.back_up import back_up
from flows.recover import recover
from squizzle.approvals.slack_client import Slack
from squizzle.approvals.slack_service import SlackApprovalService, serve
from squizzle.errors import InvalidInputError
from tasks.prefect_approvals import open_approvals
from tests.support.kubernetes_api import NAMESPACE, kubernetes_api
from tests.support.leaks import Planted
from tests.support.processes import wait_until
from tests.support.rds_service import Instance, rds_service
from tests.support.slack import CHANNEL, PEOPLE, FakeSlack, fake_slack
from tests.support.town import Town

FENCE = "test -n fenced"
"""The program of the user's, which gets a secret of its own by its environment, besides all that ours has."""


def saved(block: Any, *, name: str = "planted") -> Any:
    """The block as a flow gets it."""
    name = f"{name}-{secrets.token_hex(3)}"
    block.save(name)
    return type(block).load(name)


def with_the_world_outside(
    planted: Planted, town: Town, database: PostgresDatabase, store: BackupFolder | BackupBucket
) -> list[object]:
    """A snapshot by RDS, and a recovery that fences with Kubernetes and asks in Slack; each fails once, too."""
    given = {"database": database, "store": store, "return_state": True}
    with town.session(0) as session:
        version = session.info.server_version
        results = snapshots_of(planted, given, f"{version // 10000}.{version % 10000}")
        assert back_up(**given).is_completed()
        session.execute("DELETE FROM goods WHERE id > 1; INSERT INTO goods (id) VALUES (4)")
    with kubernetes_api() as cluster, fake_slack() as slack:
        cluster.token = planted.secret("Kubernetes")
        web = cluster.workload("web", 2, lag=0, grace=1)
        application = KubernetesApplication(namespace=NAMESPACE, name="web", kubeconfig=SecretStr(cluster.kubeconfig))
        hidden = SecretDict({"QUEUE_TOKEN": planted.secret("Fence")})
        queue = CommandFence(thing="queue", close=FENCE.split(" "), reopen=FENCE.split(" "), environment=hidden)
        given |= {"dry_run": False, "kubernetes": [saved(application)], "commands": [saved(queue)]}
        results += asked_in_slack(planted, slack, given, database.database)
        assert web.replicas == 2
        with town.session(0) as session:
            session.execute("DELETE FROM goods WHERE id > 1")
        cluster.token = "another one"
        results.append(recover(**given, may_lose_data=True))
        assert results[-1].is_failed()  # type: ignore[attr-defined]
    return results


def snapshots_of(planted: Planted, given: dict[str, Any], version: str) -> list[object]:
    with rds_service() as cloud:
        cloud.instances["shop"] = Instance(identifier="shop", resource_id="db-SHOP", version=version)
        cloud.snapshot_takes_s = 0.0
        block = RdsInstance(
            instance="shop",
            region="eu-central-1",
            endpoint=cloud.address,
            access_key="k",
            secret_key=SecretStr(planted.secret("Rds")),
            session_token=SecretStr(planted.secret("RdsSession")),
        )
        gone = block.model_copy(update={"instance": "gone"})
        taken, failed = (back_up(**given, kind="rds", rds=saved(one)) for one in (block, gone))
    assert (taken.is_completed(), failed.is_failed()) == (True, True), (taken.message, failed.message)
    return [taken, taken.result(), failed]


def asked_in_slack(planted: Planted, slack: FakeSlack, given: dict[str, Any], database: str) -> list[object]:
    """A recovery that may lose something, and whose yes comes by Slack; with a wrong token before."""
    slack.bot_token, slack.app_token = planted.secret("SlackBot"), planted.secret("SlackApp")
    slack.ticket = planted.secret("SlackSocket")
    block = SlackApprovals(
        channel=CHANNEL,
        bot_token=SecretStr(slack.bot_token),
        app_token=SecretStr(slack.app_token),
        people=PEOPLE,
        api_url=slack.settings.api_url,
    )
    wrong = block.model_copy(update={"app_token": SecretStr(planted.secret("WrongSlackApp"))})
    with (
        pytest.raises(InvalidInputError) as refused,
        Slack(saved(wrong).settings()).listen(lambda _: None) as socket,  # type: ignore[arg-type, return-value]
    ):
        socket.connect()
    with approved_in_slack(slack, saved(block), database):
        done = recover(**given)
    assert done.is_completed(), done.message
    return [refused.value, done, done.result()]


@contextmanager
def approved_in_slack(slack: FakeSlack, block: SlackApprovals, name: str) -> Iterator[None]:
    """The service runs, and somebody says yes to the first question."""
    stop = threading.Event()
    with open_approvals() as prefect:
        client = Slack(block.settings())
        service = SlackApprovalService(prefect, client, PEOPLE)

        def go_on() -> None:
            with client.listen(service.handle) as socket:
                serve(service, socket, stop, poll_s=0.1)

        def say_yes() -> None:
            wait_until(lambda: bool(slack.messages and slack.sockets), "it asks in Slack")
            slack.press("approve", next(iter(slack.messages.values())), person="U0ANNA01")
            wait_until(lambda: bool(slack.forms), "the form opens")
            assert slack.submit(slack.forms[-1], person="U0ANNA01", typed_name=name, reason="seen") == {}

        context = contextvars.copy_context()
        threads = [threading.Thread(target=context.copy().run, args=(one,)) for one in (go_on, say_yes)]
        for one in threads:
            one.start()
        try:
            yield
        finally:
            threads[1].join()
            stop.set()
            service.answered.set()
            threads[0].join()
