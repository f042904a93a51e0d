"""What tools call migrations, and when their books and our history say the same."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.config import LAYOUTS
from squizzle.errors import InvalidInputError
from squizzle.migrations.bookkeeping import BOOKS, open_books
from squizzle.migrations.bookkeeping.comparison import Difference, compare
from squizzle.migrations.bookkeeping.flyway import flyway_checksum
from squizzle.migrations.bookkeeping.tool_books import Entry
from squizzle.migrations.history import History
from squizzle.migrations.records import HistoryRow
from tests.support.tools import FLYWAY_CHECKSUMS, TOOLS

MakeRow = Callable[..., HistoryRow]

KEYS = {
    "golang-migrate": "1",
    "diesel": "20240101120000",
    "dbmate": "20240101120000",
    "goose": "1",
    "sql-migrate": "20240101120000-t1.sql",
    "flyway": "1",
    "sqitch": "6c9153b7d280d67fafcab1e0a903142d084090bd",
}


@pytest.mark.parametrize("layout", KEYS)
def test_a_migration_has_the_key_that_its_tool_writes(tmp_path: Path, layout: str) -> None:
    TOOLS[layout].write(tmp_path)
    books = TOOLS[layout].books(tmp_path)

    assert books.tool == layout
    assert books.key(books.migrations[0]) == KEYS[layout]


def test_every_tool_with_books_is_known_by_its_keys() -> None:
    assert {*KEYS, "alembic"} == set(BOOKS)  # Alembic's are read by a project's own env.py


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - set(BOOKS) - {"auto"}))
def test_a_layout_of_no_tool_has_no_books(tmp_path: Path, layout: str) -> None:
    with pytest.raises(InvalidInputError, match="no books of another tool") as caught:
        open_books(tmp_path, layout, ())
    assert "sqitch" in caught.value.hint


# --- flyway's checksum ----------------------------------------------------------------------------------------------


def test_the_checksum_is_that_of_the_lines_without_their_ends() -> None:
    assert flyway_checksum("CREATE TABLE t1 (a int);\n") == FLYWAY_CHECKSUMS["V1"]
    assert flyway_checksum("DROP TABLE t2;") == FLYWAY_CHECKSUMS["U2"]
    assert flyway_checksum("123456789") == 0xCBF43926 - 2**32  # the check value of CRC-32 in every table of CRCs
    assert flyway_checksum("") == 0


@given(lines=st.lists(st.text(st.characters(exclude_characters="\r\n\ufeff", exclude_categories=["Cs"]))))
def test_the_checksum_knows_neither_line_ends_nor_a_byte_order_mark(lines: list[str]) -> None:
    checksums = {flyway_checksum(end.join(lines)) for end in ("\n", "\r\n", "\r")}

    assert checksums == {flyway_checksum("\ufeff" + "\n".join(lines))}
    assert checksums.pop() % 2**32 == zlib.crc32("".join(lines).encode())


# --- comparing ------------------------------------------------------------------------------------------------------


@given(theirs=st.sets(st.integers(0, 3)), ours=st.sets(st.integers(0, 2)))
def test_every_difference_is_seen_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, make_row: MakeRow, theirs: set[int], ours: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("books")
    TOOLS["dbmate"].write(folder)
    books = TOOLS["dbmate"].books(folder)
    keys = [*(books.key(one) for one in books.migrations), "20991231000000"]
    rows = [make_row(place + 1, books.migrations[place].version) for place in sorted(ours)]

    found = compare(books, [Entry(key=keys[place], label="x") for place in theirs], History(rows=tuple(rows)))

    on_disk = theirs - {3}
    assert [one.version for one, _ in found.only_theirs] == [keys[place] for place in sorted(on_disk - ours)]
    assert [one.version for one in found.only_ours] == [keys[place] for place in sorted(ours - theirs)]
    assert [entry.key for entry in found.unknown] == ([keys[3]] if 3 in theirs else [])
    assert (found == Difference()) == (theirs == ours)


def test_a_repeatable_migration_differs_only_when_one_of_the_two_has_the_text_on_disk(
    tmp_path: Path, make_row: MakeRow
) -> None:
    (tmp_path / "R__v.sql").write_text("SELECT 1;")
    books = TOOLS["flyway"].books(tmp_path)
    (view,) = books.migrations
    now = Entry(key=books.key(view), label="R__v.sql")
    before = replace(now, outdated=True)
    noted = History(rows=(make_row(1, view.version, checksum_of="SELECT 1;"),))
    noted_before = History(rows=(make_row(1, view.version, checksum_of="SELECT 0;"),))

    assert compare(books, [now], noted) == Difference()
    assert compare(books, [before], noted_before) == Difference()
    assert compare(books, [now], noted_before).only_theirs == ((view, now),)
    assert compare(books, [before], noted).only_ours == (view,)
