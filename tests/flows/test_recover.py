"""The recovery flow: it says success only after it has compared, goes on when a way fails, and never lies at the end."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL
from prefect.states import State
from psycopg import sql

from blocks import BackupFolder, CommandFence, PostgresDatabase
from flows.back_up import back_up
from flows.recover import recover
from squizzle.backups.change_log.switching import enable
from squizzle.errors import LockTimeoutError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.recovery.assess import Disaster
from squizzle.recovery.disasters import flip_byte
from squizzle.recovery.fence import control_session, is_fenced, session_through_fence, unfence
from squizzle.recovery.prepared_copy import make_copy
from squizzle.recovery.recovery import RecoveryOutcome, RecoveryReport
from squizzle.recovery.salvage.merging import merge_rows
from squizzle.recovery.single_flight import recovering_alone
from squizzle.recovery.ways import Way
from tasks.outcome import report_of
from tasks.steps import now
from tests.flows.conftest import artifacts_of, somebody_answers
from tests.support.names import databases
from tests.support.scratch import drop_databases

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("quick_gate")]

YES = {"decision": "approve", "approver": "anna", "comment": "go"}
NO = {"decision": "reject", "approver": "ben", "comment": "ask the owner first"}
DROPS = "DELETE FROM account WHERE id <= 400"
BRINGS_BACK = "INSERT INTO account (id, owner) SELECT n, 'o' || n FROM generate_series(1, 400) AS n"


KILLED = """
import os, sys
import flows.recover, flows.ways_back
from blocks import BackupFolder, CommandFence, PostgresDatabase
flows.ways_back.verify_swapped = lambda *_: os.kill(os.getpid(), 9)
flows.recover.recover(
    database=PostgresDatabase.load(sys.argv[1]),
    store=BackupFolder.load(sys.argv[2]),
    commands=[CommandFence.load(sys.argv[3])],
    dry_run=False,
    may_lose_data=True,
)
"""


@pytest.fixture
def shop(access: ServerAccess) -> Iterator[str]:
    """Two tables with rows."""
    name = f"shop_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with connect(access, name, purpose="test") as session:
            session.execute("CREATE TABLE account (id serial PRIMARY KEY, owner text)")
            session.execute("INSERT INTO account (owner) SELECT 'o' || n FROM generate_series(1, 1000) AS n")
        yield name
        drop_databases(control, name)


@pytest.fixture
def database(server_block: PostgresDatabase, shop: str) -> PostgresDatabase:
    name = f"shop-{secrets.token_hex(3)}"
    server_block.model_copy(update={"database": shop}).save(name)
    return PostgresDatabase.load(name)


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A folder whose one migration is applied after the backup; tests write its scripts."""
    folder = tmp_path / "migrations" / "0001_change"
    folder.mkdir(parents=True)
    return folder.parent


def apply_disaster(access: ServerAccess, shop: str, folder: Path, *, up: str, down: str | None) -> None:
    place = folder / "0001_change"
    (place / "up.sql").write_text(up)
    if down is not None:
        (place / "down.sql").write_text(down)
    target = Target(database=shop, expected=ExpectedIdentity(environment="testing"))
    with connect(access, shop, purpose="migration") as session:
        apply_versions(session, target, read_migrations(folder))


def rows(access: ServerAccess, name: str) -> tuple[int, int | None]:
    with session_through_fence(access, name, purpose="test") as session:
        found = session.execute("SELECT count(*), max(id) FROM account").fetchone()
    assert found is not None
    return found[0], found[1]


def recovery_of(state: State[Any]) -> RecoveryReport:
    report = report_of(state)
    assert isinstance(report, RecoveryReport), report
    return report


