"""The ways back, in the order of a plan: each is taken, compared, and given up for the next one where it did not help.

No flow of its own: the recovery and the drill are, and both go this way.
"""

from __future__ import annotations

from dataclasses import replace

from squizzle.backups.records import Backup
from squizzle.errors import RecoveryError, RefusedError, SquizzleError
from squizzle.numbers import number_of
from squizzle.postgres.database_properties import DatabaseProperties
from squizzle.recovery.assess import Assessment
from squizzle.recovery.decide import decide_recovery, undo_request, undone_tables
from squizzle.recovery.evidence import EvidenceBook
from squizzle.recovery.rds.standing_in import instance_names
from squizzle.recovery.ways import CloudMeans, Means, PointMeans, RecoveryPlan, Way, WayBack
from squizzle.reports.loss import loss_question
from tasks.approval import gate
from tasks.cloud import compare_instance, reach_instance, restore_instance, stand_in, swap_names
from tasks.migrations import try_down_scripts
from tasks.point_in_time import recover_beside
from tasks.recovery import (
    assess_damage,
    compare_copy,
    compare_properties,
    compare_with_copy,
    find_backup,
    lacks_rows,
    move_sequences,
    note_properties,
    refuse_different,
    restore_copy,
    switch_back,
    switch_databases,
    verify_database,
    verify_prepared,
    verify_swapped,
)
from tasks.recovery_case import RecoveryCase, decisions_of, held_since
from tasks.sources import RdsSource
from tasks.steps import now
from tasks.undo import plan_undo_behind_fence, undo_behind_fence


def take_ways_back(
    case: RecoveryCase, book: EvidenceBook, backup: Backup, assessment: Assessment, means: Means
) -> RecoveryPlan:
    """Take the best way; when it fails, the next one, until one is verified.

    Raises:
        RefusedError: The next way loses data, and nobody said that it may.
        RecoveryError: No way is left.
    """
    tried: dict[tuple[Way, str], str] = {}
    while True:
        plan = decide_recovery(assessment, means, now=now(), policy=case.policy, tried=tried, insist=case.insist)
        way = plan.chosen
        if way is None:
            raise RecoveryError(plan.reason, hint="clients stay out; the report says what lets them in as it is")
        if plan.approval:
            _ask(case, book, plan, assessment)
        book.note(decisions=(*book.evidence.decisions, way))
        try:
            failure = _take(case, book, backup, assessment, means, way)
        except SquizzleError as exc:
            failure = exc.message
        if not failure:
            return plan
        tried[way.way, way.name] = failure
        book.note_failure(f"{way.way.words} ({way.name}): {failure}")


def _ask(case: RecoveryCase, book: EvidenceBook, plan: RecoveryPlan, assessment: Assessment) -> None:
    """Let a person decide about what would be lost; a no, or no answer, ends the recovery with clients kept out."""
    question = loss_question(
        database=case.database.database,
        environment=case.database.environment,
        keep_as=case.names.kept,
        salvage=case.keep_lost_rows,
        plan=plan,
        assessment=assessment,
        since=held_since(book.evidence.fences, case.holder),
        now=now(),
    )
    asked_at = now()
    try:
        answer = gate(question, database=decisions_of(case.database), timeout=case.patience)
    except RefusedError as exc:
        book.note(refused=exc.message)
        raise
    finally:
        book.note(waited=book.evidence.waited + (now() - asked_at))
    book.add_note(f"{question.title}: {answer.sentence()}")


def _take(
    case: RecoveryCase, book: EvidenceBook, backup: Backup, assessment: Assessment, means: Means, way: WayBack
) -> str:
    """Carry one way out; returns why it did not bring everything back, empty when it did."""
    match way.way:
        case Way.ROLL_BACK:
            return _roll_back(case, book, backup, assessment)
        case Way.UNDO:
            return _undo(case, book, backup, assessment, means)
        case Way.SWAP:
            return _swap(case, book, way.name)
        case Way.RESTORE_BESIDE:
            return _restore(case, book, way.name)
        case Way.CLOUD if case.rds is not None:
            cloud = next(one for one in means.cloud if one.name == way.name)
            return _cloud(case, book, backup, cloud, case.rds)
        case Way.POINT_IN_TIME if means.point is not None:
            return _point_in_time(case, book, means.point)
        case _:
            raise AssertionError(f"{way.way} is not among the ways that are taken here")


def _roll_back(case: RecoveryCase, book: EvidenceBook, backup: Backup, assessment: Assessment) -> str:
    attempt = try_down_scripts(case.database, backup, assessment.applied_since, *case.folders)
    book.note(rollback=attempt)
    if attempt.why_not:
        return attempt.why_not
    if not attempt.doubtful:
        book.note(verified=f"every table has the rows of backup {backup.id}")
        return ""
    return _compare_row_by_row(case, book, backup, only=frozenset(attempt.doubtful))


def _undo(case: RecoveryCase, book: EvidenceBook, backup: Backup, assessment: Assessment, means: Means) -> str:
    """Planned first, and given up with nothing changed where rows would stay in conflict; verified before it ends."""
    request = undo_request(assessment, means)
    planned = plan_undo_behind_fence(case.database, request)
    if planned.conflict_count:
        return (
            f"{planned.conflict_count:,} rows would stay as they are (`squizzle undo` shows why); nothing was changed"
        )
    if not planned.changes:
        return "the change log has nothing of it to take back; nothing was changed"
    done = undo_behind_fence(case.database, request, plan=planned.digest)
    book.note(undo=done)
    found = assess_damage(case.database, backup, *case.folders)
    if found.damage:
        return f"the undo was done and did not bring everything back ({found.damage[0]})"
    # Tables that it did not touch are compared with the backup; its own rows it has compared, each with the log.
    others = frozenset(found.changed_tables) - undone_tables(assessment, means)
    if others and (failure := _compare_row_by_row(case, book, backup, only=others)):
        return failure
    changed = f"{number_of(done.changes, 'row')} in {number_of(len(done.tables), 'table')}"
    book.note(
        verified=f"{changed} are as the change log had them before"
        f" {done.transactions:,} transactions, and nothing that backup {backup.id} has is missing"
    )
    return ""


