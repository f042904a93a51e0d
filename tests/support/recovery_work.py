"""What a recovery does to databases, to be killed in the middle of it (`tests.support.killed`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from squizzle.backups.folder_store import FolderStore
from squizzle.errors import SquizzleError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.beside import RestoreOrder, restore_database, swap_in
from squizzle.recovery.fence import control_session, fence, session_through_fence, unfence
from squizzle.recovery.prepared_copy import forget_fingerprint, make_copy, verify_copy_unchanged
from squizzle.recovery.sequences import carry_sequences
from squizzle.recovery.single_flight import recovering_alone
from squizzle.recovery.switch_over import switch_over
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import undo_changes

Begin = Callable[[], None]


def copy(begin: Begin, *, server_access: Mapping[str, Any], database: str, now: str) -> None:
    """Prepare a copy of a database."""
    begin()
    make_copy(ServerAccess(**server_access), database, now=datetime.fromisoformat(now))


def swap(begin: Begin, *, server_access: Mapping[str, Any], database: str, copy: str, keep_as: str) -> None:
    """As a recovery does it: fence, verify the copy, put it in the place of the damaged database, verify, let in."""
    access = ServerAccess(**server_access)
    begin()
    with recovering_alone(access, database):
        with control_session(access, purpose="fence") as control:
            fence(control, database)
            properties = read_properties(control, database)
            switch_over(control, database=database, restored=copy, keep_as=keep_as, properties=properties)
        with session_through_fence(access, database, purpose="verify") as session:
            if changed := verify_copy_unchanged(session):
                raise AssertionError(changed)
        with (
            session_through_fence(access, keep_as, purpose="sequences") as left,
            session_through_fence(access, database, purpose="sequences") as right,
        ):
            carry_sequences(left, right)
        with control_session(access, purpose="unfence") as control:
            unfence(control, database)


def forget(begin: Begin, *, server_access: Mapping[str, Any], database: str) -> None:
    """Make an ordinary database of a copy that was swapped in."""
    begin()
    with connect(ServerAccess(**server_access), database, purpose="forget") as session:
        forget_fingerprint(session)


def restore(
    begin: Begin,
    *,
    server_access: Mapping[str, Any],
    store: str,
    backup: str,
    programs: Mapping[str, Any],
    into: str,
    database: str,
    keep_as: str,
) -> None:
    """`squizzle restore --into --switch-over`."""
    opened = FolderStore(Path(store))
    order = RestoreOrder(
        access=ServerAccess(**server_access),
        store=opened,
        backup=opened.read(backup),
        into=into,
        programs=ClientPrograms(**{**programs, "folder": Path(programs["folder"])}),
    )
    begin()
    comparison = restore_database(order, keep_closed=True)
    if not comparison.is_equal:
        raise SquizzleError("; ".join(comparison.sentences()))
    swap_in(order, database=database, keep_as=keep_as)


def undo(begin: Begin, *, server_access: Mapping[str, Any], database: str, since: str) -> None:
    """Take back what happened to a logged table."""
    request = UndoRequest(tables=(("public", "account"),), since=datetime.fromisoformat(since))
    begin()
    with connect(ServerAccess(**server_access), database, purpose="undo") as session:
        undo_changes(session, Target(database=database), request, on_wait=lambda _text: None)