def test_down_scripts_are_tried_first_and_a_restore_follows_when_they_do_not_bring_the_rows_back(
    access: ServerAccess, database: PostgresDatabase, store_block: BackupFolder, migrations: Path, reports_folder: Path
) -> None:
    shop = database.database
    backup = back_up(database=database, store=store_block)
    with connect(access, shop, purpose="test") as session:
        session.execute("INSERT INTO account (owner) VALUES ('after the backup'), ('and another')")
    apply_disaster(access, shop, migrations, up=DROPS, down="SELECT 1")

    with somebody_answers(f"recover {shop} in testing", YES):
        state = recover(
            database=database, store=store_block, dry_run=False, migrations=str(migrations), return_state=True
        )

    assert state.is_completed(), state.message
    done = [step.title for step in recovery_of(state).steps]
    assert done.index("Verify the recovered database") < done.index("Unfence database and applications")
    asked = str(artifacts_of(state.state_details.flow_run_id)["approval-recover"].data)
    assert f"restore beside, `{backup.id}`" in asked
    assert "- public.account: 398 rows fewer than the 1,000 of the backup" in asked
    assert "roll back (`0001`) is not possible: it was tried: the down script ran and did not bring" in asked
    report = recovery_of(state)
    evidence = report.evidence
    assert report.outcome is RecoveryOutcome.RECOVERED
    assert [one.way for one in evidence.decisions] == [Way.ROLL_BACK, Way.RESTORE_BESIDE]
    assert "did not bring the data back" in evidence.failed[0]
    assert evidence.assessment is not None
    assert evidence.assessment.disasters == (Disaster.DATA_LOSS,)
    assert not report.fenced
    assert rows(access, shop) == (1000, 1000)
    assert rows(access, evidence.kept_as) == (602, 1002)
    # Numbers that were given out are not given out again, and the rows behind them can come back.
    assert evidence.salvage is not None
    assert evidence.salvage.rows_at_risk == 2
    with connect(access, shop, purpose="test") as session:
        assert session.execute("SELECT nextval('account_id_seq')").fetchone() == (1003,)
        assert merge_rows(session, None).conflicts == ()
    assert rows(access, shop) == (1002, 1002)
    text = next(reports_folder.glob("recovery-*.md")).read_text()
    assert f"by restore beside: every table has the rows of backup {backup.id}" in text
    assert "| restore beside |" in text
    assert re.search(r"letting clients in again; [0-9.]+ s of it for an answer", text)
    assert "2 rows are only in the damaged database" in text


def test_a_down_script_that_brings_everything_back_loses_nothing(
    access: ServerAccess, database: PostgresDatabase, store_block: BackupFolder, migrations: Path
) -> None:
    shop = database.database
    back_up(database=database, store=store_block)
    with connect(access, shop, purpose="test") as session:
        session.execute("INSERT INTO account (owner) VALUES ('after the backup')")
    apply_disaster(access, shop, migrations, up=DROPS, down=BRINGS_BACK)

    report = recovery_of(
        recover(database=database, store=store_block, dry_run=False, migrations=str(migrations), return_state=True)
    )

    assert report.outcome is RecoveryOutcome.RECOVERED, report.reasons
    assert report.evidence.decisions[-1].way is Way.ROLL_BACK
    assert "is there as it was, 1 were written since" in report.reasons[0]
    with control_session(access, purpose="test") as control:
        assert databases(control, shop) == {shop}
    assert (report.evidence.kept_as, report.fenced) == ("", False)
    assert rows(access, shop) == (1001, 1001)


