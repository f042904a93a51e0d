"""What logging costs is said before it begins, and measuring leaves nothing."""

from __future__ import annotations

import re

import pytest

from squizzle.cli.main import run
from squizzle.postgres.access import Connection, ServerAccess


def test_enable_measures_says_and_asks_before_it_changes_anything(
    access: ServerAccess, connection: Connection, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.execute(
        "CREATE TABLE goods (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, twice int"
        " GENERATED ALWAYS AS (2 * 3) STORED); INSERT INTO goods (name) SELECT n FROM generate_series(1, 1500) n"
    )
    url = f"host={access.host} port={access.port} user={access.user} dbname={database}"
    assert run(["changelog", "enable", "--url", url, "--table", "goods"]) == 9  # nobody is there to answer
    said = capsys.readouterr().err
    figures = re.search(r"took ([\d.]+) ms and (\d+) kB .* log ([\d.]+) ms and (\d+) kB .* of 1,000 rows", said)
    assert figures is not None, said
    assert float(figures[3]) > float(figures[1])
    assert int(figures[4]) > int(figures[2]) > 50
    truncate = re.search(r"TRUNCATE of it would first copy about ([\d.]+) (kB|MB) into the log", said)
    assert truncate is not None, said
    assert connection.execute("SELECT to_regnamespace('squizzle_log')").fetchone() == (None,)
    assert run(["changelog", "enable", "--url", url, "--table", "goods", "--yes"]) == 0
    connection.execute("UPDATE goods SET name = 'x' WHERE id = 1")
    assert connection.execute("SELECT count(*) FROM squizzle_log.change").fetchone() == (1,)
