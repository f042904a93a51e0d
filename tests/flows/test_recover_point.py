"""A recovery to right before the damage, by a copy of the cluster and its log, of which the last part is archived then."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blocks import BackupFolder, PostgresDatabase
from flows.back_up import back_up
from flows.recover import recover
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.recovery.recovery import RecoveryOutcome
from squizzle.recovery.ways import Way
from tests.flows.test_recover import report_of, rows, shop
from tests.support.wal import take_over

__all__ = ["shop"]  # a fixture of the other file

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@contextmanager
def archiving(archived: Path, store: Path, system: str, first: str) -> Iterator[None]:
    """What an archive_command of ours would do: whatever the server archives comes into the store."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            take_over(archived, store, system, first=first)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_what_was_written_up_to_the_damage_comes_back_by_the_log_where_a_backup_would_lose_it(
    access: ServerAccess, server_block: PostgresDatabase, store_block: BackupFolder, address: ServerAddress, shop: str
) -> None:
    name = f"shop-{secrets.token_hex(3)}"
    server_block.model_copy(update={"database": shop}).save(name)
    database = PostgresDatabase.load(name)
    with connect(access, shop, purpose="test") as session:
        begun = session.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
        assert begun is not None
        back_up(database=database, store=store_block)
        copy = back_up(database=database, store=store_block, kind="physical")
        session.execute("INSERT INTO account (owner) VALUES ('after the backups')")
        since = session.execute("SELECT clock_timestamp()").fetchone()
        session.execute("DELETE FROM account WHERE id <= 400")
        session.execute("INSERT INTO account (owner) VALUES ('after the damage')")
    assert since is not None
    options = {"database": database, "store": store_block, "damaged_since": since[0], "return_state": True}

    with archiving(address.archive_folder, store_block.path, copy.system_identifier, begun[0]):
        report = report_of(recover(dry_run=False, may_lose_data=True, **options))

    evidence = report.evidence
    assert report.outcome is RecoveryOutcome.RECOVERED, report.reasons
    assert [one.way for one in evidence.decisions] == [Way.POINT_IN_TIME]
    assert rows(access, shop) == (1001, 1001)
    assert rows(access, evidence.kept_as) == (602, 1002)
    assert f"(by {copy.id} and the log)" in report.reasons[0]
    # What came after the damage is in the damaged one alone, and its number is not given out again.
    assert evidence.salvage is not None
    assert evidence.salvage.rows_at_risk == 1
    with connect(access, shop, purpose="test") as session:
        assert session.execute("SELECT nextval('account_id_seq') > 1002").fetchone() == (True,)
