"""The verdict: what was executed and is wrong fails, what could not be tried decides nothing, a measured loss is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.proof.records import RowChange, RowDifference, SchemaMatch
from squizzle.recovery.ways import Way
from squizzle.rehearsal.records import CertificateVerdict, ProvenWay, RollbackProof
from squizzle.rehearsal.verdict import DOWN_SCRIPT, GENERATED, NO_SCRIPT, Evidence, best_way, is_taken, judge

EXACT = RollbackProof(script=DOWN_SCRIPT, sha256="d" * 64, schema=SchemaMatch.EXACT)
GOOD = Evidence(rollback=EXACT)
RESTORED = ProvenWay(
    way=Way.RESTORE_BESIDE, executed=True, complete=True, duration=timedelta(seconds=12), detail="equal, 9 rows"
)
LOST = RowDifference(table="public.users", change=RowChange.CHANGED, rows=9, columns=("email",), keys=("(1)",))
TAKEN = RowDifference(table="public.users", change=RowChange.CHANGED, rows=9, columns=("email", "phone"))
MISSING = RowDifference(table="public.users", change=RowChange.MISSING, rows=3)
LEFT = RowDifference(table="public.users", change=RowChange.UNEXPECTED, rows=1)


def lossy(*rows: RowDifference, script: str = DOWN_SCRIPT) -> RollbackProof:
    return replace(EXACT, script=script, rows=rows)


def test_everything_executed_and_equal_is_proven_without_a_word() -> None:
    assert judge(GOOD) == (CertificateVerdict.PROVEN, ())


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (replace(GOOD, up_failed="0001 does not verify"), "0001 does not verify"),
        (replace(GOOD, rollback=replace(EXACT, why="syntax error")), "the down script fails: syntax error"),
        (
            replace(GOOD, rollback=replace(EXACT, schema=SchemaMatch.DIFFERENT, differences=("missing: index i",))),
            "does not lead back: missing: index i",
        ),
        (replace(GOOD, rollback=replace(EXACT, schema=SchemaMatch.DIFFERENT)), "leaves another schema"),
        (replace(GOOD, rollback=lossy(LOST)), "which the up script had not touched: public.users: 9 rows changed"),
        (replace(GOOD, rollback=lossy(LOST, script=GENERATED)), "which the up script had not touched"),
        (replace(GOOD, rollback=lossy(LEFT), taken_by_up=(LEFT,)), "which the up script had not touched"),
        (replace(GOOD, again_failed="type exists"), "applied again after the rollback it fails: type exists"),
        (replace(GOOD, again_differences=("changed: column c",)), "leaves another schema: changed: column c"),
    ],
)
def test_what_was_executed_and_is_wrong_fails_whatever_else_is_known(evidence: Evidence, reason: str) -> None:
    # A restore that works, or something that could not be tried, excuses nothing.
    for known in (evidence, replace(evidence, ways=(RESTORED,)), replace(evidence, could_not=("no room",))):
        verdict, reasons = judge(known)
        assert verdict is CertificateVerdict.FAILED
        assert reason in reasons[0]


def test_what_could_not_be_tried_is_never_a_yes() -> None:
    assert judge(replace(GOOD, could_not=("no room",))) == (CertificateVerdict.INCONCLUSIVE, ("no room",))


@pytest.mark.parametrize("script", [DOWN_SCRIPT, GENERATED])
def test_a_loss_that_no_script_can_avoid_needs_another_way_back_that_was_executed(script: str) -> None:
    evidence = replace(GOOD, rollback=lossy(LOST, script=script), taken_by_up=(TAKEN,))

    verdict, reasons = judge(evidence)
    assert verdict is CertificateVerdict.INCONCLUSIVE
    assert "loses what the migration takes away: public.users: 9 rows changed in email, such as (1)" in reasons[0]
    for useless in (replace(RESTORED, executed=False, duration=None), replace(RESTORED, complete=False)):
        assert judge(replace(evidence, ways=(useless,)))[0] is CertificateVerdict.INCONCLUSIVE

    verdict, reasons = judge(replace(evidence, ways=(RESTORED,)))
    assert verdict is CertificateVerdict.PROVEN
    assert "loses what the migration takes away" in reasons[0]
    assert "restoring the backup beside brings everything back as of the backup: executed here in 12 s" in reasons[1]


def test_without_a_script_the_way_back_is_another_one() -> None:
    evidence = replace(GOOD, rollback=replace(EXACT, script=NO_SCRIPT, schema=SchemaMatch.DIFFERENT, why="no down"))

    assert judge(evidence)[0] is CertificateVerdict.INCONCLUSIVE
    verdict, reasons = judge(replace(evidence, ways=(RESTORED,)))
    assert verdict is CertificateVerdict.PROVEN
    assert reasons[0] == "there is no way back by script: no down"


def test_a_generated_script_that_does_not_lead_back_is_told_and_another_way_counts() -> None:
    broken = replace(EXACT, script=GENERATED, schema=SchemaMatch.DIFFERENT, differences=("missing: index i",))
    verdict, reasons = judge(replace(GOOD, rollback=broken, ways=(RESTORED,)))

    assert verdict is CertificateVerdict.PROVEN
    assert "missing: index i" in reasons[0]


@pytest.mark.parametrize(
    ("lost", "taken", "is_natural"),
    [
        (LOST, TAKEN, True),
        (LOST, replace(TAKEN, columns=("phone",)), False),
        (LOST, replace(TAKEN, table="public.orders"), False),
        (LOST, MISSING, False),
        (replace(LOST, columns=()), TAKEN, False),
        (MISSING, MISSING, True),
        (MISSING, replace(MISSING, rows=2), False),
        (LEFT, LEFT, False),
    ],
)
def test_only_what_the_up_script_took_away_is_a_loss_and_no_damage(
    lost: RowDifference, taken: RowDifference, *, is_natural: bool
) -> None:
    assert is_taken(lost, (taken,)) is is_natural


def test_the_quickest_way_that_was_proven_is_named_and_never_the_script_itself() -> None:
    swap = replace(RESTORED, way=Way.SWAP, duration=timedelta(seconds=1))
    script = replace(RESTORED, way=Way.ROLL_BACK, duration=timedelta(milliseconds=1))

    assert best_way((RESTORED, swap, script)) == swap
    assert best_way((script,)) is None


ROWS = st.sampled_from([(), (LOST,), (MISSING,), (LEFT,)])


@given(
    could_not=st.sampled_from([(), ("no room",)]),
    failed=st.sampled_from(["", "boom"]),
    script=st.sampled_from([DOWN_SCRIPT, GENERATED, NO_SCRIPT]),
    schema=st.sampled_from(SchemaMatch),
    rows=ROWS,
    taken=ROWS,
    ways=st.sampled_from([(), (RESTORED,), (replace(RESTORED, executed=False),), (replace(RESTORED, complete=False),)]),
)
def test_proven_means_that_all_of_it_came_back_by_something_that_was_executed(
    could_not: tuple[str, ...],
    failed: str,
    script: str,
    schema: SchemaMatch,
    rows: tuple[RowDifference, ...],
    taken: tuple[RowDifference, ...],
    ways: tuple[ProvenWay, ...],
) -> None:
    rollback = replace(EXACT, script=script, schema=schema, rows=rows, why="none" if script == NO_SCRIPT else "")
    evidence = Evidence(could_not=could_not, up_failed=failed, rollback=rollback, taken_by_up=taken, ways=ways)
    verdict, reasons = judge(evidence)

    if verdict is CertificateVerdict.PROVEN:
        assert not could_not
        assert not failed
        assert rollback.is_exact or RESTORED in ways
        assert rollback.is_exact or reasons
    else:
        assert reasons
