"""One spelling for what PostgreSQL spells in two ways, and for nothing else."""

from __future__ import annotations

import pytest

from squizzle.proof.canonical import canonical

# Deeper than protobuf reads unasked.
SIXTY = "('a'::text || " * 60 + "'b'::text" + ")" * 60
# As the server prints a definition, and as it prints it again after a dump and a restore (seen on 15 and 18).
SAME = {
    "IN list over varchar": (
        "constraint",
        "CHECK (((role)::text = ANY ((ARRAY['admin'::character varying, 'staff'::character varying])::text[])))",
        "CHECK (((role)::text = ANY (ARRAY[('admin'::character varying)::text, ('staff'::character varying)::text])))",
    ),
    "IN list over varchar in an index": (
        "index",
        "CREATE INDEX i ON t (a) WHERE ((s)::text = ANY ((ARRAY['x'::varchar, 'y'::varchar])::text[]))",
        "CREATE INDEX i ON t (a) WHERE ((s)::text = ANY (ARRAY[('x'::varchar)::text, ('y'::varchar)::text]))",
    ),
    "IN list over varchar in a view": (
        "view definition",
        " SELECT id FROM t WHERE ((s)::text = ANY ((ARRAY['x'::varchar, 'y'::varchar])::text[]));",
        " SELECT id FROM t WHERE ((s)::text = ANY (ARRAY[('x'::varchar)::text, ('y'::varchar)::text]));",
    ),
    "BETWEEN inside AND": (
        "constraint",
        "CHECK ((((n >= 1) AND (n <= 5)) AND (name IS NOT NULL)))",
        "CHECK (((n >= 1) AND (n <= 5) AND (name IS NOT NULL)))",
    ),
    "BETWEEN at the end of AND": (
        "constraint",
        "CHECK (((name IS NOT NULL) AND ((n >= 1) AND (n <= 5))))",
        "CHECK (((name IS NOT NULL) AND (n >= 1) AND (n <= 5)))",
    ),
    "nested OR": ("constraint", "CHECK (((a OR b) OR (c OR d)))", "CHECK ((a OR b OR c OR d))"),
    "deeply nested AND": (
        "constraint",
        "CHECK ((a AND (b AND (c AND (d AND e)))))",
        "CHECK ((a AND b AND c AND d AND e))",
    ),
    "AND inside OR inside AND": (
        "constraint",
        "CHECK (((a AND b) AND (c OR (d OR (e AND (f AND g))))))",
        "CHECK ((a AND b AND (c OR d OR (e AND f AND g))))",
    ),
    "an array cast in a default": (
        "default",
        "(ARRAY['x'::character varying])::text[]",
        "ARRAY[('x'::character varying)::text]",
    ),
    "both in the condition of a trigger": (
        "trigger",
        "CREATE TRIGGER u BEFORE UPDATE ON t FOR EACH ROW WHEN (((new.a AND new.b) AND new.c)) EXECUTE FUNCTION f()",
        "CREATE TRIGGER u BEFORE UPDATE ON t FOR EACH ROW WHEN ((new.a AND new.b AND new.c)) EXECUTE FUNCTION f()",
    ),
    "AND over a chain of sixty texts": (
        "constraint",
        f"CHECK (((a AND b) AND (c = {SIXTY})))",
        f"CHECK ((a AND b AND (c = {SIXTY})))",
    ),
    "a domain's": (
        "domain constraint",
        "CHECK ((((VALUE >= 1) AND (VALUE <= 5)) AND (VALUE <> 3)))",
        "CHECK (((VALUE >= 1) AND (VALUE <= 5) AND (VALUE <> 3)))",
    ),
}

