"""Fills the example shop with data: the same rows for the same scale and seed, on every machine and server.

    python generate.py [--scale 1.0] [--seed 20240120] [--more-orders N]

The database is the one of the libpq environment variables (PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSFILE, PGOPTIONS
…). No clock, no default of the server and no sequence has a say in what is stored; sequences are set afterwards.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from shop_rows import Market, Season, Shop, Table, market_tables, shop_tables

TABLES: Final = (
    "users", "addresses", "categories", "products", "stock_levels", "orders", "order_items", "payments", "reviews",
)  # fmt: skip
# stock_levels has no id; the sequence of orders.order_number belongs to no column and is set apart.
TABLES_WITH_ID: Final = tuple(table for table in TABLES if table != "stock_levels")

# A lock request that waits holds up everybody behind it, so not for long. Scale 100 loads in minutes, not an hour.
SESSION: Final[LiteralString] = """
    SET lock_timeout = '5s';
    SET statement_timeout = '1h';
    SET idle_in_transaction_session_timeout = '5min'
"""
CUSTOMERS_QUERY: Final[LiteralString] = """
    SELECT u.id, (SELECT min(a.id) FROM addresses AS a WHERE a.user_id = u.id)
    FROM users AS u
    ORDER BY u.id
    LIMIT %s
"""
GOODS_QUERY: Final[LiteralString] = "SELECT id, (price * 100)::bigint FROM products WHERE is_active ORDER BY id"
NEWEST_QUERY: Final[LiteralString] = """
    SELECT
        coalesce(max(id), 0) + 1,
        coalesce(max(order_number), 100000) + 1,
        (SELECT coalesce(max(id), 0) + 1 FROM order_items),
        (SELECT coalesce(max(id), 0) + 1 FROM payments),
        extract(epoch FROM coalesce(max(placed_at), '2025-01-01 00:00:00+00'))::bigint + 1
    FROM orders
"""
MISSING_QUERY: Final[LiteralString] = "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL"
# Version 0012 is the one that makes users.family_name NOT NULL.
VERSION_QUERY: Final[LiteralString] = """
    SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('users') AND attname = 'family_name' AND attnotnull
"""

# Without the keys of partitions: they come and go with those of their parent.
FOREIGN_KEYS_QUERY: Final[LiteralString] = """
    SELECT r.relname, k.conname, pg_get_constraintdef(k.oid)
    FROM unnest(%s::text[]) AS name
    JOIN pg_class AS r ON r.oid = to_regclass(name)
    JOIN pg_constraint AS k ON k.conrelid = r.oid
    WHERE k.contype = 'f' AND k.conparentid = 0
    ORDER BY r.relname, k.conname
