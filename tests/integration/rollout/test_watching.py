"""Watching real targets: errors since the migration, alerts that fire since it, and what it took beside its rehearsal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from squizzle.alerts.records import AlertRule
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.statements import split_statements
from squizzle.migrations.records import Direction
from squizzle.postgres.access import Connection
from squizzle.rehearsal.records import RelationKind, ScriptTrace, TracedLock, TracedStatement
from squizzle.rollout.applying import apply_to_targets
from squizzle.rollout.baselines import Moment, forget_baselines, read_baselines, save_baselines
from squizzle.rollout.budget import RehearsedVersion
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.soak import Observation, Sign, SoakReport, SoakVerdict, judge_soak
from squizzle.rollout.watching import Watch, note_targets, watch_targets
from squizzle.settings.watch import SoakLimits
from squizzle.severity import Severity
from tests.integration.migrations.conftest import Folder, folder
from tests.integration.rollout.test_applying import Shops, shops

__all__ = ["folder", "shops"]
pytestmark = pytest.mark.one_server


def rule(name: str, condition: str, severity: Severity = Severity.CRITICAL) -> AlertRule:
    return AlertRule(name=name, condition=condition, severity=severity)


RULES = (
    rule("always", "SELECT true"),
    rule("fewer", "SELECT count(*) < 3 FROM goods"),
    rule("many errors", "SELECT nonsense", Severity.LOW),
)


def keep(
    control: Connection,
    watch: Watch,
    target: FleetTarget,
    moment: Moment = Moment.BEFORE,
    *,
    renew: bool = True,
    stage: str = "canary",
) -> bool:
    noted = note_targets(watch, [target], untouched=moment is Moment.BEFORE and renew, environ={})
    save_baselines(control, "r1", stage, noted, moment=moment, renew=renew)
    return set(noted) == {target.name}


def seen_at(control: Connection, watch: Watch, *targets: FleetTarget, are_migrated: bool) -> list[Observation]:
    baselines = read_baselines(control, "r1", "canary", [one.name for one in targets])
    found = watch_targets(watch, targets, baselines=baselines, are_migrated=are_migrated, environ={})
    return [one.observation for one in found]


def signs(report: SoakReport) -> list[tuple[Sign, SoakVerdict]]:
    return [(one.sign, one.verdict) for one in report.reasons]


def fail(session: Connection, times: int) -> None:
    for _ in range(times):
        with pytest.raises(psycopg.Error):
            session.execute("SELECT 1 / 0")
    # Counted by now, and not when the server comes to it.
    session.execute("SELECT pg_stat_force_next_flush()")


def test_only_what_came_with_the_migration_is_held_against_it(shops: Shops, folder: Folder) -> None:
    folder.write("0001", "DELETE FROM goods WHERE id = 3", down="INSERT INTO goods VALUES (3)")
    canary, other = shops.targets[:2]
    checks = split_statements("SELECT count(*) > 0 FROM goods;\nSELECT count(*) FROM gone", source="checks.sql")
    order = shops.order(folder, "0001")
    limits = SoakLimits(least_transactions=1)
    watch = Watch(order=order, rules=RULES, checks=checks, limits=limits)
    with shops.session(3) as control:
        assert keep(control, watch, canary, stage="", renew=False)
        assert keep(control, watch, canary)
        assert keep(control, watch, other, renew=False)
        apply_to_targets(order, [canary], max_failures=0, environ={})
        # What it was before is not forgotten when a run is started again.
        assert not keep(control, watch, canary)
        # What failed while it was migrated is no harm of what came afterwards.
        with shops.session(0) as session:
            fail(session, 30)
        assert keep(control, watch, canary, Moment.AFTER)
        assert keep(control, watch, other, Moment.AFTER, renew=False)
        assert keep(control, watch, other, renew=False)
        kept = read_baselines(control, "r1", "canary", [canary.name, other.name])
        looks = [one and one.counters for one in (kept[canary.name].earlier, kept[canary.name].before)]
        first, second, third = (one.at for one in (*looks, kept[canary.name].begin) if one)
        assert first < second < third
        compared = kept[other.name]
        assert compared.earlier is None
        assert compared.counters is not None
        assert compared.counters.at < third

        def judge() -> SoakReport:
            migrated = seen_at(control, watch, canary, are_migrated=True)
            return judge_soak(migrated, seen_at(control, watch, other, are_migrated=False), limits=limits)

        well = judge()
        unknown, shared = "could not be found out: column", "; targets that were not migrated show it, too"
        (fires, open_, check) = well.reasons
        assert (fires.text, fires.verdict) == ("fewer fires", SoakVerdict.FAIL)
        assert (open_.verdict, unknown in open_.text) == (SoakVerdict.INCONCLUSIVE, True)
        assert (check.verdict, check.text) == (
            SoakVerdict.INCONCLUSIVE,
            f'the check of line 2 failed: relation "gone" does not exist{shared}',
        )
        assert well.remarks
        assert "the extension pg_stat_statements is not in this database" in well.remarks[0]
        with shops.session(0) as session:
            fail(session, 30)
        assert signs(judge())[:2] == [(Sign.ALERT, SoakVerdict.FAIL), (Sign.ERRORS, SoakVerdict.FAIL)]
        with shops.session(0) as session:
            session.execute("SELECT pg_stat_reset()")
        assert Sign.ERRORS not in {one.sign for one in judge().reasons}

        # What was kept goes when its rollout ends, and not before.
        control.execute("CREATE TABLE squizzle.rollout AS SELECT 'r1' AS id, NULL::timestamptz AS ended_at")
        forget_baselines(control)
        assert set(read_baselines(control, "r1", "canary", list(kept))) == set(kept)
        control.execute("UPDATE squizzle.rollout SET ended_at = now()")
        forget_baselines(control)
        assert read_baselines(control, "r1", "canary", list(kept)) == {}


def test_what_a_version_took_and_locked_is_compared_with_its_rehearsal(shops: Shops, folder: Folder) -> None:
    folder.write("0001", "ALTER TABLE goods ADD COLUMN a int; SELECT pg_sleep(0.25)")
    order = shops.order(folder, "0001")
    canary = shops.targets[0]
    apply_to_targets(order, [canary], max_failures=0, environ={})

    def reasons(*modes: LockMode, duration_ms: int, order: RolloutOrder = order) -> list[str]:
        rehearsed = {"0001": rehearsal(*modes, duration=timedelta(milliseconds=duration_ms))}
        watch = Watch(order=order, rehearsed=rehearsed)
        (seen,) = watch_targets(watch, [canary], baselines={}, are_migrated=True, environ={})
        report = judge_soak([seen.observation], [])
        assert {one.sign for one in report.reasons} <= {Sign.BUDGET}
        return [one.text for one in report.reasons]

    assert reasons(LockMode.ACCESS_EXCLUSIVE, duration_ms=60_000) == []
    (slow,) = reasons(LockMode.ACCESS_EXCLUSIVE, duration_ms=20)
    assert "the script of 0001, without waiting for locks, took" in slow
    assert "20 ms in the rehearsal" in slow
    (lock,) = reasons(LockMode.SHARE, duration_ms=60_000)
    assert lock.startswith("ACCESS EXCLUSIVE on public.goods, held by 0001 for no longer than it took")
    # Somebody else's rollout brought it.
    assert reasons(duration_ms=1, order=replace(order, rollout_id="r2")) == []


def rehearsal(*modes: LockMode, duration: timedelta) -> RehearsedVersion:
    goods = RelationName(schema="public", name="goods")
    locks = tuple(TracedLock(relation=goods, kind=RelationKind.TABLE, mode=mode, since=timedelta()) for mode in modes)
    statement = TracedStatement(
        number=1, line=1, sql="x", transactional=True, since=timedelta(), duration=duration, locks=locks
    )
    rows: Mapping[RelationName, int] = {goods: 3}
    trace = ScriptTrace(version="0001", direction=Direction.APPLY, duration=duration, statements=(statement,))
    return RehearsedVersion(trace=trace, schema="public", rows=rows)
