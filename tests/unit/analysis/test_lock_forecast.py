"""What a statement is expected to lock, told from its text alone."""

from __future__ import annotations

import pytest

from squizzle.analysis.locks.forecast import forecast_locks, hazards_of, predict_locks
from squizzle.analysis.locks.modes import LockMode, lock_mode
from squizzle.analysis.locks.records import RelationLock, RelationName
from squizzle.analysis.statements import split_statements

SRX = LockMode.SHARE_ROW_EXCLUSIVE


def hazards(script: str) -> tuple[str, ...]:
    return hazards_of(forecast_locks(split_statements(script, source="case")))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("ALTER TABLE t ADD COLUMN x int", ["blocks reads and writes of t"]),
        ("ALTER TABLE t ADD COLUMN x int DEFAULT now()", ["blocks reads and writes of t"]),
        (
            "ALTER TABLE t ADD COLUMN x uuid DEFAULT gen_random_uuid()",
            ["blocks reads and writes of t", "rewrites t"],
        ),
        (
            "ALTER TABLE t ADD COLUMN x int DEFAULT my_own()",
            ["blocks reads and writes of t", "may rewrite t"],
        ),
        ("ALTER TABLE t ADD COLUMN x bigserial", ["blocks reads and writes of t", "rewrites t"]),
        (
            "ALTER TABLE t ADD COLUMN x int GENERATED ALWAYS AS (a * 2) STORED",
            ["blocks reads and writes of t", "rewrites t"],
        ),
        ("ALTER TABLE t ADD COLUMN x int CHECK (x > 0)", ["blocks reads and writes of t", "reads all of t"]),
        ("ALTER TABLE t ADD CHECK (a > 0) NOT VALID", ["blocks reads and writes of t"]),
        ("ALTER TABLE t ADD PRIMARY KEY USING INDEX i", ["blocks reads and writes of t"]),
        ('CREATE INDEX ON "T" (a)', ["blocks writes of T", "reads all of T"]),
        ("CREATE INDEX CONCURRENTLY ON t (a)", ["reads all of t"]),
        ("UPDATE t SET a = 1", []),
        ("TRUNCATE a.t", ["blocks reads and writes of a.t", "removes data of a.t"]),
        (
            "DROP TABLE t",
            ["blocks reads and writes of t", "removes data of t", "may lock more than its text says"],
        ),
        ("DO $$BEGIN END$$", ["may lock more than its text says"]),
        ("SELECT make_partitions()", ["may lock more than its text says"]),
        ("SELECT 1", []),
        ("SELEC 1", ["may lock more than its text says"]),
        ("CREATE TABLE x (a int); CREATE INDEX ON x (a); ALTER TABLE x ALTER a SET NOT NULL", []),
    ],
)
def test_hazards_are_said_in_words(script: str, expected: list[str]) -> None:
    assert list(hazards(script)) == expected


@pytest.mark.parametrize(
    ("statement", "relation"),
    [
        ("INSERT INTO t VALUES (1)", "t"),
        ('insert into App."T""x" (a, b) values (\'SELECT\')', 'app.T"x'),
        ("COPY public.t (a) FROM '/tmp/x'", "public.t"),
        ("INSERT INTO t SELECT * FROM u", "t"),
        ("INSERT INTO t AS x (a) VALUES (1) ON CONFLICT DO NOTHING", "t"),
    ],
)
def test_the_table_of_rows_is_found_with_and_without_the_grammar(statement: str, relation: str) -> None:
    (one,) = split_statements(statement, source="case")
    assert [(str(lock.relation), lock.mode) for lock in predict_locks(one).locks] == [
        (relation, LockMode.ROW_EXCLUSIVE)
    ]


@pytest.mark.parametrize("text", ["SELECT " + "+".join(["1"] * 60_000), "(SELECT " * 2_000 + "1" + ")" * 2_000])
def test_absurd_nesting_is_unknown_and_ends_nothing(text: str) -> None:
    (one,) = split_statements(text, source="case")
    assert not predict_locks(one).complete


