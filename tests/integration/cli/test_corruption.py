"""The verb about damaged pages."""

from __future__ import annotations

from pathlib import Path

from squizzle.postgres.embedded import find_runtime
from tests.integration.cli.conftest import Squizzle
from tests.support.damaged import damaged_shop


def test_a_damaged_index_of_a_sound_table_loses_nothing_and_is_made_anew_in_the_copy(
    tmp_path: Path, offline: Squizzle
) -> None:
    """By the command, from the folder of a server that does not run."""
    with damaged_shop(find_runtime()) as shop:
        shop.write("tags_tag", 3, 3000, b"\xa5" * 32)
        before = shop.digests()
        data = str(shop.cluster.layout.data)
        where = ("--url", "dbname=shop user=postgres host=/nowhere", "--data", data)

        done = offline("corruption", *where, "--evidence", str(tmp_path), "--no-copy", "--json")

        assert shop.digests() == before
    assert done.code == 1, done.err
    document = done.document
    (index,) = document["damaged"]
    assert (index["name"], index["role"], index["table"]) == ("public.tags_tag", "index", "public.tags")
    assert "REINDEX INDEX CONCURRENTLY public.tags_tag" in index["advice"]
    assert "in the copy that worked" in index["advice"]
    assert document["saved"] == []
    folder = Path(document["folder"])
    assert {one.name for one in folder.iterdir()} == {"pages", "report.md", "SHA256SUMS"}
    assert "`zero_damaged_pages`: a damaged page becomes an empty one" in (folder / "report.md").read_text()
