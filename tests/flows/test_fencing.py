"""The blocks of fences keep their secrets, and the steps of a recovery shut and open with them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import pytest
from prefect import flow
from prefect.blocks.fields import SecretDict
from psycopg import sql
from pydantic import SecretStr

from blocks import CommandFence, KubernetesApplication, PgBouncer, PostgresDatabase
from squizzle.postgres.access import ServerAccess
from squizzle.recovery.evidence import Step
from squizzle.recovery.fence import control_session, is_fenced
from tasks.fencing import put_up_fences, take_down_fences
from tasks.steps import keep_journal
from tests.support.kubernetes_api import NAMESPACE, TOKEN, kubernetes_api
from tests.support.pgbouncer import PROGRAM, pgbouncer
from tests.support.scratch import new_database

Application = KubernetesApplication | PgBouncer | CommandFence


@flow(persist_result=False)
def fence_for_a_while(database: PostgresDatabase, applications: Sequence[Application]) -> tuple[bool, tuple[Step, ...]]:
    with keep_journal() as journal:
        put_up_fences(database, applications, holder="recovery", reason="a test")
        with control_session(database.access(), purpose="test") as control:
            was_shut = is_fenced(control, database.database)
        take_down_fences(database, applications, holder="recovery")
        return was_shut, journal.steps


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
def test_a_recovery_shuts_and_opens_what_saved_blocks_say(
    server_block: PostgresDatabase, access: ServerAccess, tmp_path: Path
) -> None:
    queue = tmp_path / "queue"
    with (
        kubernetes_api() as api,
        pgbouncer(access, "transaction", auth_type="md5", password="Planted-pool-3d") as reached,
        control_session(access, purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0")) as name,
    ):
        web = api.workload("web", 2, lag=0, grace=1)
        blocks: list[Application] = [
            KubernetesApplication(namespace=NAMESPACE, name="web", kubeconfig=SecretStr(api.kubeconfig)),
            PgBouncer(
                host=reached.host,
                port=reached.port or 0,
                database=name,
                user=reached.user,
                password=SecretStr("Planted-pool-3d"),
            ),
            CommandFence(
                thing="queue",
                close=["cp", "/proc/self/environ", str(queue)],
                reopen=["rm", str(queue)],
                environment=SecretDict({"QUEUE_TOKEN": "Planted-queue-88"}),
            ),
        ]
        saved: list[Application] = []
        for block in blocks:
            slot = f"fence-{secrets.token_hex(3)}"
            block.save(slot)
            saved.append(type(block).load(slot))

        database = server_block.model_copy(update={"database": name})
        was_shut, (first, second) = fence_for_a_while(database, saved)

        assert was_shut
        assert "kubernetes deployment shop/web fenced (2 replicas before)" in first.detail
        assert f"pgbouncer {reached.host}:6432/{name} fenced (clients wait" in first.detail
        assert f"database {name} open" in second.detail
        assert (web.replicas, queue.exists(), is_fenced(control, name)) == (2, False, False)
        shown = f"{saved!r} {[block.model_dump_json() for block in saved]} {first} {second}"
        for secret in (TOKEN, "Planted-pool-3d", "Planted-queue-88"):
            assert secret not in shown


@pytest.mark.parametrize("block", [KubernetesApplication, PgBouncer, CommandFence])
def test_every_field_of_the_forms_is_explained(block: type[Application]) -> None:
    assert all(field.title for field in block.model_fields.values())
    assert {name for name, field in block.model_fields.items() if not field.description} <= {"port"}
