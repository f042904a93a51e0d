"""The flows of the remedies: nothing without a yes, then exactly what was approved."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from blocks import PostgresDatabase
from flows.release_locks import release_locks
from flows.relieve_load import relieve_load
from squizzle.errors import RefusedError
from squizzle.health.ending import EndState
from squizzle.health.release import Release
from squizzle.health.relief import Relief
from squizzle.postgres.access import Connection, ServerAccess, connect, server_pid
from tests.flows.conftest import artifacts_of, somebody_answers
from tests.support.processes import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def forgotten(access: ServerAccess, new_database: str) -> Iterator[Connection]:
    """Somebody who locked a table and went for lunch, while others wait."""
    role = f"app_{secrets.token_hex(3)}"
    with connect(access, new_database, purpose="test") as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")
        owner.execute(f"CREATE TABLE orders (id int); ALTER TABLE orders OWNER TO {role}")
        as_role = replace(access, user=role)
        holder, waiter = (connect(as_role, new_database, purpose="test") for _ in range(2))
        holder.execute("SET application_name = 'psql'")
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE orders")
        waiter.pgconn.send_query(b"SELECT count(*) FROM orders")
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = %s)"
        pid = waiter.info.backend_pid
        wait_until(lambda: owner.execute(waits, (pid,)).fetchone() == (True,), "the reader waits")
        yield holder
        holder.close()
        waiter.close()
        owner.execute(f"DROP TABLE orders; DROP ROLE {role}")


@pytest.mark.usefixtures("quick_gate")
def test_nobody_is_ended_before_a_person_approved_that_plan(
    database: PostgresDatabase, new_database: str, forgotten: Connection
) -> None:
    at_once = {"database": database, "idle_minutes": 0, "waiting_seconds": 0}
    pid = server_pid(forgotten)
    forgotten.execute("SELECT 1")
    key = f"locks-{new_database.replace('_', '-')}"

    dry = release_locks(**at_once, return_state=True)

    assert dry.is_completed(), dry.message
    text = str(artifacts_of(dry.state_details.flow_run_id)[key].data)
    assert f"# Locks of {new_database}: dry run" in text
    assert f"**end its connection**: session {pid} (psql" in text
    assert "└ session" in text
    name = f"release locks of {new_database}"
    with somebody_answers(name, {"decision": "reject", "approver": "ben", "comment": "it is mine"}):
        rejected = release_locks(**at_once, dry_run=False, return_state=True)
    with pytest.raises(RefusedError, match="rejected by ben"):
        rejected.result()
    assert server_pid(forgotten) == pid

    # It did something since, so this is another plan, and somebody is asked again.
    with somebody_answers(name, {"decision": "approve", "approver": "anna", "comment": ""}):
        done = release_locks(**at_once, dry_run=False, return_state=True)

    assert done.is_completed(), done.message
    released = done.result()
    assert isinstance(released, Release)
    assert [one.state for one in released.ended] == [EndState.ENDED]
    found = artifacts_of(done.state_details.flow_run_id)
    assert set(found) == {"release-progress", "approval-release-locks", key}
    assert "its connection was ended" in str(found[key].data)
    assert f"End 1 sessions in {new_database}" in str(found["approval-release-locks"].data)
    password = database.password.get_secret_value()
    assert all(password not in str(one.data) for one in found.values())


@pytest.mark.usefixtures("quick_gate")
def test_the_worst_table_is_cleaned_after_a_yes_and_not_in_a_dry_run(
    database: PostgresDatabase, new_database: str, access: ServerAccess
) -> None:
    with connect(access, new_database, purpose="test") as owner:
        owner.execute("CREATE TABLE worn (n int) WITH (autovacuum_enabled = false)")
        owner.execute("INSERT INTO worn SELECT generate_series(1, 2000)")
        owner.execute("UPDATE worn SET n = 1")
    key = f"load-{new_database.replace('_', '-')}"

    dry = relieve_load(database=database, reset_statistics=True, return_state=True)
    with somebody_answers(f"relieve {new_database}", {"decision": "approve", "approver": "anna", "comment": ""}):
        done = relieve_load(database=database, dry_run=False, return_state=True)

    assert dry.is_completed(), dry.message
    planned = dry.result()
    assert isinstance(planned, Relief)
    assert planned.cleaned == ()
    text = str(artifacts_of(dry.state_details.flow_run_id)[key].data)
    assert "- `public.worn`: 2,000 dead rows, 50%" in text
    assert "autovacuum forgets which tables have dead or changed rows" in text
    assert done.is_completed(), done.message
    relief = done.result()
    assert isinstance(relief, Relief)
    assert [(str(one.before), one.problem) for one in relief.cleaned] == [("public.worn", "")]
    assert "Clean 1 tables in" in str(artifacts_of(done.state_details.flow_run_id)["approval-relieve-load"].data)