DIFFERENT = {
    "AND for OR": ("constraint", "CHECK ((a AND b))", "CHECK ((a OR b))"),
    "AND binds tighter": ("constraint", "CHECK (((a AND b) OR c))", "CHECK ((a AND (b OR c)))"),
    "a NOT": ("constraint", "CHECK ((a AND b))", "CHECK ((a AND (NOT b)))"),
    "NOT twice": ("constraint", "CHECK ((NOT (NOT (a AND b))))", "CHECK ((NOT (a AND b)))"),
    "NOT over the whole": ("constraint", "CHECK ((NOT (a AND b)))", "CHECK (((NOT a) AND b))"),
    "a condition more": ("constraint", "CHECK ((a AND b))", "CHECK ((a AND b AND c))"),
    "a bound": ("constraint", "CHECK (((n >= 1) AND (n <= 5)))", "CHECK (((n >= 1) AND (n < 5)))"),
    "a number": ("constraint", "CHECK (((n >= 1) AND (n <= 5)))", "CHECK (((n >= 1) AND (n <= 6)))"),
    "a value of an IN list": (
        "constraint",
        "CHECK (((s)::text = ANY ((ARRAY['x'::varchar, 'y'::varchar])::text[])))",
        "CHECK (((s)::text = ANY (ARRAY[('x'::varchar)::text, ('z'::varchar)::text])))",
    ),
    "a value less": (
        "constraint",
        "CHECK ((s = ANY (ARRAY['x'::text, 'y'::text])))",
        "CHECK ((s = ANY (ARRAY['x'::text])))",
    ),
    "ALL for ANY": (
        "constraint",
        "CHECK ((s = ANY (ARRAY['x'::text, 'y'::text])))",
        "CHECK ((s = ALL (ARRAY['x'::text, 'y'::text])))",
    ),
    "the type of a cast": (
        "constraint",
        "CHECK ((s = ANY ((ARRAY['1'::varchar])::text[])))",
        "CHECK ((s = ANY ((ARRAY['1'::varchar])::bpchar[])))",
    ),
    "case inside a string": ("constraint", "CHECK (((s = 'a') AND b))", "CHECK (((s = 'A') AND b))"),
    "a quoted name": ("constraint", 'CHECK (("A" AND b))', "CHECK ((a AND b))"),
    "NOT VALID": ("constraint", "CHECK ((a AND b))", "CHECK ((a AND b)) NOT VALID"),
    "NOT VALID of a domain": (
        "domain constraint",
        "CHECK (((VALUE > 1) AND (VALUE < 5)))",
        "CHECK (((VALUE > 1) AND (VALUE < 5))) NOT VALID",
    ),
    "uniqueness": (
        "index",
        "CREATE INDEX i ON public.t USING btree (a) WHERE (a AND b)",
        "CREATE UNIQUE INDEX i ON public.t USING btree (a) WHERE (a AND b)",
    ),
    "the order of an index": (
        "index",
        "CREATE INDEX i ON public.t USING btree (a, b) WHERE (a AND b)",
        "CREATE INDEX i ON public.t USING btree (b, a) WHERE (a AND b)",
    ),
}


@pytest.mark.parametrize(("kind", "one", "other"), SAME.values(), ids=SAME.keys())
def test_two_spellings_of_the_same_become_one(kind: str, one: str, other: str) -> None:
    assert one != other
    assert canonical(kind, one) == canonical(kind, other)


@pytest.mark.parametrize(("kind", "one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_means_something_else_stays_different(kind: str, one: str, other: str) -> None:
    assert canonical(kind, one) != canonical(kind, other)


@pytest.mark.parametrize("kind", ["default", "constraint", "domain constraint", "index", "trigger", "view definition"])
def test_what_cannot_be_parsed_is_compared_as_it_is_written(kind: str) -> None:
    strange = "CHECK ((a AND b) THIS IS NO SQL AT ALL (("

    assert canonical(kind, strange) == strange


@pytest.mark.parametrize("kind", ["column", "table", "function", "rule", "policy", "extension"])
def test_kinds_that_have_one_spelling_are_left_alone(kind: str) -> None:
    text = "x = ANY (ARRAY['a']::text[]) AND (y AND z)"

    assert canonical(kind, text) == text


@pytest.mark.parametrize(
    "text", ["CHECK ((a > 1))", "CHECK ((brand IS NOT NULL))", "nextval('order_id_seq'::regclass)"]
)
def test_a_definition_that_has_only_one_spelling_is_left_alone(text: str) -> None:
    assert canonical("constraint", text) == text