def test_a_down_script_that_brings_back_other_rows_is_no_success_and_the_change_log_has_the_right_ones(
    access: ServerAccess, database: PostgresDatabase, store_block: BackupFolder, migrations: Path
) -> None:
    shop = database.database
    with connect(access, shop, purpose="test") as session:
        enable(session, Target(database=shop), (("public", "account"),), on_wait=print)
    back_up(database=database, store=store_block)
    other = BRINGS_BACK.replace("'o' || n", "'somebody else'")
    apply_disaster(access, shop, migrations, up=DROPS, down=other)
    with connect(access, shop, purpose="test") as session:
        session.execute("INSERT INTO account (owner) VALUES ('a client, later')")

    run = partial(recover, database=database, store=store_block, dry_run=False, migrations=str(migrations))
    report = recovery_of(run(approval_minutes=1, return_state=True))

    assert report.outcome is RecoveryOutcome.RECOVERED, report.reasons
    assert [one.way for one in report.evidence.decisions] == [Way.ROLL_BACK, Way.UNDO]
    assert "0 rows of the backup are gone, 400 are others" in report.evidence.failed[0]
    (tried,) = [one.detail for one in report.steps if one.title == "Try the down script"]
    assert tried.startswith("no row is missing; whether those of 1 table are the right ones is not known")
    assert report.reasons[0].startswith("by undo: 400 rows in 1 table are as the change log had them before 2 trans")
    assert (report.fenced, report.evidence.kept_as) == (False, "")
    with connect(access, shop, purpose="test") as session:
        # What was right is back, and nobody lost anything.
        assert session.execute("SELECT count(*) FROM account WHERE owner = 'o' || id").fetchone() == (1000,)
        assert session.execute("SELECT count(*) FROM account").fetchone() == (1001,)


def stopped_by_a_file(shop: str, folder: Path) -> tuple[Path, CommandFence]:
    """A saved fence around a queue, and the file that is there while it is shut."""
    queue = folder / "queue is stopped"
    fence = CommandFence(thing=f"queue of {shop}", close=["touch", str(queue)], reopen=["rm", str(queue)])
    fence.save(f"queue-{secrets.token_hex(3)}")
    return queue, fence


def test_a_run_killed_after_the_swap_of_a_prepared_copy_is_finished_by_the_next(
    access: ServerAccess, database: PostgresDatabase, store_block: BackupFolder, tmp_path: Path, project_root: Path
) -> None:
    shop = database.database
    queue, fence = stopped_by_a_file(shop, tmp_path)
    back_up(database=database, store=store_block)
    with connect(access, shop, purpose="test") as session:
        session.execute("INSERT INTO account (owner) VALUES ('after the backup')")
        copy = make_copy(access, shop, now=now()).copy
    with connect(access, shop, purpose="test") as session:
        session.execute("SELECT nextval('account_id_seq')")
        session.execute("TRUNCATE account")
    names = [one._block_document_name or "" for one in (database, store_block, fence)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *names],
        cwd=project_root,
        env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
        check=False,
        capture_output=True,
    )
    assert done.returncode == -9, done.stderr.decode()
    with control_session(access, purpose="test") as control:
        assert (is_fenced(control, shop), queue.exists()) == (True, True)
        assert copy.name not in databases(control, shop)

        run = partial(recover, database=database, store=store_block, commands=[fence], dry_run=False)
        report = recovery_of(run(return_state=True))

        assert report.outcome is RecoveryOutcome.RECOVERED, report.reasons
        assert report.reasons[0].startswith("by an earlier run of this recovery: every row is as it was when ")
        assert databases(control, shop) == {shop, report.evidence.kept_as}
        assert (is_fenced(control, shop), queue.exists()) == (False, False)
    assert rows(access, shop) == (1001, 1001)
    assert [one.after for one in report.evidence.sequences] == [1002]
    with connect(access, shop, purpose="test") as session:
        assert session.execute("SELECT to_regclass('squizzle.prepared_copy') IS NULL").fetchone() == (True,)


