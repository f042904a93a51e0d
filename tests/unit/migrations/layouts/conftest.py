"""Small folders as the tools leave them, one of each layout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from squizzle.errors import DatabaseState, InvalidInputError, SquizzleError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.records import Migration

Tree = Mapping[str, str | bytes]
MakeTree = Callable[[Tree], Path]
Refuse = Callable[..., SquizzleError]

USERS = "CREATE TABLE users (id bigint PRIMARY KEY);\n"
ORDERS = "CREATE TABLE orders (id bigint PRIMARY KEY);\n"

# What `alembic init` writes, but for the way with a connection of its own.
ENV = """\
from alembic import context

context.configure(url="postgresql://app@db.example/app", literal_binds=True, dialect_opts={"paramstyle": "named"})
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = '''\
"""{name}"""
from alembic import op

revision = "{revision}"
down_revision = {parent!r}


def upgrade():
    op.execute("CREATE TABLE {name} (id bigint PRIMARY KEY)")


def downgrade():
    op.execute("DROP TABLE {name}")
'''

EXAMPLES: dict[str, dict[str, str]] = {
    "native": {
        "0001_users/up.sql": USERS,
        "0001_users/down.sql": "DROP TABLE users;\n",
        "0001_users/verify.sql": "SELECT to_regclass('users') IS NOT NULL;\n",
        "0002_orders/up.sql": ORDERS,
        "README.md": "# Migrations\n",
    },
    "golang-migrate": {
        "000001_users.up.sql": USERS,
        "000001_users.down.sql": "DROP TABLE users;\n",
        "000002_orders.up.sql": ORDERS,
        "embed.go": "package migrations\n",
    },
    "diesel": {
        "00000000000000_diesel_initial_setup/up.sql": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
        "00000000000000_diesel_initial_setup/down.sql": "DROP FUNCTION f();\n",
        "20170308120000_users/up.sql": USERS,
        "20170308120000_users/down.sql": "DROP TABLE users;\n",
        "2017-09-23-123456_orders/up.sql": ORDERS,
        "2017-09-23-123456_orders/down.sql": "DROP TABLE orders;\n",
        ".keep": "",
    },
    "dbmate": {
        "20240102030405_users.sql": f"-- migrate:up\n{USERS}\n-- migrate:down\nDROP TABLE users;\n",
        "20240203040506_orders.sql": f"-- migrate:up\n{ORDERS}\n-- migrate:down\n",
    },
    "goose": {
        "00001_users.sql": f"-- +goose Up\n{USERS}\n-- +goose Down\nDROP TABLE users;\n",
        "00002_orders.sql": f"-- +goose Up\n{ORDERS}",
        "migrations.go": "package migrations\n",
    },
    "sql-migrate": {
        "20170426134008-users.sql": f"-- +migrate Up\n{USERS}\n-- +migrate Down\nDROP TABLE users;\n",
        "20170428154209-orders.sql": f"\n-- +migrate Up\n{ORDERS}\n-- +migrate Down\n-- nothing to undo\n",
    },
    "flyway": {
        "V1__users.sql": USERS,
        "U1__users.sql": "DROP TABLE users;\n",
        "2024/V1_2__orders.sql": ORDERS,
        "views/R__recent_orders.sql": "CREATE OR REPLACE VIEW recent_orders AS SELECT * FROM orders;\n",
    },
    "sqitch": {
        "sqitch.conf": '[core]\n\tengine = pg\n\t# top_dir = .\n[engine "pg"]\n',
        "sqitch.plan": "%syntax-version=1.0.0\n%project=shop\n\n"
        "users 2024-01-02T03:04:05Z Ann Example <ann@shop.example> # Who buys.\n"
        "orders [users] 2024-02-03T04:05:06Z Ann Example <ann@shop.example> # What they buy.\n",
        "deploy/users.sql": f"-- Deploy shop:users to pg\n\nBEGIN;\n\n{USERS}\nCOMMIT;\n",
        "revert/users.sql": "-- Revert shop:users from pg\n\nBEGIN;\n\nDROP TABLE users;\n\nCOMMIT;\n",
        "verify/users.sql": "-- Verify shop:users on pg\n\nBEGIN;\n\nSELECT id FROM users WHERE false;\n\nROLLBACK;\n",
        "deploy/orders.sql": f"-- Deploy shop:orders to pg\n\nBEGIN;\n\n{ORDERS}\nCOMMIT;\n",
        "revert/orders.sql": "-- Revert shop:orders from pg\n\nBEGIN;\n\nDROP TABLE orders;\n\nCOMMIT;\n",
        "verify/orders.sql": "-- Verify shop:orders on pg\n\nBEGIN;\n\nROLLBACK;\n",
    },
    "numbered": {
        "1_users.sql": USERS,
        "2_orders.sql": ORDERS,
        "10_carts.sql": "CREATE TABLE carts (id bigint);\n",
        "schema.sql": "-- a dump\n",
    },
    "alembic": {
        "env.py": ENV,
        "script.py.mako": "",
        "versions/1a2b3c_users.py": REVISION.format(name="users", revision="1a2b3c", parent=None),
        "versions/0f9e8d_orders.py": REVISION.format(name="orders", revision="0f9e8d", parent="1a2b3c"),
    },
}


def write_tree(folder: Path, files: Tree) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.fixture(scope="session")
def rooms() -> Iterator[Iterator[Path]]:
    """Folders in memory where there is any to be had, because there are thousands of small files."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None, prefix="squizzle-layouts-") as base:
        yield (Path(base).resolve() / str(number) for number in count())


@pytest.fixture
def tmp_path(rooms: Iterator[Path]) -> Path:
    """Pytest's own looks through the folders of all tests before it, and keeps those of three runs."""
    folder = next(rooms)
    folder.mkdir()
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> MakeTree:
    """Writes files below one folder of its own and returns the folder."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    return lambda files: write_tree(folder, files)


@pytest.fixture(scope="session")
def examples() -> dict[str, dict[str, str]]:
    return EXAMPLES


@pytest.fixture
def refusal() -> Refuse:
    """The error of reading a folder; it must have a hint and must not claim that anything was changed."""

    def refuse(folder: Path, layout: str = "auto", kind: type[SquizzleError] = InvalidInputError) -> SquizzleError:
        with pytest.raises(kind) as caught:
            read_migrations(folder, layout)
        assert type(caught.value) is kind
        assert caught.value.hint
        assert caught.value.database_state is DatabaseState.UNTOUCHED
        return caught.value

    return refuse


@pytest.fixture(scope="session")
def versions() -> Callable[[tuple[Migration, ...]], list[str]]:
    return lambda migrations: [migration.version for migration in migrations]
