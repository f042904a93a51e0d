"""Forty shops on the sandbox's server, and the folder with which they are worked on."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from psycopg import sql

from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import ExpectedIdentity, Target

FLEET = "shops"
ENVIRONMENT = "sandbox"
SHOPS = tuple(f"shop_{number:02}" for number in range(1, 41))
# For SQL's LIKE: not those that a recovery put aside.
LIKE = r"shop\___"
# These get orders all the time, and go first in a rollout: on one that nobody uses nothing shows.
BUSY = SHOPS[:3]
# The one that the tour breaks.
BROKEN = "shop_07"
# The variable with the address of the console of messages.
CONSOLE_VARIABLE = "SQUIZZLE_SANDBOX_CONSOLE"
# What all of them are copies of; a database with a name that the fleet does not take.
_MODEL = "model_of_shops"
_FIRST = "0001"
_FILES = Path(__file__).with_name("shops")

# Everybody who wrote a review wrote another of the same thing: an index that allows one cannot be made.
_ROWS = """
INSERT INTO customers (email) SELECT 'customer' || n || '@example.org' FROM generate_series(1, 200) n;
INSERT INTO orders (customer_id, amount_cents, placed_at)
    SELECT 1 + n % 200, 500 + n * 7 % 9000, now() - n * interval '7 min' FROM generate_series(1, 1000) n;
INSERT INTO reviews (customer_id, product, stars)
    SELECT 1 + n % 200, 'product ' || n % 50, 1 + n % 5 FROM generate_series(1, 600) n;
ANALYZE;
"""

_SETTINGS = """\
# Written by make up, each time.
[project]
name = "shops"

[fleets.{fleet}]
environment = "{environment}"
pinned = ["main/{first}", "main/{second}"]

[fleets.{fleet}.servers.main]
url = "{url}"

[fleets.{fleet}.databases]
like = '{like}'

[notify.channels.console]
kind = "webhook"
url_env = "{console}"

[notify]
low = ["console"]
medium = ["console"]
high = ["console"]
critical = ["console"]
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetFolder:
    """Where squizzle.toml, stages.yaml and the migrations of the shops are.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def settings(self) -> Path:
        """Its squizzle.toml."""
        return self.path / "squizzle.toml"

    @property
    def stages(self) -> Path:
        """Its stages file."""
        return self.path / "stages.yaml"

    @property
    def entrance(self) -> Path:
        """What a shell reads (`. FILE`) to work there."""
        return self.path / "enter.sh"

    def write(self, address: ServerAddress, variables: Mapping[str, str]) -> None:
        """Write the files anew; those that somebody added stay.

        Args:
            address: Of the server with the shops; its port is another one after each start.
            variables: What commands that are typed there need to know.
        """
        shutil.copytree(_FILES, self.path, dirs_exist_ok=True)
        settings = _SETTINGS.format(
            fleet=FLEET,
            environment=ENVIRONMENT,
            first=BUSY[0],
            second=BUSY[1],
            url=url_of(address, "postgres"),
            console=CONSOLE_VARIABLE,
            like=LIKE,
        )
        self.settings.write_text(settings, encoding="utf-8")
        exported = {"DATABASE_URL": url_of(address, BROKEN), **variables}
        lines = [
            "# Read by a shell:  . enter.sh",
            f"cd {shlex.quote(str(self.path))}",
            f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',
            *(f"export {name}={shlex.quote(value)}" for name, value in exported.items()),
        ]
        self.entrance.write_text("\n".join(lines) + "\n", encoding="utf-8")


def url_of(address: ServerAddress, database: str) -> str:
    """A connection string by the private socket, which asks for no password."""
    folder = quote(str(address.socket_folder), safe="")
    return f"postgresql://{address.user}@/{database}?host={folder}&port={address.port}"


def make_shops(address: ServerAddress) -> int:
    """Make the shops that are not there; returns how many. Those that are there stay as they are.

    Each is a copy of one that has the first migration and its rows, with an identity of its own. One that a killed
    call left half-made is made anew.
    """
    access = ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user)
    with connect(access, "postgres", purpose="sandbox") as control:
        there = {name for (name,) in control.execute("SELECT datname FROM pg_database")}
        lacking = [name for name in SHOPS if name not in there]
        if not lacking:
            return 0
        _make_model(control, access)
        for name in lacking:
            # Under a name that the fleet does not take until it knows who it is.
            fresh = f"new_{name}"
            control.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(fresh)))
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
            control.execute(copy.format(sql.Identifier(fresh), sql.Identifier(_MODEL)))
            with connect(access, fresh, purpose="sandbox") as session:
                session.execute("UPDATE squizzle.identity SET id = gen_random_uuid(), name = %s", (name,))
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            control.execute(rename.format(sql.Identifier(fresh), sql.Identifier(name)))
        control.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(_MODEL)))
    return len(lacking)


def _make_model(control: Connection, access: ServerAccess) -> None:
    name = sql.Identifier(_MODEL)
    control.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
    control.execute(sql.SQL("CREATE DATABASE {}").format(name))
    target = Target(database=_MODEL, expected=ExpectedIdentity(environment=ENVIRONMENT, fleet=FLEET))
    migrations = read_migrations(_FILES / "migrations")
    with connect(access, _MODEL, purpose="sandbox") as session:
        apply_versions(session, target, migrations, to=_FIRST)
        session.execute(_ROWS)
