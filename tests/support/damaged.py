"""A real cluster with pages that were really damaged on its disk, while its server was stopped."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import Cluster, Runtime

PAGE = 8192
ORDERS = 20_000
DOCUMENTS = 60
# Lay on page 10.
MOVED = 815

_SHOP = """
    CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL);
    INSERT INTO orders SELECT n, repeat('c', 60) || n FROM generate_series(1, 20000) n;
    CREATE INDEX orders_customer ON orders (customer);
    CREATE TABLE lines (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders);
    INSERT INTO lines SELECT n, n FROM generate_series(1, 20000) n;
    CREATE TABLE documents (id int PRIMARY KEY, title char(600), body text NOT NULL);
    ALTER TABLE documents ALTER body SET STORAGE EXTERNAL;
    INSERT INTO documents SELECT n, 'title', repeat(md5(n::text), 200) FROM generate_series(1, 60) n;
    CREATE TABLE keyless (note text);
    INSERT INTO keyless SELECT repeat('k', 60) || n FROM generate_series(1, 1000) n;
    CREATE TABLE tags (id int PRIMARY KEY, tag text);
    INSERT INTO tags SELECT n, 'tag ' || n FROM generate_series(1, 5000) n;
    CREATE INDEX tags_tag ON tags (tag);
    CREATE TABLE zeroed (id int PRIMARY KEY, note text);
    INSERT INTO zeroed SELECT n, repeat('z', 60) || n FROM generate_series(1, 1000) n;
    CREATE TABLE cut (id int PRIMARY KEY, note text);
    INSERT INTO cut SELECT n, repeat('z', 60) || n FROM generate_series(1, 1000) n;
    CREATE TABLE grown (id int PRIMARY KEY, note text);
    INSERT INTO grown SELECT n, repeat('z', 60) || n FROM generate_series(1, 1000) n;
"""


@dataclass(kw_only=True)
class Damaged:
    """The cluster and where its relations lie.

    Attributes:
        cluster: Stopped or running.
        database: The one with the shop in it.
        files: Of its own relations, by name; those of the catalogue change when somebody connects.
    """

    cluster: Cluster
    database: str
    files: dict[str, str] = field(default_factory=dict)

    @property
    def access(self) -> ServerAccess:
        """How to reach it while it runs; it may have another port after each start."""
        address = self.cluster.address()
        return ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every relation's file."""
        data = self.cluster.layout.data
        return {name: hashlib.sha256((data / file).read_bytes()).hexdigest() for name, file in self.files.items()}

    def write(self, relation: str, block: int, at: int, content: bytes) -> None:
        """Write over a page behind the server's back."""
        with (self.cluster.layout.data / self.files[relation]).open("r+b") as file:
            file.seek(block * PAGE + at)
            file.write(content)


@contextmanager
def damaged_shop(runtime: Runtime) -> Iterator[Damaged]:
    """A shop in a cluster of its own, stopped, and sound so far."""
    cluster = Cluster(runtime, f"damaged-shop-{os.getpid()}-{secrets.token_hex(3)}")
    try:
        cluster.create({"fsync": "off", "autovacuum": "off"})
        cluster.start(guarded=True)
        damaged = Damaged(cluster=cluster, database="shop")
        with connect(damaged.access, "postgres", purpose="test") as control:
            control.execute("CREATE DATABASE shop")
        with connect(damaged.access, "shop", purpose="test") as connection:
            connection.execute(_SHOP)
            connection.execute("VACUUM")
            # Its old version stays behind, in the index, too: nobody may call the row lost.
            connection.execute("UPDATE orders SET customer = repeat('m', 900) WHERE id = %s", (MOVED,))
            rows = connection.execute(
                "SELECT coalesce('long:' || o.relname, c.relname), pg_relation_filepath(c.oid) FROM pg_class c"
                " LEFT JOIN pg_class o ON o.reltoastrelid = c.oid WHERE c.relkind IN ('r', 'i', 't') AND c.oid >= 16384"
            ).fetchall()
            damaged.files.update((name, path) for name, path in rows if path)
            connection.execute("CHECKPOINT")
        cluster.stop()
        yield damaged
    finally:
        cluster.destroy()


def damage_everything(shop: Damaged) -> None:
    """Bytes inside a page of rows, a header, an LSN, an index, a page of long values, a table without a key.

    And what no checksum sees: a page of zeros, and a file that was cut. A table that has just grown by a page of zeros
    is sound.
    """
    shop.write("orders", 3, 4000, b"\xa5" * 64)
    shop.write("orders", 10, 0, b"\xff" * 24)
    shop.write("orders", 20, 4, b"\x01\x02\x03\x04")
    shop.write("orders_customer", 5, 3000, b"\xa5" * 32)
    shop.write("long:documents", 7, 4000, b"\xa5" * 8)
    shop.write("keyless", 2, 0, b"\xff" * 24)
    shop.write("zeroed", 2, 0, bytes(PAGE))
    shop.write("grown", 13, 0, bytes(2 * PAGE))
    with (shop.cluster.layout.data / shop.files["cut"]).open("r+b") as file:
        file.truncate(11 * PAGE)
