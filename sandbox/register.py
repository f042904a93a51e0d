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
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
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
from blocks.fleet import DatabasesOfFleet, ServerOfFleet
from sandbox.fleet import CONSOLE_VARIABLE, ENVIRONMENT, FLEET, LIKE, FleetFolder
from sandbox.stack import PLAYGROUND, POOL, STATE_VARIABLE, Stack
from squizzle.postgres.access import CONTROL_DATABASE
from squizzle.severity import Severity
from tasks.watchdogs import Watched, has_watchdogs, set_watchdogs

NAME = "sandbox"
_EVERYTHING = {severity.value: ["console"] for severity in Severity}


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
    WebhookNotifications(url=SecretStr(os.environ[CONSOLE_VARIABLE])).save(NAME, overwrite=True)
    Notifier(channels={"console": f"webhook-notifications/{NAME}"}, **_EVERYTHING).save(NAME, overwrite=True)
    Fleet(
        fleet=FLEET,
        environment=ENVIRONMENT,
        servers=[ServerOfFleet(name="main", block=NAME)],
        databases=DatabasesOfFleet(like=LIKE),
    ).save(FLEET, overwrite=True)
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        # Nobody is told until somebody says who: `squizzle watchdogs --notify`. What was chosen then stays.
        if not has_watchdogs(client):
            set_watchdogs(client, Watched())


def deploy() -> None:
    """Deploy everything in prefect.yaml by Prefect's own command; ends this process where that fails."""
    sys.argv = ["prefect", "--no-prompt", "deploy", "--all"]
    try:
        runpy.run_module("prefect", run_name="__main__", alter_sys=True)
    except SystemExit as exc:
        if exc.code:
            raise


def fill_in_forms(shops: FleetFolder) -> None:
    """Forms that ask for a fleet begin with the shops, and its sweeps go on by themselves."""
    about = {"fleet": FLEET, "configuration": str(shops.settings)}
    with get_client(sync_client=True) as client:
        rollout = client.read_deployment_by_name("roll-out/rollout")
        # Its stages are watched for seconds, not for hours.
        filled = {**rollout.parameters, **about, "stages": str(shops.stages), "watching": {"watch_every_s": 5}}
        client.update_deployment(rollout.id, DeploymentUpdate(parameters=filled))
        for name in ("sweep-health/health", "auto-recover/auto-recover", "write-postmortem/write-postmortem"):
            other = client.read_deployment_by_name(name)
            client.update_deployment(other.id, DeploymentUpdate(parameters={**other.parameters, **about}))
        health = client.read_deployment_by_name("sweep-health/health")
        for schedule in health.schedules:
            client.update_deployment_schedule(health.id, schedule.id, active=True)


if __name__ == "__main__":
    # A few seconds, and what is loaded stays: nothing to look for garbage in, neither meanwhile nor at the end.
    gc.disable()
    gc.freeze()
    ours = Stack(Path(os.environ[STATE_VARIABLE]))
    register(ours)
    deploy()
    fill_in_forms(ours.shops)