def test_a_renamed_table_is_the_one_that_was_there_before() -> None:
    script = (
        "ALTER TABLE a RENAME TO b; ALTER TABLE b SET SCHEMA s; ALTER TABLE s.b ADD COLUMN x int; CREATE INDEX ON c (x)"
    )
    forecast = forecast_locks(split_statements(script, source="case"))
    assert {str(lock.relation): lock.mode for lock in forecast.locks} == {
        "a": LockMode.ACCESS_EXCLUSIVE,
        "c": LockMode.SHARE,
    }
    assert forecast.strongest is not None
    assert str(forecast.strongest.relation) == "a"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("CREATE TABLE x (id int); CREATE INDEX ON x (id); ALTER TABLE x ADD y int; DROP TABLE x", {}),
        ("WITH x AS (SELECT 1) UPDATE public.t SET k = 1 FROM x", {"public.t": LockMode.ROW_EXCLUSIVE}),
        ("ALTER TABLE t ADD x int REFERENCES u UNIQUE", {"t": LockMode.ACCESS_EXCLUSIVE, "u": SRX}),
        ("ALTER TABLE t SET (fillfactor = 70), ENABLE TRIGGER g", {"t": SRX}),
        ("ALTER TABLE t SET (fillfactor = 70, user_catalog_table = true)", {"t": LockMode.ACCESS_EXCLUSIVE}),
        ("ALTER TABLE t OF kind", {"t": LockMode.ACCESS_EXCLUSIVE}),
        ("ALTER INDEX i SET (fastupdate = off)", {"i": LockMode.ACCESS_EXCLUSIVE}),
        ("ALTER INDEX i RENAME TO j", {"i": LockMode.SHARE_UPDATE_EXCLUSIVE}),
        ("ALTER VIEW v ALTER a SET DEFAULT 1", {"v": LockMode.ACCESS_EXCLUSIVE}),
        ("ALTER FOREIGN TABLE f ADD COLUMN x int", {"f": LockMode.ACCESS_EXCLUSIVE}),
        ("COMMENT ON COLUMN public.t.a IS 'x'", {"public.t": LockMode.SHARE_UPDATE_EXCLUSIVE}),
        ("LOCK TABLE t, u IN EXCLUSIVE MODE", {"t": LockMode.EXCLUSIVE, "u": LockMode.EXCLUSIVE}),
    ],
)
def test_a_script_locks_what_was_there_before_it(script: str, expected: dict[str, LockMode]) -> None:
    forecast = forecast_locks(split_statements(script, source="case"))
    assert {str(lock.relation): lock.mode for lock in forecast.locks} == expected


def test_locks_that_nobody_foresaw_are_those_that_are_stronger_or_elsewhere() -> None:
    forecast = forecast_locks(split_statements("CREATE INDEX ON t (a)", source="case"))

    def lock(name: str, mode: LockMode) -> RelationLock:
        return RelationLock(relation=RelationName(schema="public", name=name), mode=mode)

    seen = [lock("t", LockMode.SHARE), lock("t", LockMode.ACCESS_EXCLUSIVE), lock("u", LockMode.ROW_EXCLUSIVE)]
    assert forecast.unforeseen(seen) == (seen[1], seen[2])


def test_every_mode_conflicts_as_the_manual_says() -> None:
    marks = {
        mode: "".join("X" if other in mode.conflicts else "." for other in LockMode) for mode in LockMode
    }  # manual, "Conflicting Lock Modes"
    assert list(marks.values()) == [
        ".......X",
        "......XX",
        "....XXXX",
        "...XXXXX",
        "..XX.XXX",
        "..XXXXXX",
        ".XXXXXXX",
        "XXXXXXXX",
    ]
    assert all(lock_mode(mode.in_pg_locks) is mode for mode in LockMode)
    assert LockMode.SHARE_ROW_EXCLUSIVE.in_pg_locks == "ShareRowExclusiveLock"
