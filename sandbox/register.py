"""Registers the block types, saves the sandbox's blocks, creates the work pool, deploys the flows. Safe to repeat.

In one process: to start Prefect takes longer than each of these.
"""

from __future__ import annotations

import contextlib
import gc
import os
import runpy
import sys
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from pydantic import SecretStr

from blocks import (
    BackupBucket,
    BackupFolder,
    CommandFence,
    Fleet,
    KubernetesApplication,
    MailNotifications,
    Notifier,
    PagerDutyNotifications,
    PgBouncer,
    PostgresDatabase,
    RdsInstance,
    SesNotifications,
    SlackApprovals,
    SlackNotifications,
    SnsNotifications,
    WebhookNotifications,
)
from sandbox.stack import PLAYGROUND, POOL, STATE_VARIABLE, Stack
from squizzle.postgres.access import CONTROL_DATABASE
from tasks.watchdogs import Watched, has_watchdogs, set_watchdogs

NAME = "sandbox"


def register(stack: Stack) -> None:
    """Make Prefect know our block types and where the sandbox is."""
    for block in (
        PostgresDatabase,
        BackupFolder,
        BackupBucket,
        RdsInstance,
        KubernetesApplication,
        PgBouncer,
        CommandFence,
        SlackApprovals,
        MailNotifications,
        Notifier,
        PagerDutyNotifications,
        SesNotifications,
        SlackNotifications,
        SnsNotifications,
        WebhookNotifications,
        Fleet,
    ):
        block.register_type_and_schema()
    target = stack.target()
    # The server, to play drills on, and a database of its own, to break and to recover.
    for name, database in ((NAME, CONTROL_DATABASE), (PLAYGROUND, PLAYGROUND)):
        PostgresDatabase(
            host=target.host,
            port=target.port,
            database=database,
            user=target.user,
            password=SecretStr(target.read_password()),
            environment=NAME,
        ).save(name, overwrite=True)
    BackupFolder(path=stack.state / "backups").save(NAME, overwrite=True)
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        # Nobody is told until somebody says who: `squizzle watchdogs --notify`. What was chosen then stays.
        if not has_watchdogs(client):
            set_watchdogs(client, Watched())


def deploy() -> None:
    """Deploy everything in prefect.yaml by Prefect's own command; ends this process with its exit code."""
    sys.argv = ["prefect", "--no-prompt", "deploy", "--all"]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    # A few seconds, and what is loaded stays: nothing to look for garbage in, neither meanwhile nor at the end.
    gc.disable()
    gc.freeze()
    register(Stack(Path(os.environ[STATE_VARIABLE])))
    deploy()
