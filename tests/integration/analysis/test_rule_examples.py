"""The rules' examples run on real servers: what a rule says about locks and rewrites is what a second session sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
import pytest
from psycopg import sql

from squizzle.analysis.findings import Finding
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.records import Statement
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.analysis.rules.rule import Rule
from squizzle.analysis.rules.words import LATER
from squizzle.analysis.statements import split_statements
from squizzle.migrations.watch import SessionWatch
from squizzle.postgres.access import Connection, ServerAccess, connect
from tests.support.rules import SCHEMA, findings_of, sql_of_hint

RULES = [rule for rule in built_in_rules() if not rule.not_run]
each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
TEMPLATE, SHARED, SCRATCH = "rule_examples", "rule_examples_shared", "rule_examples_scratch"


@pytest.fixture(scope="module")
def template(access: ServerAccess) -> Iterator[str]:
    with connect(access, "postgres", purpose="test") as control:
        control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(TEMPLATE)))
        with connect(access, TEMPLATE, purpose="test") as owner:
            owner.execute(SCHEMA.encode())
        yield TEMPLATE
        control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(TEMPLATE)))


@pytest.fixture(scope="module")
def sessions(access: ServerAccess, template: str) -> Iterator[tuple[Connection, Connection]]:
    """One that runs the examples and rolls them back, and one that looks."""
    with connect(access, "postgres", purpose="test") as control:
        _copy(control, template, SHARED)
        with connect(access, SHARED, purpose="test") as worker, connect(access, SHARED, purpose="test") as looker:
            yield worker, looker
        control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(SHARED)))


def _copy(control: Connection, template: str, name: str) -> None:
    copied = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    control.execute(copied)


@pytest.fixture
def scratch(access: ServerAccess, template: str) -> Iterator[Connection]:
    """A copy that may be changed for good."""
    with connect(access, "postgres", purpose="test") as control:
        _copy(control, template, SCRATCH)
        with connect(access, SCRATCH, purpose="test") as opened:
            yield opened
        control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(SCRATCH)))


def statements_of(text: str) -> list[Statement]:
    """What an example does, without its own BEGIN and COMMIT: a test's transaction is around it."""
    return [one for one in split_statements(text, source="example") if one.control is None]


def fits_a_transaction(statements: Sequence[Statement]) -> bool:
    in_pieces = any(one.adds_enum_value for one in statements) and len(statements) > 1
    return all(one.transactional for one in statements) and not in_pieces


def run(connection: Connection, statements: Sequence[Statement]) -> None:
    for statement in statements:
        connection.execute(statement.sql.encode())


FILES = """
SELECT c.oid::regclass::text, pg_relation_filenode(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'archive') AND c.relkind IN ('r', 'm', 'i')
"""
ROWS_READ = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relid = to_regclass(%s)"


BAD_IN_A_TRANSACTION = [rule for rule in RULES if not rule.refused and fits_a_transaction(statements_of(rule.bad))]


@pytest.mark.parametrize("rule", BAD_IN_A_TRANSACTION, ids=[rule.name for rule in BAD_IN_A_TRANSACTION])
def test_a_bad_example_does_to_the_table_what_its_rule_says(
    sessions: tuple[Connection, Connection], rule: Rule
) -> None:
    worker, looker = sessions
    found = [one for one in findings_of(rule.bad) if one.rule == rule.code]
    watch = SessionWatch(looker, worker.info.backend_pid, lambda _text: None)
    before = dict(looker.execute(FILES).fetchall())
    with worker.transaction(force_rollback=True):
        run(worker, statements_of(rule.bad))
        watch.note_locks()
        after = dict(worker.execute(FILES).fetchall())
        read = worker.execute(ROWS_READ, (found[0].relation or None,)).fetchone()
    observed = {lock.relation.name: lock.mode for lock in watch.take_locks()}

    assert {one.relation: observed.get(one.relation) for one in found if one.lock} == expected_locks(found)
    rewritten = {name for name, file in before.items() if name in after and after[name] != file}
    assert (found[0].relation in rewritten) is (rule.does is Effect.REWRITES or rule.code in EMPTIES)
    if rule.does is Effect.READS_ALL:
        assert read is not None
        assert read[0] >= 100


