"""Which backups may go: what is promised holds for every store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.notes import Notes
from squizzle.backups.proofs import Hold, Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.retention import Choice, Known, choose_kept
from squizzle.backups.settings import Retention

NOW = datetime(2025, 6, 30, 12, tzinfo=UTC)
NONE = Retention(daily=0, weekly=0, monthly=0)
NO_NOTES = Notes()


def made(
    age: timedelta,
    *,
    number: int = 0,
    kind: BackupKind = BackupKind.FULL,
    database: str = "shop",
    chain: tuple[str, ...] = (),
    notes: Notes = NO_NOTES,
) -> Known:
    at = NOW - age
    name = f"{at:%Y%m%dT%H%M%SZ}-{database}-{number:06}"
    backup = Backup(
        id=name,
        kind=kind,
        store="file:///s",
        location=name,
        started_at=at,
        duration=timedelta(),
        database=database,
        identity_id=None,
        system_identifier="1",
        migration_version=None,
        lsn="0/0",
        server_version=180000,
        client_version="18",
        files=(),
        digest=None,
        chain=chain,
    )
    return Known(backup=backup, notes=notes)


def proof(kind: ProofKind, verdict: Verdict) -> Notes:
    one = Proof(backup_id="", kind=kind, verdict=verdict, at=NOW, duration=timedelta(), by="me")
    return Notes(proofs=(one,))


def held(until: datetime | None) -> Notes:
    return Notes(holds=(Hold(backup_id="", name="pin", reason="the audit", by="ann", at=NOW, until=until),))


def kept(known: list[Known], retention: Retention) -> set[str]:
    return {choice.backup.id for choice in choose_kept(known, retention, now=NOW) if choice.keeps}


def test_the_newest_of_each_day_week_and_month_stay() -> None:
    hourly = [made(timedelta(hours=hours)) for hours in range(24 * 400)]

    choices = choose_kept(hourly, Retention(daily=7, weekly=4, monthly=12), now=NOW)
    stay = [choice.backup.started_at for choice in choices if choice.keeps]

    days = [NOW, *(NOW.replace(day=day, hour=23) for day in (29, 28, 27, 26, 25, 24))]
    weeks = [NOW.replace(day=day, hour=23) for day in (22, 15)]  # Sundays; 30 and 29 are days already
    months = [
        datetime(2025, month, day, 23, tzinfo=UTC) for month, day in ((5, 31), (4, 30), (3, 31), (2, 28), (1, 31))
    ]
    months += [
        datetime(2024, month, day, 23, tzinfo=UTC)
        for month, day in ((12, 31), (11, 30), (10, 31), (9, 30), (8, 31), (7, 31))
    ]
    assert stay == [*days, *weeks, *months]


def test_days_without_backups_do_not_count() -> None:
    known = [made(timedelta(days=days)) for days in (0, 10, 20, 30)]

    assert kept(known, Retention(daily=3, weekly=0, monthly=0)) == {one.backup.id for one in known[:3]}


def test_the_newest_proven_one_stays_though_newer_ones_are_there() -> None:
    known = [
        made(timedelta(days=1)),
        made(timedelta(days=2), notes=proof(ProofKind.RESTORE, Verdict.COULD_NOT_VERIFY)),
        made(timedelta(days=3), notes=proof(ProofKind.RESTORE, Verdict.PASS)),
        made(timedelta(days=4), notes=proof(ProofKind.RESTORE, Verdict.PASS)),
    ]

    assert kept(known, NONE) == {known[0].backup.id, known[2].backup.id}


def test_a_backup_that_failed_its_proof_stands_in_for_no_other() -> None:
    known = [
        made(timedelta(hours=1)),
        made(timedelta(days=1), notes=proof(ProofKind.FILES, Verdict.FAIL)),
        made(timedelta(days=1, hours=1)),
        made(timedelta(days=2)),
    ]

    assert kept(known, Retention(daily=2, weekly=0, monthly=0)) == {known[0].backup.id, known[2].backup.id}


@pytest.mark.parametrize(
    ("notes", "stays"),
    [
        (held(None), True),
        (held(NOW + timedelta(seconds=1)), True),
        (held(NOW), False),
        (Notes(damaged=("b/notes/hold-x.json was changed after it was written",)), True),
        (Notes(damaged=("b/notes/proof-x.json was changed after it was written",)), False),
    ],
    ids=["pin", "held", "ended", "unreadable hold", "unreadable proof"],
)
def test_what_is_held_stays(notes: Notes, *, stays: bool) -> None:
    old = made(timedelta(days=900), notes=notes)

    assert (old.backup.id in kept([made(timedelta()), old], NONE)) is stays


def test_a_chain_stays_whole_for_its_last_member() -> None:
    full = made(timedelta(days=9), kind=BackupKind.PHYSICAL)
    first = made(timedelta(days=8), kind=BackupKind.INCREMENTAL, chain=(full.backup.id,))
    second = made(timedelta(days=7), kind=BackupKind.INCREMENTAL, chain=(full.backup.id, first.backup.id))
    other = made(timedelta(days=8), number=1, kind=BackupKind.INCREMENTAL, chain=(full.backup.id,))

    choices = {one.backup.id: one for one in choose_kept([full, first, second, other], NONE, now=NOW)}

    assert not choices[other.backup.id].keeps
    assert choices[full.backup.id].reasons == (f"needed by {second.backup.id}",)
    assert choices[first.backup.id].reasons == (f"needed by {second.backup.id}",)


def test_a_dump_and_a_copy_of_the_cluster_do_not_replace_each_other() -> None:
    known = [made(timedelta(days=1)), made(timedelta(days=2), kind=BackupKind.PHYSICAL)]

    assert kept(known, NONE) == {one.backup.id for one in known}


def test_a_renamed_database_is_known_by_its_identity() -> None:
    one, other = made(timedelta(days=1), database="shop"), made(timedelta(days=2), database="shop_old")
    same = [replace(known, backup=replace(known.backup, identity_id="x")) for known in (one, other)]

    assert kept([one, other], NONE) == {one.backup.id, other.backup.id}
    assert kept(same, NONE) == {one.backup.id}


def test_a_clock_that_was_wrong_removes_nothing_of_the_future() -> None:
    known = [made(timedelta()), made(-timedelta(days=3)), made(-timedelta(days=2))]

    assert kept(known, NONE) == {known[1].backup.id, known[2].backup.id} | {
        one.backup.id for one in known[1:] if one.backup.started_at > NOW
    }


# --- for every store -----------------------------------------------------------------------------------------------

counts = st.integers(0, 5)
notes = st.sampled_from([Notes(), held(None), *(proof(kind, verdict) for kind in ProofKind for verdict in Verdict)])
ages = st.integers(0, 500 * 24).map(lambda hours: timedelta(hours=hours))


@st.composite
def stores(draw: st.DrawFn) -> list[Known]:
    known: list[Known] = []
    chains: list[tuple[str, ...]] = []
    for number, age in enumerate(sorted(draw(st.lists(ages, max_size=15)), reverse=True)):
        chain = draw(st.sampled_from([(), *chains]))
        kind = draw(st.sampled_from([BackupKind.FULL, BackupKind.PHYSICAL]))
        one = made(
            age,
            number=number,
            kind=BackupKind.INCREMENTAL if chain else kind,
            database=draw(st.sampled_from(["shop", "books"])) if not chain else "shop",
            chain=chain,
            notes=draw(notes),
        )
        known.append(one)
        if one.backup.kind.is_cluster:
            chains.append((*chain, one.backup.id))
    return known


@given(known=stores(), retention=st.builds(Retention, daily=counts, weekly=counts, monthly=counts))
def test_what_is_promised_holds(known: list[Known], retention: Retention) -> None:
    choices = choose_kept(known, retention, now=NOW)
    stay = {choice.backup.id for choice in choices if choice.keeps}

    assert sorted(choice.backup.id for choice in choices) == sorted(one.backup.id for one in known)
    for one in known:
        if one.backup.id in stay:
            assert set(one.backup.chain) <= stay
        if one.notes.holds:
            assert one.backup.id in stay
    for series in ("shop", "books"):
        dumps = [one for one in known if one.backup.database == series and one.backup.kind is BackupKind.FULL]
        assert not dumps or max(one.backup.id for one in dumps) in stay
        for kind in ProofKind:
            good = [one.backup.id for one in dumps if one.notes == proof(kind, Verdict.PASS)]
            assert not good or max(good) in stay
    assert list(choices) == sorted(choices, key=newest, reverse=True)


def newest(choice: Choice) -> tuple[datetime, str]:
    return choice.backup.started_at, choice.backup.id


@given(known=stores(), more=counts)
def test_keeping_more_never_removes_what_fewer_kept(known: list[Known], more: int) -> None:
    few = Retention(daily=1, weekly=1, monthly=1)
    many = Retention(daily=1 + more, weekly=1 + more, monthly=1 + more)

    assert kept(known, few) <= kept(known, many)


def test_every_mark_of_the_days_that_are_kept_stays_and_older_ones_go() -> None:
    marks = [made(timedelta(hours=hours), number=hours, kind=BackupKind.MARK) for hours in (1, 2, 3, 47, 49, 24 * 8)]

    kept = choose_kept(marks, Retention(daily=2, weekly=4, monthly=4), now=NOW)

    assert [one.keeps for one in kept] == [True, True, True, True, False, False]
    assert [one.keeps for one in choose_kept(marks, NONE, now=NOW)] == [True, False, False, False, False, False]
