"""The flow that rebuilds a lost server; that it brings everything back is played by the drill `region_loss`."""

from __future__ import annotations

from pydantic import SecretStr

from blocks import BackupFolder, PostgresDatabase
from flows.rebuild_server import rebuild_server
from squizzle.backups.records import Backup, BackupKind
from squizzle.errors import RefusedError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.recovery.rebuild.records import RebuildReport
from tasks.backups import damage_backup, take_backup
from tasks.outcome import report_of


def test_the_server_that_was_saved_is_not_rebuilt_on_itself(
    server_block: PostgresDatabase, store_block: BackupFolder
) -> None:
    backup = take_backup.__wrapped__(server_block, store_block)
    assert isinstance(backup, Backup)

    state = rebuild_server(server_block, store_block, dry_run=False, return_state=True)

    assert state.is_failed()
    error = report_of(state)
    assert isinstance(error, RefusedError)
    assert backup.system_identifier in error.message


def test_a_database_that_does_not_come_back_whole_ends_the_run_failed_with_the_report(
    server_block: PostgresDatabase, store_block: BackupFolder, access: ServerAccess
) -> None:
    with connect(access, "postgres", purpose="test") as control:
        control.execute("CREATE DATABASE lost_shop")
        backup = take_backup.__wrapped__(server_block.model_copy(update={"database": "lost_shop"}), store_block)
        control.execute("DROP DATABASE lost_shop")
    damage_backup.__wrapped__(store_block, backup)
    # The roles come from here, so that the damage is that of one database alone.
    take_backup.__wrapped__(server_block, store_block, kind=BackupKind.GLOBALS)
    runtime = find_runtime()
    settings = drill_settings(runtime.major, throwaway=True)

    # Clusters of one template say that they are the same server.
    with throwaway_cluster("rebuilt", settings=settings, runtime=runtime, from_template=False) as new:
        block = PostgresDatabase(
            host=new.host,
            port=new.port,
            database="postgres",
            user=new.user,
            password=SecretStr(new.read_password()),
            environment="testing",
        )
        block.save(f"new-{new.port}")
        state = rebuild_server(block, store_block, dry_run=False, return_state=True)

    assert state.is_failed()
    report = report_of(state)
    assert isinstance(report, RebuildReport), report
    assert report.done is not None
    assert not report.done.is_whole
    assert "SHA-256" in str(report.done.sentences)
