"""The pieces that ways back are made of: names, types, dumps, texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.analysis.scanner import scan
from squizzle.errors import InvalidInputError, VersionConflictError
from squizzle.migrations.records import Labels, Migration
from squizzle.migrations.reversal.archive import Entry, read_archive
from squizzle.migrations.reversal.chosen_names import make_object_name
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.lossless import keeps_every_value
from squizzle.migrations.reversal.records import (
    Match,
    Reversal,
    ReversedStatement,
    Reversibility,
    exact,
    irreversible,
    lossy,
)
from squizzle.migrations.reversal.rendering import render
from squizzle.migrations.reversal.requests import Means, reverse_version
from squizzle.migrations.reversal.restoring import chosen_entries, dropping, making
from squizzle.migrations.reversal.saving import saved_name
from squizzle.migrations.reversal.trees import literal, quoted


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("users", "email", "key"), "users_email_key"),
        (("users", "", "pkey"), "users_pkey"),
        (("t" * 60, "column", "idx"), "t" * 52 + "_column_idx"),
        (("t" * 60, "c" * 60, "fkey"), "t" * 29 + "_" + "c" * 28 + "_fkey"),
    ],
)
def test_a_chosen_name_is_cut_as_the_server_cuts_it(parts: tuple[str, str, str], name: str) -> None:
    assert make_object_name(*parts) == name
    assert len(name) <= 63


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("character varying(10)", "varchar(20)", True),
        ("character varying(10)", "text", True),
        ("character varying(20)", "varchar(10)", False),
        ("text", "varchar(10)", False),
        ("integer", "int8", True),
        ("bigint", "int", False),
        ("numeric(5,2)", "numeric(7, 2)", True),
        ("numeric(5,2)", "numeric(7, 3)", False),
        ("integer[]", "bigint[]", True),
        ("integer", "bigint[]", False),
        ("timestamp without time zone", "timestamptz", False),
        ("json", "jsonb", False),
        ("public.mood", "text", False),
    ],
)
def test_only_wider_types_keep_every_value(old: str, new: str, *, kept: bool) -> None:
    assert keeps_every_value(old, new) is kept


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_quoted_name_is_one_token(name: str) -> None:
    tokens = scan(f"SELECT {quoted(name)}")

    assert len(tokens) == 2


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_literal_is_one_token(text: str) -> None:
    assert len(scan(f"SELECT {literal(text)}")) == 2


class Archive:
    """Writes what pg_dump's custom format holds, as far as it is read."""

    def __init__(self, minor: int) -> None:
        self.content = b"PGDMP" + bytes([1, minor, 0, 4, 8, 1])
        self.content += b"\0" if minor >= 15 else self.number(0)
        self.minor = minor
        for _ in range(7):
            self.content += self.number(0)
        for text in ("db", "18", "18"):
            self.content += self.text(text)

    @staticmethod
    def number(value: int) -> bytes:
        return bytes([value < 0]) + abs(value).to_bytes(4, "little")

    def text(self, value: str | None) -> bytes:
        return self.number(-1) if value is None else self.number(len(value.encode())) + value.encode()

    def entry(self, number: int, kind: str, definition: str, *, needs: tuple[int, ...] = ()) -> bytes:
        content = self.number(number) + self.number(0)
        for text in ("1259", "77", "t", kind):
            content += self.text(text)
        content += self.number(2)
        for text in (definition, "DROP TABLE public.t;\n", None, "public", None, "heap"):
            content += self.text(text)
        if self.minor >= 16:
            content += self.number(0)
        for text in ("boss", "false", *map(str, needs), None):
            content += self.text(text)
        return content + bytes(9)


@pytest.mark.parametrize("minor", [14, 15, 16])
def test_a_dumps_table_of_contents_is_read(minor: int) -> None:
    archive = Archive(minor)
    entries = archive.entry(3, "TABLE", "CREATE TABLE public.t ();\n") + archive.entry(9, "COMMENT", "", needs=(3,))

    found = read_archive(archive.content + archive.number(2) + entries)

    assert [(one.id, one.kind, one.oid, one.owner, one.needs) for one in found] == [
        (3, "TABLE", 77, "boss", frozenset()),
        (9, "COMMENT", 77, "boss", frozenset({3})),
    ]
    assert found[0].definition == "CREATE TABLE public.t ();\n"


@pytest.mark.parametrize(
    "content", [b"", b"PGDMP", b"-- a plain dump", Archive(17).content, Archive(16).content + b"\0\2\0\0\0"]
)
def test_what_is_no_readable_dump_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInputError):
        read_archive(content)


