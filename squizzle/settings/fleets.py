"""What is said about fleets, in `squizzle.toml` (`[fleets.NAME]`) or in a block: where their targets are found.

Imported by every verb, so it imports little itself. Nothing here is a secret: passwords are named by their variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from squizzle.errors import InvalidInputError
from squizzle.postgres.access import ServerAccess, parse_url
from squizzle.postgres.secret import Secret
from squizzle.settings.fleet_labels import Labels
from squizzle.settings.health import HealthLimits
from squizzle.settings.reader import variable_of
from squizzle.settings.watch import WatchSettings

_MOST_SESSIONS = 1000
_MOST_SIZE = 2**63 - 1
_MOST_TIERS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetServer:
    """`[fleets.NAME.servers.SERVER]`: how one server is reached. The database of its URL is where it is asked.

    Attributes:
        name: What targets call it.
        url: Connection string without a password; exactly one of `url` and `url_env` is given.
        url_env: The variable that holds the connection string.
        password_env: The variable that holds the password.
        tier: Of every target there that says nothing else.
        labels: Of every target there, besides its own.
        free_bytes_query: A SELECT, asked in the URL's database, that says how many bytes are free on the server's disk.
    """

    name: str
    url: str | None = None
    url_env: str | None = None
    password_env: str | None = None
    tier: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    free_bytes_query: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedTarget:
    """`[[fleets.NAME.targets]]`: one target, said by hand.

    Attributes:
        server: Its server's name.
        database: The database's exact name.
        schema: Instead of the fleet's.
        name: What it is called; without it `server/database`, with the schema where it is not the fleet's.
        tier: How much depends on it; without it its server's.
        size: In any one unit that is used for the whole fleet.
        pinned: Whether it goes before all others.
        labels: Besides its server's.
    """

    server: str
    database: str
    schema: str | None = None
    name: str | None = None
    tier: int | None = None
    size: int | None = None
    pinned: bool = False
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """What names look like: for SQL's LIKE, or as a regular expression of PostgreSQL's. Exactly one is given."""

    like: str | None = None
    regex: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabasesByName:
    """`[fleets.NAME.databases]`: every database of some servers whose name fits.

    Attributes:
        pattern: What their names look like.
        servers: Which are asked; empty for all.
        sizes: Whether they are measured, so that small ones go first; each takes the server a look at its files.
    """

    pattern: Pattern
    servers: tuple[str, ...] = ()
    sizes: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemasByName:
    """`[fleets.NAME.schemas]`: every schema of one database whose name fits.

    Attributes:
        server: Where the database is.
        database: The database's exact name.
        pattern: What the schemas' names look like.
    """

    server: str
    database: str
    pattern: Pattern


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetQuery:
    """`[fleets.NAME.query]`: a question to a control database.

    Attributes:
        server: Whose database is asked.
        sql: One SELECT: the columns `server` and `database`, and if it likes `name`, `schema`, `tier`, `size`,
            `pinned`. Any other column becomes a label.
    """

    server: str
    sql: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """`[[fleets.NAME.exclude]]`: targets that take no part.

    Attributes:
        reason: Why, in a person's words.
        target: Their names; `*` stands for anything. Empty for any.
        labels: They have all of these.
    """

    reason: str
    target: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Freeze:
    """`[[fleets.NAME.freezes]]`: a time in which nothing is rolled out.

    Attributes:
        begin: From when, included.
        until: Until when, not included; None for until further notice.
        reason: Why, in a person's words.
    """

    begin: datetime
    until: datetime | None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetSettings:
    """`[fleets.NAME]`.

    Attributes:
        name: The section's; a database that says it belongs to another fleet is another one than was meant.
        environment: Which every target should belong to; None for any.
        schema: Of targets that say nothing else; None for the project's.
        servers: By name.
        targets: Those said by hand.
        databases, schemas, query: Where others are found; None for nowhere.
        pinned: Names of targets that go before all others; `*` stands for anything.
        exclusions: Who takes no part.
        freezes: When nothing is rolled out.
        concurrency: So many targets at the same time.
        per_server: So many sessions on one server at the same time.
        deadline: How long one target may take to be reached and to answer.
        backups_good_for: How old a backup of a rollout may be that goes on, before it is taken again.
        exclude_unreachable: Whether a rollout leaves out what cannot be reached, instead of not beginning.
        watch: How migrated targets are watched.
        health: From where on sweeps find something wrong.
        auto_recover: Whether sweeps take back failed migrations by themselves, where that is safe.
        only: Labels that targets must have to take part; never in the file, but said by whoever asks.
    """

    name: str
    environment: str | None = None
    schema: str | None = None
    servers: Mapping[str, FleetServer] = field(default_factory=dict)
    targets: tuple[ListedTarget, ...] = ()
    databases: DatabasesByName | None = None
    schemas: SchemasByName | None = None
    query: FleetQuery | None = None
    pinned: tuple[str, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    concurrency: int = 16
    per_server: int = 4
    deadline: timedelta = timedelta(seconds=10)
    backups_good_for: timedelta = timedelta(hours=24)
    exclude_unreachable: bool = False
    watch: WatchSettings = field(default_factory=WatchSettings)
    health: HealthLimits = field(default_factory=HealthLimits)
    auto_recover: bool = False
    only: Labels = ()


def fleet_named(fleets: Mapping[str, FleetSettings], name: str, *, source: str = "squizzle.toml") -> FleetSettings:
    """One fleet of a configuration.

    Args:
        fleets: All of it.
        name: Which.
        source: The file that they are from, for the message.

    Raises:
        InvalidInputError: There is none of that name.
    """
    found = fleets.get(name)
    if found is None:
        known = ", ".join(sorted(fleets)) or "none"
        raise InvalidInputError(
            f"there is no fleet {name!r}; known: {known}", hint=f"add [fleets.{name}] to {source} (docs/fleets.md)"
        )
    return found


def resolve_server(server: FleetServer, *, environ: Mapping[str, str]) -> tuple[ServerAccess, str]:
    """How a server is reached, with its secrets, and the database of its URL. Nothing is connected.

    Raises:
        InvalidInputError: A variable is not set, the URL cannot be read, or the one in the file holds a password.
    """
    needs = f"server {server.name!r}"
    access, database = parse_url(server.url or variable_of(server.url_env or "", needs, environ))
    if server.url is not None and access.password is not None:
        raise InvalidInputError(
            f"the url of server {server.name!r} holds a password", hint="remove it and name password_env instead"
        )
    if server.password_env is not None:
        access = replace(access, password=Secret(variable_of(server.password_env, needs, environ)))
    return access, database
