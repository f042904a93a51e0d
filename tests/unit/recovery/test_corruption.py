"""Pages and what to do about them, without a server."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.errors import RefusedError
from squizzle.recovery.corruption.advice import advice_for, refuse_shredding
from squizzle.recovery.corruption.pages import PAGE_BYTES, checksum_words, flaw_of, hollow_page, read_header
from squizzle.recovery.corruption.records import DamagedPage, Finding, Role
from squizzle.recovery.corruption.structure import Relation, name_by_file, name_damage, sound_runs

SOUND = hollow_page(7, checksums=True)


def with_header(**fields: int) -> bytes:
    places = {"flags": 10, "lower": 12, "upper": 14, "special": 16}
    page = bytearray(SOUND)
    for name, value in fields.items():
        struct.pack_into("<H", page, places[name], value)
    return bytes(page)


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (SOUND, ""),
        (bytes(PAGE_BYTES), ""),
        (SOUND[:100], "the file ends in the middle of it, after 100 bytes"),
        (with_header(upper=0), "it is not empty"),
        (with_header(flags=8), "flags that do not exist"),
        (with_header(lower=8000, upper=400), "makes no sense"),
        (with_header(special=8190), "makes no sense"),
        (with_header(upper=9000, special=9000), "makes no sense"),
    ],
)
def test_a_page_is_refused_for_what_postgresql_refuses_it_for(page: bytes, why: str) -> None:
    found = flaw_of(page)
    assert why in found
    assert bool(why) == bool(found)


@given(st.integers(0, PAGE_BYTES - 1), st.integers(0, 7))
def test_any_flipped_bit_of_a_page_and_any_other_place_is_seen_in_its_checksum(at: int, bit: int) -> None:
    damaged = bytearray(SOUND)
    damaged[at] ^= 1 << bit
    assert checksum_words(SOUND, 7) == ""
    assert checksum_words(SOUND, 8) != ""
    assert checksum_words(bytes(damaged), 7) != ""


def test_a_header_of_nonsense_has_as_many_lines_as_there_can_be() -> None:
    assert read_header(SOUND).lines == 291
    assert read_header(with_header(lower=24 + 4 * 5)).lines == 5
    assert read_header(with_header(lower=65_535)).lines == 291


@given(st.integers(0, 40), st.sets(st.integers(0, 50)))
def test_runs_are_every_sound_block_once_and_no_damaged_one(pages: int, damaged: set[int]) -> None:
    blocks = [block for first, last in sound_runs(pages, damaged) for block in range(first, last + 1)]
    assert blocks == [block for block in range(pages) if block not in damaged]


def page_of(file: str, block: int = 0) -> DamagedPage:
    return DamagedPage(file=file, block=block, offset=block * PAGE_BYTES, why="", sha256="", kept_as="")


def relation(name: str, kind: str, file: str, *, table: str = "", catalogue: bool = False) -> Relation:
    return Relation(
        oid=1, name=name, schema="public", bare_name=name, kind=kind, persistence="p", method="heap", file=file,
        table_name=table or name, table_kind="r", is_catalogue=catalogue, is_toast_index=False, pages=9, pages_once=9,
    )  # fmt: skip


def test_every_damaged_page_finds_its_relation_or_is_said_to_have_none() -> None:
    relations = (
        relation("public.t", "r", "base/5/100"),
        relation("public.t_pkey", "i", "base/5/101", table="public.t"),
        relation("public.u_pkey", "i", "base/5/102", table="public.u"),
        relation("pg_catalog.pg_class", "r", "base/5/1259", catalogue=True),
    )
    files = ("base/5/100.2", "base/5/100_vm", "base/5/101", "base/5/999", "base/6/100", "global/1262", "base/5/1259")
    findings = (Finding(relation="public.u_pkey", message="out of order"),)

    found = name_damage(relations, map(page_of, files), findings, {5: "shop", 6: "other"}, 5)

    assert {(one.name, one.role) for one in found} == {
        ("public.t", Role.TABLE),
        ("public.t", Role.MAP),
        ("public.t_pkey", Role.INDEX),
        ("public.u_pkey", Role.INDEX),
        ("base/5/999", Role.UNKNOWN),
        ("other: base/6/100", Role.ELSEWHERE),
        ("global/1262", Role.CATALOGUE),
        ("pg_catalog.pg_class", Role.CATALOGUE),
    }
    advice = {one.name: one.advice for one in found}
    assert "REINDEX" not in advice["public.t_pkey"]
    assert "until the rows of public.t are safe" in advice["public.t_pkey"]
    assert "`REINDEX INDEX CONCURRENTLY public.u_pkey`" in advice["public.u_pkey"]
    (mismatch,) = name_damage(relations, (), findings, {5: "shop"}, 5, checksums=False)
    assert "compare the rows with a backup's" in mismatch.advice


def test_without_a_catalogue_files_still_say_whether_they_are_the_servers_own() -> None:
    found = name_by_file(
        map(page_of, ("base/5/1259.1", "base/5/16400", "global/1262", "pg_tblspc/16390/PG_15/5/16401"))
    )

    assert {(one.name, one.role) for one in found} == {
        ("base/5/1259", Role.CATALOGUE),
        ("base/5/16400", Role.UNKNOWN),
        ("global/1262", Role.CATALOGUE),
        ("pg_tblspc/16390/PG_15/5/16401", Role.UNKNOWN),
    }


@pytest.mark.parametrize("role", Role)
def test_there_is_advice_for_every_kind_of_relation(role: Role) -> None:
    assert advice_for(role, "public.x", "public.t", ())


def test_what_empties_pages_of_the_only_copy_is_refused_with_the_reason() -> None:
    refuse_shredding("shop", zeroing=(), rewriting=())
    with pytest.raises(RefusedError, match=r"empties damaged pages .* the only copy"):
        refuse_shredding("shop", zeroing=("ALTER DATABASE shop RESET zero_damaged_pages",), rewriting=())
    with pytest.raises(RefusedError, match=r"being rewritten .* removes the file") as refused:
        refuse_shredding("shop", zeroing=(), rewriting=("SELECT pg_cancel_backend(7)",))
    assert "SELECT pg_cancel_backend(7)" in refused.value.hint
