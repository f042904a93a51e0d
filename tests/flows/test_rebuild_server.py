"""The flow that rebuilds a lost server; that it brings everything back is played by the drill `region_loss`."""

from __future__ import annotations

from blocks import BackupFolder, PostgresDatabase
from flows.rebuild_server import rebuild_server
from squizzle.backups.records import Backup
from squizzle.errors import RefusedError
from tasks.backups import take_backup
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