def test_a_no_keeps_everything_shut_until_somebody_says_otherwise(
    access: ServerAccess, database: PostgresDatabase, store_block: BackupFolder, tmp_path: Path, reports_folder: Path
) -> None:
    shop = database.database
    queue, fence = stopped_by_a_file(shop, tmp_path)
    back_up(database=database, store=store_block)
    with connect(access, shop, purpose="test") as session:
        session.execute("TRUNCATE account")
    run = partial(recover, database=database, store=store_block, commands=[fence], return_state=True)
    # What a form sends: references, in the list as well.
    blocks = {"database": database, "store": store_block, "commands": fence}
    sent = {name: {"$ref": {"block_document_id": str(one._block_document_id)}} for name, one in blocks.items()}
    given = recover.validate_parameters({**sent, "commands": [sent["commands"]]})
    assert given["commands"][0]._block_document_id == fence._block_document_id

    planned = recovery_of(run())
    assert planned.outcome is RecoveryOutcome.PLANNED
    assert any("restore beside loses what was written" in one for one in planned.reasons)
    with control_session(access, purpose="test") as control:
        assert (is_fenced(control, shop), queue.exists()) == (False, False)

        with somebody_answers(f"recover {shop} in testing", NO):
            state = run(dry_run=False)
        # The no stands for this way of this recovery: nobody is asked again.
        again = run(dry_run=False, approval_minutes=1)

        for one in (state, again):
            assert one.is_failed()
            report = recovery_of(one)
            assert report.outcome is RecoveryOutcome.REFUSED
            assert "rejected by ben at " in report.reasons[0]
            assert report.reasons[0].endswith(": ask the owner first")
            assert (report.fenced, is_fenced(control, shop), queue.exists()) == (True, True, True)
            assert databases(control, shop) == {shop}
        text = max(reports_folder.glob("recovery-*.md")).read_text()
        assert f"- command queue of {shop} is fenced, held by 'recovery of {shop} in testing' since " in text
        assert f"`squizzle unfence --env testing --as 'recovery of {shop} in testing'`" in text
        last = recovery_of(run(dry_run=False, may_lose_data=True))
        assert last.outcome is RecoveryOutcome.RECOVERED, last.reasons
        assert (last.fenced, is_fenced(control, shop), queue.exists()) == (False, False, False)


def test_with_only_a_broken_backup_nothing_is_exchanged_and_clients_stay_out(
    access: ServerAccess, database: PostgresDatabase, store_block: BackupFolder
) -> None:
    shop = database.database
    backup = back_up(database=database, store=store_block)
    flip_byte(store_block.open().path_of(backup) / "dump")
    with connect(access, shop, purpose="test") as session:
        session.execute("TRUNCATE account")

    report = recovery_of(
        recover(database=database, store=store_block, dry_run=False, may_lose_data=True, return_state=True)
    )

    assert report.outcome is RecoveryOutcome.FAILED
    assert "no way back is left" in report.reasons[0]
    assert any("dump/" in one for one in report.reasons)
    assert report.fenced
    with control_session(access, purpose="test") as control:
        assert databases(control, shop) == {shop}
        unfence(control, shop)


def test_a_good_database_is_let_alone_and_let_in_again(
    access: ServerAccess, database: PostgresDatabase, store_block: BackupFolder
) -> None:
    back_up(database=database, store=store_block)
    with connect(access, database.database, purpose="test") as session:
        session.execute("INSERT INTO account (owner) VALUES ('after the backup')")

    state = recover(database=database, store=store_block, dry_run=False, may_lose_data=True, return_state=True)

    assert state.is_completed()
    assert recovery_of(state).outcome is RecoveryOutcome.NOTHING_TO_DO
    assert rows(access, database.database) == (1001, 1001)
    with control_session(access, purpose="test") as control:
        assert not is_fenced(control, database.database)


def test_two_recoveries_of_one_database_exclude_each_other_and_a_dead_ones_leftover_goes(
    access: ServerAccess, database: PostgresDatabase, store_block: BackupFolder
) -> None:
    shop = database.database
    back_up(database=database, store=store_block)
    with control_session(access, purpose="test") as control:
        left = f"{shop}__r_20200101t000000"
        control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(left)))
        control.execute(sql.SQL("COMMENT ON DATABASE {} IS 'squizzle: being restored'").format(sql.Identifier(left)))
        with recovering_alone(access, shop) as dropped:
            assert dropped == (left,)
            state = recover(database=database, store=store_block, dry_run=False, return_state=True)
            error = report_of(state)
            assert isinstance(error, LockTimeoutError)
            assert not is_fenced(control, shop)