def _compare_row_by_row(
    case: RecoveryCase, book: EvidenceBook, backup: Backup, *, only: frozenset[str] = frozenset()
) -> str:
    """The count is right and the fingerprint is not: only the backup itself can tell whether its rows are back.

    Args:
        case: What is recovered.
        book: Where it is noted.
        backup: What it should be.
        only: These tables; all for none.
    """
    copy, _ = _restore_beside(case, book, backup)
    tables = compare_with_copy(case.database, copy=copy, only=only)
    for table in tables:
        if lacks_rows(table):
            return (
                f"{table.table}: {table.gone:,} rows of the backup are gone, {table.changed:,} are others"
                f" (clients may have written them){f'; {table.note}' if table.note else ''}"
            )
    added = sum(table.added for table in tables)
    book.note(verified=f"every row of backup {backup.id} is there as it was, {added:,} were written since")
    return ""


def _restore_beside(case: RecoveryCase, book: EvidenceBook, backup: Backup) -> tuple[str, DatabaseProperties]:
    """Restore a backup and compare the copy with it; returns the copy's name and what the damaged one is like."""
    properties = note_properties(case.database)
    copy = case.names.restored_again(len(book.evidence.decisions))
    restore_copy(case.database, case.store, backup, into=copy, like=properties)
    found = compare_copy(case.database, backup, copy=copy)
    book.note(copy=found)
    refuse_different(found, what="the restored copy")
    return copy, properties


def _swap(case: RecoveryCase, book: EvidenceBook, copy: str) -> str:
    properties = note_properties(case.database)
    differences = verify_prepared(case.database, copy=copy)
    if differences:
        return f"the copy is not as it was made: {differences[0]}"
    switch_databases(case.database, restored=copy, keep_as=case.names.kept, properties=properties)
    try:
        verify_swapped(case.database)
    except SquizzleError:
        switch_back(case.database, damaged=case.names.kept, refused=copy, properties=properties)
        raise
    book.note(kept_as=case.names.kept, verified=f"every row is as it was when {copy} was made")
    _carry_over(case, book, properties)
    return ""


def _restore(case: RecoveryCase, book: EvidenceBook, backup_id: str) -> str:
    backup = find_backup(case.database, case.store, backup_id=backup_id, before=None)
    copy, properties = _restore_beside(case, book, backup)
    switch_databases(case.database, restored=copy, keep_as=case.names.kept, properties=properties)
    try:
        final = verify_database(case.database, backup)
        refuse_different(final, what="the recovered database")
    except SquizzleError:
        switch_back(case.database, damaged=case.names.kept, refused=copy, properties=properties)
        raise
    book.note(backup=backup, kept_as=case.names.kept, final=final)
    book.note(verified=f"every table has the rows of backup {backup.id}")
    _carry_over(case, book, properties)
    return ""


def _point_in_time(case: RecoveryCase, book: EvidenceBook, point: PointMeans) -> str:
    properties = note_properties(case.database)
    copy = case.names.restored_again(len(book.evidence.decisions))
    restored = recover_beside(case.database, case.store, point, into=copy)
    book.note(copy=restored.comparison)
    refuse_different(restored.comparison, what="the restored copy")
    switch_databases(case.database, restored=copy, keep_as=case.names.kept, properties=properties)
    try:
        verify_swapped(case.database)
    except SquizzleError:
        switch_back(case.database, damaged=case.names.kept, refused=copy, properties=properties)
        raise
    # What was recovered is as old as the point, whatever the copy that it began with.
    saved = replace(restored.dump, id=point.backup_id, started_at=point.target)
    book.note(backup=saved, kept_as=case.names.kept)
    book.note(verified=f"every table has the rows of right before {point.target} (by {point.backup_id} and the log)")
    for one in restored.arrival.prepared:
        book.add_note(f"prepared and not ended at that point, so what it did is not there: {one}")
    _carry_over(case, book, properties)
    return ""


def _cloud(case: RecoveryCase, book: EvidenceBook, backup: Backup, cloud: CloudMeans, rds: RdsSource) -> str:
    # The same names in every run of this recovery, so that one that was killed is gone on with.
    moment = held_since(book.evidence.fences, case.holder) or now()
    into, keep_as = instance_names(rds.instance, moment)
    restored = restore_instance(case.store, rds, cloud, into=into)
    verified = compare_instance(case.database, case.store, restored, cloud, backup)
    stand_in(case.database, case.applications, restored)
    swapped = swap_names(case.store, rds, restored, keep_as=keep_as)
    reach_instance(case.database, swapped.resource_id)
    book.note(verified=verified, changed_properties=restored.differences)
    book.add_note(f"the damaged instance is kept as {swapped.kept_as}, with whatever only it has; nothing was deleted")
    for one in restored.not_carried:
        book.add_note(f"does not come along with a restore: {one}")
    return ""


def _carry_over(case: RecoveryCase, book: EvidenceBook, properties: DatabaseProperties) -> None:
    """What a database that was swapped in must have of the one whose place it took."""
    book.note(changed_properties=compare_properties(case.database, properties))
    book.note(sequences=move_sequences(case.database, damaged=case.names.kept))
