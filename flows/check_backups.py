"""The look at a store: is every backup still what it was, and does the newest one restore?"""

from __future__ import annotations

from typing import Annotated, cast

from prefect import flow

from blocks import BackupBucket, BackupFolder, PostgresDatabase, RdsInstance
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.backups.proofs import StoreCheck, Verdict
from tasks.backups import check_store
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import progress_artifact, publish_store_check
from tasks.steps import keep_journal

STEPS = 2

DESCRIPTION = """\
Looks whether the backups of a store are still what they were.

1. reads every file of every backup again and compares it with its manifest; asks RDS for its snapshots
2. restores the newest backup of each database and kind to a scratch place, and compares it row by row
3. names damaged manifests, missing members of chains, backups that were taken away, and what is missing from the
   write-ahead log that lies in the same store
4. with a database: asks its server whether that log is archived, or received by way of a slot, and what the slot keeps

Results are kept beside each backup. Nothing is removed, and no database of yours is touched: the scratch place is a
server of our own that goes away again. It ends *Completed* only when everything passed; an empty store is no pass.
"""

Store = Annotated[BackupFolder | BackupBucket, shown(title="Store", description="Which backups to look at.")]
Restore = Annotated[
    bool, shown(title="Restore", description="Also restore the newest ones; needs room for the largest database.")
]
Rds = Annotated[
    RdsInstance | None,
    shown(title="Instance of RDS", description="Whose account is asked for snapshots. Empty: the worker's own."),
]
Log = Annotated[
    PostgresDatabase | None,
    shown(title="Database", description="Whose write-ahead log comes into this store; only its server is asked."),
]
Slot = Annotated[
    str, shown(title="Slot", description="Of the receiver (squizzle receive-wal), if one fills the store.")
]


@flow(
    name="check-backups",
    flow_run_name=run_named("check backups in {store}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def check_backups(
    store: Store, database: Log = None, slot: Slot = "", *, restore: Restore = True, rds: Rds = None
) -> StoreCheck:
    """Look at every backup of a store.

    Args:
        store: Which.
        database: Whose server is asked how its log comes into the store; None: none.
        slot: The slot of the receiver that fills the store; empty: the server archives by itself.
        restore: Whether the newest ones are restored to a scratch place, too.
        rds: Whose account is asked for snapshots of RDS.

    Returns:
        What was found; inside a Failed state unless everything passed.
    """
    refuse_inline(store, database, rds)
    with keep_journal(progress_artifact("check-progress", total=STEPS, what="Progress of the check")):
        check = check_store(store, restore=restore, database=database, slot=slot, rds=rds)
        publish_store_check(check)
    if check.verdict is Verdict.PASS:
        return check
    # A flow that returns a state ends in that state; what was found travels as its data.
    return cast("StoreCheck", failed(f"{check.verdict.value}: {check.reason}", check))
