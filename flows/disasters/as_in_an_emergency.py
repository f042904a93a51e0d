"""What disasters have in common: the stage before, and the recovery, which is that of a real emergency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.recover import recover_noting
from squizzle.backups.records import Backup
from squizzle.drills.victims import Victim
from squizzle.errors import RecoveryError
from squizzle.postgres.decisions import Question
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.recovery import RecoveryNames
from squizzle.recovery.ways import RecoveryPolicy
from tasks.approval import Approval, ApprovalByName, answered_by
from tasks.backups import take_backup
from tasks.drilling import Stage, database_size, note_steady
from tasks.recovery import one_recovery, read_as_application
from tasks.recovery_case import WAYS, RecoveryCase
from tasks.scratch import make_copy, write_more_orders

LATE_ORDERS = 25


def set_the_stage(stage: Stage) -> tuple[Backup, DatabaseDigest]:
    """A database that works, with a backup, and with rows that came after it; returns its state then, too."""
    make_it_work(stage)
    return save(stage), go_on_writing(stage)


def make_it_work(stage: Stage) -> None:
    """A database with data, as a careful team would have it."""
    make_copy(stage.place, stage.data.database)


def save(stage: Stage) -> Backup:
    """Take a backup, as every night."""
    backup = take_backup(stage.place.database, stage.place.store)
    stage.book.note(backup=backup)
    return backup


def go_on_writing(stage: Stage) -> DatabaseDigest:
    """Rows that no backup has, where the application is known; returns the state from when all was well."""
    database, book = stage.place.database, stage.book
    steady = write_more_orders(stage.place, orders=LATE_ORDERS) if stage.data.is_example else note_steady(database)
    book.size_bytes = database_size(database)
    book.note(steady=steady)
    return steady


@contextmanager
def agreed() -> Iterator[None]:
    """A yes to what is asked inside, as a person gives it in an emergency; it is recorded as the drill's."""
    with answered_by(_agree):
        yield


def _agree(question: Question) -> Approval:
    name = question.name_to_type
    return ApprovalByName(decision="approve", approver="disaster drill", comment="a drill", typed_name=name)


def recover(stage: Stage, *, folders: Sequence[Path], insist: bool = False) -> None:
    """The recovery of a real emergency: shut, assess, decide, take the ways back, compare, let in.

    Args:
        stage: The damaged database is its.
        folders: Migrations, for the down scripts.
        insist: Somebody says that there is damage, though no row is missing.

    Raises:
        RecoveryError: It is not recovered; the book says why, and clients are kept out.
    """
    place, book, notice = stage.place, stage.book, stage.book.notice
    case = RecoveryCase(
        database=place.database,
        store=place.store,
        folders=tuple(folders),
        names=RecoveryNames(restored=place.names.restored, kept=place.names.kept),
        policy=RecoveryPolicy(may_lose_data=True, ways=WAYS),
        insist=insist,
        keep_lost_rows=False,
    )
    with one_recovery(place.database):
        is_open = recover_noting(case, book)
    if notice is not None:
        book.noticed(notice)
    if not is_open:
        raise RecoveryError(book.evidence.error, hint="what it says is the reason; the report has every step")


def read_again(stage: Stage, victim: Victim) -> None:
    """The application's role reads the table that was damaged; the book has what it saw."""
    role, table = stage.place.names.application, (victim.schema, victim.table)
    stage.book.note(application_reads=read_as_application(stage.place.database, role=role, table=table))
