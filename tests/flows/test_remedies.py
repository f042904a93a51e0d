"""The flows of the remedies: nothing without a yes, then exactly what was approved."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from blocks import PostgresDatabase
from flows.pause_triggers import pause_triggers
from flows.release_locks import release_locks
from flows.relieve_load import relieve_load
from flows.undo_wrong_environment import undo_wrong_environment
from squizzle.errors import RefusedError
from squizzle.health.ending import EndState
from squizzle.health.release import Release
from squizzle.health.relief import Relief
from squizzle.health.trigger_plan import plan_pause
from squizzle.health.triggers import find_table, pause, read_triggers
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection, ServerAccess, connect, server_pid
from tests.flows.conftest import artifacts_of, block_of, somebody_answers
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
    assert f"End 1 session in {new_database}" in str(found["approval-release-locks"].data)
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
    with connect(access, new_database, purpose="test") as owner:
        owner.execute("DROP TABLE worn")

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
    assert "Clean 1 table in" in str(artifacts_of(done.state_details.flow_run_id)["approval-relieve-load"].data)


@pytest.mark.usefixtures("quick_gate")
def test_triggers_are_off_until_the_time_has_passed_and_what_a_killed_run_left_is_put_back_first(
    database: PostgresDatabase, new_database: str, access: ServerAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.triggers._LOOK_AGAIN_S", 0.05)
    wanted = {"database": database, "table": "child", "reason": "import", "foreign_keys": True}
    key = f"triggers-{new_database.replace('_', '-')}"
    states = "SELECT string_agg(DISTINCT tgenabled, '') FROM pg_trigger WHERE tgrelid IN ('child'::regclass, 'parent'::regclass)"
    with connect(access, new_database, purpose="test") as owner:
        owner.execute("CREATE TABLE parent (id int PRIMARY KEY)")
        owner.execute("CREATE TABLE child (id int CONSTRAINT k REFERENCES parent)")
        # As a run that was killed leaves it.
        place = find_table(owner, "public", "parent")
        meant = {"foreign_keys": True, "duration": timedelta(hours=1), "why": "killed", "is_superuser": True}
        left = plan_pause(read_triggers(owner, place[2]), place, (), **meant)
        pause(owner, database.target(), left, by="killed run", on_wait=str)
        owner.execute("UPDATE squizzle.paused_trigger SET until = now()")

        dry = pause_triggers(**wanted, return_state=True)
        assert owner.execute(states).fetchone() == ("DO",)
        with somebody_answers(f"pause triggers of child of {new_database}", APPROVED), meanwhile(access, new_database):
            done = pause_triggers(**wanted, dry_run=False, return_state=True)

        assert owner.execute(states).fetchone() == ("O",)
        owner.execute("DROP TABLE child, parent; DROP TABLE squizzle.paused_trigger")
    assert dry.is_completed(), dry.message
    text = str(artifacts_of(dry.state_details.flow_run_id)[key].data)
    assert "public.child may refer to rows that public.parent does not have" in text
    assert "switched off by killed run" in text
    assert done.is_failed()
    assert done.message == "k from public.child to public.parent: 1 rows break it: (id) = (7)"
    text = str(artifacts_of(done.state_details.flow_run_id)[key].data)
    assert "Left off by an earlier run, put back first" in text
    assert "k of public.child on public.child is on again; it was off" in text


APPROVED = {"decision": "approve", "approver": "anna", "comment": ""}


@contextmanager
def meanwhile(access: ServerAccess, database: str) -> Iterator[None]:
    """As soon as the key of `child` is off somebody breaks it; then the time has passed."""

    def work() -> None:
        off = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'child'::regclass AND tgenabled = 'D')"
        with connect(access, database, purpose="test") as writer:
            wait_until(lambda: writer.execute(off).fetchone() == (True,), "the key is off")
            writer.execute("INSERT INTO child VALUES (7)")
            writer.execute("UPDATE squizzle.paused_trigger SET until = now()")

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        yield
        working.result()


@pytest.mark.usefixtures("quick_gate")
def test_a_version_in_the_wrong_database_is_taken_back_and_applied_to_the_right_one_each_after_a_yes(
    database: PostgresDatabase, server_block: PostgresDatabase, access: ServerAccess, tmp_path: Path
) -> None:
    (tmp_path / "squizzle.toml").touch()
    for version, up in (("0001", "CREATE TABLE base (a int)"), ("0002", "CREATE TABLE extra (a int)")):
        folder = tmp_path / "migrations" / f"{version}_change"
        folder.mkdir(parents=True)
        (folder / "up.sql").write_text(up)
    migrations = read_migrations(tmp_path / "migrations")
    name = f"meant_{secrets.token_hex(3)}"
    with (
        connect(access, "postgres", purpose="test") as control,
        connect(access, database.database, purpose="test") as there,
    ):
        control.execute(f"CREATE DATABASE {name}")
        right = block_of(server_block, name)
        apply_versions(there, database.target(), migrations)
        with connect(access, name, purpose="test") as here:
            apply_versions(here, right.target(), migrations, to="0001")
            both = {"wrong": database, "right": right, "project": str(tmp_path)}
            yes = {"decision": "approve", "approver": "anna", "comment": ""}

            dry = undo_wrong_environment(**both, versions=("0002",), return_state=True)
            assert dry.is_completed(), dry.message
            assert relations(there) == {"base", "extra"}
            with somebody_answers(f"meant for {name}", yes, again=yes):
                done = undo_wrong_environment(**both, versions=("0002",), dry_run=False, return_state=True)

            assert done.is_completed(), done.message
            assert (relations(there), relations(here)) == ({"base"}, {"base", "extra"})
        control.execute(f"DROP DATABASE {name} WITH (FORCE)")
    text = str(artifacts_of(done.state_details.flow_run_id)[f"mishap-{database.database.replace('_', '-')}"].data)
    assert "DROP TABLE" in text
    assert f"## Applied to {name}\n\n0002" in text


def relations(connection: Connection) -> set[str]:
    query = "SELECT tablename FROM pg_tables WHERE tablename IN ('base', 'extra')"
    return {row[0] for row in connection.execute(query)}
