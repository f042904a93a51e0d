"""A database worth saving, and one backup of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.backups.dump import take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.programs import ClientPrograms
from tests.support.scratch import new_database

# Random bytes, so that compressed files stay large enough to damage and to fill a disk.
FILL = """
    CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(40) NOT NULL, secret bytea);
    INSERT INTO customers (name, secret)
        SELECT 'customer ' || n, sha512(n::text::bytea) FROM generate_series(1, 4000) n;
    CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, note text);
    INSERT INTO orders SELECT n, 1 + n % 4000, encode(sha256(n::text::bytea), 'hex') FROM generate_series(1, 3000) n;
    CREATE VIEW customers_of_today AS SELECT name FROM customers WHERE name IN ('customer 1', 'customer 2');
    CREATE SEQUENCE numbers;
    SELECT nextval('numbers') FROM generate_series(1, 10)
"""


@pytest.fixture(scope="module")
def filled(access: ServerAccess) -> Iterator[str]:
    """The name of a database with some rows; no test of a module changes them."""
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"), prefix="filled") as name,
    ):
        with connect(access, name, purpose="test") as session:
            session.execute(FILL.encode())
        yield name


@pytest.fixture(scope="module")
def taken(
    access: ServerAccess, programs: ClientPrograms, filled: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FolderStore, Backup]:
    """A store with one backup, for tests that only read it."""
    store = FolderStore(tmp_path_factory.mktemp("store"))
    return store, take_dump(access, filled, store, programs, backup_id="20250101T000000Z-filled-aaaaaa")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty store, whose folder does not exist yet."""
    return FolderStore(tmp_path / "backups" / "here")