# TRUNCATE gives a table a new file, too.
EMPTIES = {"D102"}


def expected_locks(found: Sequence[Finding]) -> dict[str, LockMode]:
    return {one.relation: LockMode(one.lock) for one in found if one.lock}


def test_most_bad_examples_are_measured() -> None:
    assert sum(bool(one.lock) for rule in BAD_IN_A_TRANSACTION for one in findings_of(rule.bad)) > 25
    measured = {rule.code for rule in BAD_IN_A_TRANSACTION}
    assert {rule.code for rule in RULES} - measured == {rule.code for rule in RULES if rule.refused} | {"X105", "T111"}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.refused], ids=lambda rule: rule.name)
def test_a_bad_example_that_cannot_run_is_refused_by_the_server(
    sessions: tuple[Connection, Connection], rule: Rule
) -> None:
    worker, _looker = sessions
    with pytest.raises(psycopg.Error) as caught, worker.transaction(force_rollback=True):
        run(worker, statements_of(rule.bad))
    assert caught.value.sqlstate == rule.refused


GOOD_IN_A_TRANSACTION = [rule for rule in RULES if fits_a_transaction(statements_of(rule.good))]
GOOD_IN_PIECES = [rule for rule in RULES if not fits_a_transaction(statements_of(rule.good))]


@pytest.mark.parametrize("rule", GOOD_IN_A_TRANSACTION, ids=[rule.name for rule in GOOD_IN_A_TRANSACTION])
def test_a_good_example_runs_and_writes_no_table_anew(sessions: tuple[Connection, Connection], rule: Rule) -> None:
    worker, looker = sessions
    before = dict(looker.execute(FILES).fetchall())
    with worker.transaction(force_rollback=True):
        run(worker, statements_of(rule.good))
        after = dict(worker.execute(FILES).fetchall())
    assert {name for name, file in before.items() if name in after and after[name] != file} == set()


@pytest.mark.parametrize("rule", GOOD_IN_PIECES, ids=[rule.name for rule in GOOD_IN_PIECES])
def test_a_good_example_that_fits_no_transaction_runs_in_pieces(scratch: Connection, rule: Rule) -> None:
    run(scratch, statements_of(rule.good))


def runnable_hints(rule: Rule) -> Iterator[tuple[Statement, ...]]:
    """The safe ways that a rule prints for its bad example, where they are SQL and nothing is left open."""
    for one in findings_of(rule.bad):
        statements = sql_of_hint(one.hint)
        if one.rule != rule.code or "…" in one.hint or not statements:
            continue
        # What a script makes itself is not there yet when its hint is tried.
        builds_on_it = rule.bad.startswith(("CREATE TABLE", "CREATE FUNCTION")) or one.hint.startswith(LATER)
        yield (*statements_of(rule.bad)[:1], *statements) if builds_on_it else statements


HINTS = [(rule, statements) for rule in RULES for statements in runnable_hints(rule)]
HINTS_IN_PIECES = [(rule, statements) for rule, statements in HINTS if not fits_a_transaction(statements)]


def test_the_safe_way_that_a_finding_prints_runs_as_it_is_printed(sessions: tuple[Connection, Connection]) -> None:
    worker, _looker = sessions
    for _rule, statements in HINTS:
        if fits_a_transaction(statements):
            with worker.transaction(force_rollback=True):
                run(worker, statements)
    assert len({rule.code for rule, _statements in HINTS}) >= 35


@pytest.mark.parametrize(
    ("rule", "statements"), HINTS_IN_PIECES, ids=[rule.name for rule, _statements in HINTS_IN_PIECES]
)
def test_a_safe_way_that_fits_no_transaction_runs_in_pieces(
    scratch: Connection, rule: Rule, statements: tuple[Statement, ...]
) -> None:
    assert rule.safe_way
    run(scratch, statements)