"""
# Orders that --more-orders adds are so many seconds apart.
MORE_ORDERS_STEP: Final = 45
# Customers that --more-orders chooses from: bounds its memory, whatever has grown in users.
MORE_ORDERS_CUSTOMERS: Final = 5_000

EXIT_REFUSED: Final = 2
EXIT_CONNECTION: Final = 3


class RefusedError(Exception):
    """The database is not in the state the generator needs; nothing was written."""


def load(connection: psycopg.Connection, shop: Shop) -> None:
    """Load a whole shop into empty tables, in one transaction.

    Args:
        connection: In autocommit mode; the schema of version 0012 is on its search_path.
        shop: How much to generate.

    Raises:
        RefusedError: A table is missing or not empty. The database is untouched.
    """
    _require_schema(connection)
    _require_empty(connection)
    with connection.transaction():
        with _foreign_keys_checked_at_once(connection):
            rows = _copy_all(connection, shop_tables(shop))
        _set_sequences(connection)
        connection.execute("REFRESH MATERIALIZED VIEW product_sales")
    _analyze(connection, rows)
    _report(rows)


def load_more_orders(connection: psycopg.Connection, orders: int, *, seed: int) -> None:
    """Add orders with items and payments to a loaded shop, in one transaction.

    Args:
        connection: In autocommit mode; the schema of version 0012 is on its search_path.
        orders: How many orders to add.
        seed: With the ids and times already there, decides what is added.

    Raises:
        RefusedError: A table is missing, or there are no users or products. The database is untouched.
    """
    _require_schema(connection)
    with connection.transaction():
        rows = _copy_all(connection, market_tables(_running_market(connection, orders, seed=seed)))
        _set_sequences(connection)
        connection.execute("REFRESH MATERIALIZED VIEW product_sales")
    _analyze(connection, rows)
    _report(rows)


def _running_market(connection: psycopg.Connection, orders: int, *, seed: int) -> Market:
    customers = _rows(connection, CUSTOMERS_QUERY, (MORE_ORDERS_CUSTOMERS,))
    goods = _rows(connection, GOODS_QUERY)
    if not customers or not goods:
        raise RefusedError("users or products is empty: load the shop first, without --more-orders")
    [(order_id, order_number, item_id, payment_id, start)] = _rows(connection, NEWEST_QUERY)
    return Market(
        seed=seed,
        name=f"more/{order_id}",
        seasons=(Season(first_order=order_id, orders=orders, start=start, step=MORE_ORDERS_STEP),),
        goods=tuple(goods),
        customer=lambda draw: draw.pick(customers),
        first_number=order_number,
        first_item=item_id,
        first_payment=payment_id,
    )


def _require_schema(connection: psycopg.Connection) -> None:
    missing = [name for (name,) in _rows(connection, MISSING_QUERY, ([*TABLES, "product_sales"],))]
    if missing:
        raise RefusedError(f"no {', '.join(missing)} on the search_path: apply the migrations up to 0012 first")
    if not _rows(connection, VERSION_QUERY):
        raise RefusedError("users.family_name is missing or may be NULL: apply the migrations up to 0012 first")


def _require_empty(connection: psycopg.Connection) -> None:
    query = sql.SQL("SELECT 1 FROM {} LIMIT 1")
    full = [name for name in TABLES if connection.execute(query.format(sql.Identifier(name))).fetchone()]
    if full:
        raise RefusedError(f"not empty: {', '.join(full)}. Load into an empty schema, or add with --more-orders")


@contextmanager
def _foreign_keys_checked_at_once(connection: psycopg.Connection) -> Iterator[None]:
    """Drop the foreign keys and add them again, which checks all rows of a table in one query.

    Checked row by row they cost most of the time, above all those that refer to orders: such a check opens every
    partition for every row, 60 µs against 5. The ACCESS EXCLUSIVE locks are on tables that are empty before the commit;
    a failure rolls everything back. See "Populating a Database" in the PostgreSQL manual.
    """
    keys = [
        (sql.Identifier(r), sql.Identifier(k), d) for r, k, d in _rows(connection, FOREIGN_KEYS_QUERY, ([*TABLES],))
    ]
    for table, key, _ in keys:
        connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, key))
    yield
    for table, key, definition in keys:
        connection.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(table, key, sql.SQL(definition)))


def _copy_all(connection: psycopg.Connection, tables: Iterable[Table]) -> Counter[str]:
    rows: Counter[str] = Counter()
    for table in tables:
        rows[table.name] += _copy(connection, table)
    return rows


def _copy(connection: psycopg.Connection, table: Table) -> int:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), columns)
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for row in table.rows:
                copy.write_row(row)
        return cursor.rowcount


def _set_sequences(connection: psycopg.Connection) -> None:
    """Let the next insert continue after the ids loaded; COPY with explicit ids does not move their sequences."""
    for name in TABLES_WITH_ID:
        query = sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), max(id)) FROM {}")
        connection.execute(query.format(sql.Literal(name), sql.Identifier(name)))
    connection.execute("SELECT setval('order_number_seq', max(order_number)) FROM orders")


def _analyze(connection: psycopg.Connection, tables: Iterable[str]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, (*tables, "product_sales")))
    connection.execute(sql.SQL("ANALYZE {}").format(names))


def _rows(connection: psycopg.Connection, query: LiteralString, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    return connection.execute(query, values).fetchall()


def _report(rows: Counter[str]) -> None:
    for name, count in rows.items():
        print(f"{name:<12} {count:>9,}")


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the shop, or add orders to it; the database is the one of the libpq environment variables.

    Args:
        arguments: The command line without the program's name; that of this process when None.

    Returns:
        0 when loaded; 2 when refused and 3 when there is no connection, the database being untouched in both cases.
    """
    options = _parser().parse_args(arguments)
    try:
        connection = psycopg.connect(autocommit=True, application_name="squizzle example generator")
    except psycopg.OperationalError as error:
        return _fail(EXIT_CONNECTION, f"no connection: {error}")
    with connection:
        try:
            _run(connection, options)
        except RefusedError as error:
            return _fail(EXIT_REFUSED, f"refused, nothing was written: {error}")
    return 0


def _run(connection: psycopg.Connection, options: argparse.Namespace) -> None:
    connection.execute(SESSION)
    if options.more_orders is None:
        load(connection, Shop.of_scale(options.scale, seed=options.seed))
    else:
        load_more_orders(connection, options.more_orders, seed=options.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fill the example shop (schema of version 0012) with data.")
    parser.add_argument(
        "--scale", type=number_above_zero, default=1.0, help="1.0 (default) is about 210,000 rows over all tables"
    )
    parser.add_argument("--seed", type=int, default=20240120, help="same seed, same rows (default %(default)s)")
    parser.add_argument(
        "--more-orders", type=count_above_zero, metavar="N", help="add N orders to a loaded shop instead"
    )
    return parser


def number_above_zero(text: str) -> float:
    """Read a number from the command line; argparse shows this function's name when it is none."""
    scale = float(text)
    if not (math.isfinite(scale) and scale > 0):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return scale


def count_above_zero(text: str) -> int:
    """Read a whole number from the command line; argparse shows this function's name when it is none."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return count


def _fail(exit_code: int, message: str) -> int:
    print(f"generate.py: {message}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
