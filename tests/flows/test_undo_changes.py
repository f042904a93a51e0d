"""The flow that undoes: shows first, then does exactly what was shown, or nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from blocks import PostgresDatabase
from flows.undo_changes import undo_changes
from squizzle.backups.change_log.switching import enable
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.recovery.undo.records import UndoReport
from tests.flows.test_back_up import artifacts_of

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def goods(access: ServerAccess) -> Iterator[Connection]:
    """A session in a database with one logged table."""
    name = f"undo_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        control.execute(f"CREATE DATABASE {name}")
        with connect(access, name, purpose="test") as session:
            session.execute("CREATE TABLE goods AS SELECT n AS id, 'secret' AS name FROM generate_series(1, 9) n")
            session.execute("ALTER TABLE goods ADD PRIMARY KEY (id)")
            enable(session, Target(database=name), (("public", "goods"),), on_wait=print)
            yield session
        control.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_what_the_dry_run_showed_is_done_with_its_plan_and_nothing_without(
    server_block: PostgresDatabase, goods: Connection
) -> None:
    name = f"undo-{secrets.token_hex(3)}"
    server_block.model_copy(update={"database": goods.info.dbname}).save(name)
    database = PostgresDatabase.load(name)
    since = datetime.now(UTC)
    goods.execute("DELETE FROM goods WHERE id > 4")

    state = undo_changes(database, ["goods"], since, return_state=True)

    report = state.result()
    assert isinstance(report, UndoReport)
    assert (report.dry_run, report.changes) == (True, 5)
    text = str(artifacts_of(state.state_details.flow_run_id)[f"undo-{goods.info.dbname.replace('_', '-')}"].data)
    assert f"`{report.digest}`" in text
    assert "| `public.goods` | 5 | 0 | 0 | 0 |" in text
    assert "secret" not in text
    state = undo_changes(database, ["goods"], since, dry_run=False, return_state=True)
    assert "no plan was given" in str(state.message)
    assert goods.execute("SELECT count(*) FROM goods").fetchone() == (4,)

    done = undo_changes(database, ["goods"], since, dry_run=False, plan=report.digest)

    assert (done.dry_run, done.digest) == (False, report.digest)
    assert goods.execute("SELECT count(*) FROM goods").fetchone() == (9,)
