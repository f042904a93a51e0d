"""Two spellings of one meaning become equal, two meanings never do.

Every pair of spellings here was printed by a server: before a dump, and after its restore.
"""

from __future__ import annotations

import pytest

from squizzle.proof.canonical import canonical

ROLE_BEFORE = "((role)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))"
ROLE_AFTER = "((role)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text]))"
RANGE_BEFORE = "(((x >= 1) AND (x <= 2)) AND y)"
RANGE_AFTER = "((x >= 1) AND (x <= 2) AND y)"

AROUND = {
    "constraint": "CHECK ({}) NOT VALID",
    "default": "CASE WHEN {} THEN 1 ELSE 2 END",
    "domain constraint": "CHECK ({})",
    "domain default": "CASE WHEN {} THEN 1 ELSE 2 END",
    "function": "CREATE OR REPLACE FUNCTION s.f()\n RETURNS boolean\n LANGUAGE sql\nRETURN {}\n",
    "index": "CREATE INDEX i ON s.t USING btree (a) WHERE {}",
    "invalid index": "CREATE INDEX i ON s.t USING btree (a) WHERE {}",
    "partition key": "LIST (({}))",
    "policy check": "{}",
    "policy using": "{}",
    "publication filter": "{}",
    "rule": "CREATE RULE r AS\n    ON DELETE TO s.t\n   WHERE {} DO INSTEAD NOTHING;",
    "statistics": "CREATE STATISTICS s.st ON a, ({}) FROM s.t",
    "trigger": "CREATE TRIGGER tr BEFORE UPDATE ON s.t FOR EACH ROW WHEN ({}) EXECUTE FUNCTION s.f()",
    "view definition": " SELECT a\n   FROM s.t\n  WHERE {};",
}


@pytest.mark.parametrize("kind", AROUND)
@pytest.mark.parametrize(
    ("before", "after"),
    [(ROLE_BEFORE, ROLE_AFTER), (RANGE_BEFORE, RANGE_AFTER), ("((a OR b) OR (c OR d))", "(a OR b OR c OR d)")],
)
def test_spellings_of_one_meaning_are_equal_in_every_kind_of_object(kind: str, before: str, after: str) -> None:
    around = AROUND[kind]
    assert canonical(kind, around.format(before)) == canonical(kind, around.format(after))
    assert canonical(kind, around.format(before)) != canonical(kind, around.format(f"(NOT {before})"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("((a AND b) OR c)", "(a AND (b OR c))"),
        ("(a AND (b OR c))", "(a AND b AND c)"),
        ("((a AND b) OR c)", "(a OR b OR c)"),
        ("(a AND b AND c)", "(a AND c AND b)"),
        ("(a AND b)", "(a AND b AND b)"),
        ("(NOT (a AND b))", "((NOT a) AND b)"),
        ("(a OR b)", "(a AND b)"),
        ("(x = ANY (ARRAY[1, 2]))", "(x = ANY (ARRAY[2, 1]))"),
        ("(x = ANY (ARRAY[1, 2]))", "(x <> ALL (ARRAY[1, 2]))"),
        ("(x = ANY (ARRAY['a'::text]))", "(x = ALL (ARRAY['a'::text]))"),
        ("((ARRAY['1'::varchar])::text[])", "((ARRAY['1'::varchar])::int[])"),
        ("((ARRAY['1'::varchar])::varchar(1)[])", "((ARRAY['1'::varchar])::varchar(2)[])"),
        ("((ARRAY['a'::varchar])::text[])", "(ARRAY['a'::varchar])"),
        ("((ARRAY['a'::varchar])::text[])", "(ARRAY['a'::text])"),
        ("((ARRAY['a'::varchar])::text[])", "((ARRAY['a'::varchar])::text)"),
        ("((ARRAY[ARRAY['a'::varchar]])::text[])", "(ARRAY[(ARRAY['a'::varchar])::text])"),
        ("((ARRAY['a'::varchar[]])::text[])", "(ARRAY[('a'::varchar[])::text])"),
        ("((ARRAY[list])::text[])", "(ARRAY[(list)::text])"),
        ("((ARRAY[f(1)])::text[])", "(ARRAY[(f(1))::text])"),
        ("((ARRAY['{}'::s.domain_over_array])::text[])", "(ARRAY[('{}'::s.domain_over_array)::text])"),
        ("((ARRAY['1 2'::int2vector])::text[])", "(ARRAY[('1 2'::int2vector)::text])"),
        ("((ARRAY['{}'::_text])::text[])", "(ARRAY[('{}'::_text)::text])"),
        ("'a AND b'", "'a and b'"),
        ("(a = 'x OR  y')", "(a = 'x OR y')"),
    ],
)
def test_different_meanings_stay_different(one: str, other: str) -> None:
    assert canonical("default", one) != canonical("default", other)


def test_array_of_columns_is_pushed_only_when_some_element_is_certainly_no_array() -> None:
    before = "((a)::text = ANY ((ARRAY[b, c])::text[]))"
    after = "((a)::text = ANY (ARRAY[(b)::text, (c)::text]))"
    assert canonical("default", before) != canonical("default", after)
    scalar = frozenset({"b"})
    assert canonical("default", before, scalars=scalar) == canonical("default", after, scalars=scalar)
    own, own_after = "((ARRAY['a'::s.word])::text[])", "(ARRAY[('a'::s.word)::text])"
    assert canonical("default", own) != canonical("default", own_after)
    assert canonical("default", own, scalars=frozenset({"word"})) == canonical(
        "default", own_after, scalars=frozenset({"word"})
    )
    mixed, mixed_after = "((ARRAY[f(1), 'x'::varchar])::text[])", "(ARRAY[(f(1))::text, ('x'::varchar)::text])"
    assert canonical("default", mixed) == canonical("default", mixed_after)


def test_forms_within_forms_are_found() -> None:
    inside = f"(((a AND {ROLE_BEFORE}) AND b) OR c)"
    assert canonical("default", inside) == canonical("default", f"((a AND {ROLE_AFTER} AND b) OR c)")


@pytest.mark.parametrize("kind", ["constraint", "default", "view definition"])
def test_what_cannot_be_parsed_is_compared_as_it_is_written(kind: str) -> None:
    assert canonical(kind, "a AND ((") == "a AND (("
    assert canonical(kind, "a AND  ((") != canonical(kind, "a AND ((")


def test_other_kinds_are_compared_as_they_are_written() -> None:
    assert canonical("table", "x AND (y AND z)") == "x AND (y AND z)"


def test_definition_without_two_spellings_stays_readable() -> None:
    assert canonical("default", "now()") == "now()"