ENTRIES = (
    Entry(
        id=1,
        catalogue=1259,
        oid=5,
        kind="TABLE",
        tag="t",
        definition="CREATE TABLE s.t ();",
        drop="DROP TABLE s.t;",
        schema="s",
        owner="boss",
    ),
    Entry(id=2, kind="ACL", tag="TABLE t", definition="GRANT SELECT ON TABLE s.t TO r;", needs=frozenset({1})),
    Entry(
        id=3,
        catalogue=1259,
        oid=6,
        kind="TABLE",
        tag="u",
        definition="CREATE TABLE s.u ();",
        drop="DROP TABLE s.u;",
        schema="s",
        owner="me",
    ),
    Entry(id=4, kind="COMMENT", tag="TABLE t", definition="COMMENT ON TABLE s.t IS 'x';", needs=frozenset({1})),
    Entry(
        id=5,
        catalogue=2606,
        oid=7,
        kind="FK CONSTRAINT",
        tag="t k",
        definition="ALTER TABLE ONLY s.t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES s.u;",
        drop="ALTER TABLE ONLY s.t DROP CONSTRAINT k;",
    ),
)


def test_an_object_comes_back_with_its_owner_its_comment_and_its_privileges_last() -> None:
    chosen = chosen_entries(ENTRIES, {(1259, 5), (2606, 7)})

    assert making(chosen, current_user="me") == (
        "CREATE TABLE s.t ()",
        "ALTER TABLE s.t OWNER TO boss",
        "COMMENT ON TABLE s.t IS 'x'",
        "ALTER TABLE ONLY s.t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES s.u",
        "GRANT SELECT ON TABLE s.t TO r",
    )
    assert dropping(chosen) == ("ALTER TABLE ONLY s.t DROP CONSTRAINT k", "DROP TABLE s.t")


def test_tables_of_saved_rows_have_names_of_their_own_that_fit() -> None:
    context = Context(save_as="20260101120000", number=12)

    assert saved_name(context, "public.orders") == 'squizzle_undo."20260101120000_12_orders"'
    twins = ("t" * 63, "t" * 62 + "u", '"Order Items"', '"Order-Items"', '"Örder"', '"Ürder"', "a.t", "b.t")
    names = {saved_name(context, table) for table in twins}
    assert len(names) == len(twins)
    assert all(len(name.removeprefix("squizzle_undo.").strip('"').encode()) <= 63 for name in names)


def reversed_(sql: str, line: int, reverse: object) -> ReversedStatement:
    return ReversedStatement(sql=sql, line=line, reverse=reverse)  # type: ignore[arg-type]


def test_the_text_runs_backwards_and_explains_every_statement() -> None:
    found = Reversal(
        source="0001_x/up.sql",
        statements=(
            reversed_("CREATE TABLE t (\n  a int)", 1, exact("DROP TABLE t", reason="what was made is dropped")),
            reversed_("SET a.b = 1", 4, exact(reason="a setting ends with the session")),
            reversed_("DELETE FROM u", 5, irreversible("rows are lost")),
        ),
        proof="not proved",
    )

    assert render(found) == (
        "-- The way back of 0001_x/up.sql, generated from it. Reversibility: none.\n-- not proved\n\n"
        "-- Line 5: DELETE FROM u\n-- cannot be undone, because rows are lost\n\n"
        "-- Line 4: SET a.b = 1\n-- nothing to do: a setting ends with the session\n\n"
        "-- Line 1: CREATE TABLE t ( a int)\n-- exact: what was made is dropped\nDROP TABLE t;\n"
    )


@pytest.mark.parametrize(
    ("ways", "match", "drift", "label"),
    [
        ([exact("a")], Match.STRICT, (), Reversibility.EXACT),
        ([exact("a")], Match.LOGICAL, (), Reversibility.LOSSY),
        ([exact("a")], Match.DIFFERENT, (), Reversibility.LOSSY),
        ([exact("a")], Match.STRICT, ("table t",), Reversibility.LOSSY),
        ([exact("a"), lossy("b", reason="r")], Match.STRICT, (), Reversibility.LOSSY),
        ([exact("a"), irreversible("r")], Match.STRICT, (), Reversibility.LOSSY),
        ([exact("a"), irreversible("r")], Match.UNPROVEN, (), Reversibility.NONE),
        ([exact("a"), irreversible("r")], Match.DIFFERENT, (), Reversibility.NONE),
        ([irreversible("r")], Match.STRICT, (), Reversibility.NONE),
        ([], Match.STRICT, (), Reversibility.EXACT),
    ],
)
def test_a_script_is_as_reversible_as_its_worst_statement_and_its_proof(
    ways: list[object], match: Match, drift: tuple[str, ...], label: Reversibility
) -> None:
    statements = tuple(reversed_("x", 1, way) for way in ways)

    assert Reversal(source="s", statements=statements, match=match, drift=drift).reversibility is label


MIGRATION = Migration(
    version="0001",
    name="x",
    up_sql="SELECT 1",
    down_sql=None,
    verify_sql=None,
    checksum="",
    source=Path("0001_x"),
    labels=Labels(up="0001_x/up.sql"),
)


@pytest.mark.parametrize(
    ("changes", "version", "error"),
    [
        ({}, "0002", VersionConflictError),
        ({"program": object()}, "0001", InvalidInputError),
        ({"version": f"{10**20 - 1}-views"}, f"{10**20 - 1}-views", InvalidInputError),
    ],
)
def test_what_is_no_script_of_its_own_has_no_generated_way_back(
    changes: dict[str, object], version: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        reverse_version((replace(MIGRATION, **changes),), version, None, Means())  # type: ignore[arg-type]
