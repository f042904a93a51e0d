"""What is said about fleets, in `squizzle.toml` (`[fleets.NAME]`) or in a block: where their targets are found.

Imported by every verb, so it imports little itself. Nothing here is a secret: passwords are named by their variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NoReturn, Protocol

from squizzle.errors import InvalidInputError
from squizzle.fence_settings import Reader, variable_of
from squizzle.fleet_labels import Labels
from squizzle.postgres.access import ServerAccess, parse_url
from squizzle.postgres.secret import Secret
from squizzle.watch_settings import WatchSettings, read_watch

_MOST_SESSIONS = 1000
_MOST_SIZE = 2**63 - 1
_MOST_TIERS = 1000


class FleetReader(Reader, Protocol):
    """What else fleets are read with."""

    def number(self, section: dict[str, object], where: str, name: str, *, most: int) -> int | None: ...  # noqa: D102
    def yes_or_no(self, section: dict[str, object], where: str, name: str, *, default: bool) -> bool: ...  # noqa: D102


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
        schema: None for the fleet's.
        name: What it is called; None for `server/database`, with the schema where it is not the fleet's.
        tier: How much depends on it; None for its server's.
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
        exclude_unreachable: Whether a rollout leaves out what cannot be reached, instead of not beginning.
        watch: How migrated targets are watched.
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
    exclude_unreachable: bool = False
    watch: WatchSettings = field(default_factory=WatchSettings)
    only: Labels = ()


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


def read_fleet(reader: FleetReader, name: str, value: object) -> FleetSettings:
    """One section; nothing is connected, and no variable is read.

    Args:
        reader: Of the file.
        name: The section's.
        value: The section.

    Raises:
        InvalidInputError: A setting is missing, unknown or wrong.
    """
    return _FleetSection(reader, name, value).settings()


class _FleetSection:
    def __init__(self, reader: FleetReader, name: str, value: object) -> None:
        self.reader = reader
        self.name = name
        self.where = f"fleets.{name}"
        self.section = reader.section(value, self.where)
        servers = reader.section(self.section.pop("servers", {}), f"{self.where}.servers")
        self.servers = {server: self.server(server, one) for server, one in servers.items()}

    def settings(self) -> FleetSettings:
        reader, section, where = self.reader, self.section, self.where
        default = FleetSettings(name=self.name)
        settings = FleetSettings(
            name=self.name,
            environment=reader.text(section, where, "environment"),
            schema=reader.text(section, where, "schema"),
            servers=self.servers,
            targets=tuple(self.target(one, at) for one, at in self.tables("targets")),
            databases=self.databases(section.pop("databases", None)),
            schemas=self.schemas(section.pop("schemas", None)),
            query=self.query(section.pop("query", None)),
            pinned=reader.texts(section, where, "pinned"),
            exclusions=tuple(self.exclusion(one, at) for one, at in self.tables("exclude")),
            freezes=tuple(self.freeze(one, at) for one, at in self.tables("freezes")),
            concurrency=reader.number(section, where, "concurrency", most=_MOST_SESSIONS) or default.concurrency,
            per_server=reader.number(section, where, "per_server", most=_MOST_SESSIONS) or default.per_server,
            deadline=reader.duration(section, where, "deadline", default.deadline),
            exclude_unreachable=self.excludes_unreachable(),
            watch=read_watch(reader, f"{where}.watch", section.pop("watch", {})),
        )
        reader.nothing_left(section, where)
        if settings.deadline < timedelta(seconds=1):
            reader.complain(f"{where}.deadline", "must be 1s or longer")
        if not (settings.targets or settings.databases or settings.schemas or settings.query):
            reader.complain(where, "says nowhere where targets are: give targets, databases, schemas or query")
        return settings

    def excludes_unreachable(self) -> bool:
        said = self.reader.text(self.section, self.where, "unreachable")
        if said not in (None, "stop", "exclude"):
            self.reader.complain(f"{self.where}.unreachable", "must be stop or exclude")
        return said == "exclude"

    def tables(self, name: str) -> Iterator[tuple[dict[str, object], str]]:
        """Each table of a list, and what it is called in a complaint."""
        value = self.section.pop(name, [])
        if not isinstance(value, list):
            self.reader.complain(f"{self.where}.{name}", f"must be a list of sections: [[{self.where}.{name}]]")
        for number, one in enumerate(value, start=1):
            at = f"{self.where}.{name} ({number})"
            yield self.reader.section(one, at), at

    def server(self, name: str, value: object) -> FleetServer:
        where = f"{self.where}.servers.{name}"
        section = self.reader.section(value, where)
        server = FleetServer(
            name=name,
            url=self.reader.text(section, where, "url"),
            url_env=self.reader.text(section, where, "url_env"),
            password_env=self.reader.text(section, where, "password_env"),
            tier=self.whole(section, where, "tier", most=_MOST_TIERS) or 0,
            labels=self.labels(section, where),
            free_bytes_query=self.reader.text(section, where, "free_bytes_query"),
        )
        self.reader.nothing_left(section, where)
        if (server.url is None) == (server.url_env is None):
            self.reader.complain(where, "give either url or url_env")
        return server

    def target(self, section: dict[str, object], where: str) -> ListedTarget:
        target = ListedTarget(
            server=self.known_server(section, where),
            database=self.needed(section, where, "database"),
            schema=self.reader.text(section, where, "schema"),
            name=self.reader.text(section, where, "name"),
            tier=self.whole(section, where, "tier", most=_MOST_TIERS),
            size=self.whole(section, where, "size", most=_MOST_SIZE),
            pinned=self.reader.yes_or_no(section, where, "pinned", default=False),
            labels=self.labels(section, where),
        )
        self.reader.nothing_left(section, where)
        return target

    def databases(self, value: object) -> DatabasesByName | None:
        if value is None:
            return None
        where = f"{self.where}.databases"
        section = self.reader.section(value, where)
        servers = self.reader.texts(section, where, "servers")
        for server in servers:
            self.must_know(server, f"{where}.servers")
        found = DatabasesByName(
            pattern=self.pattern(section, where),
            servers=servers,
            sizes=self.reader.yes_or_no(section, where, "sizes", default=False),
        )
        self.reader.nothing_left(section, where)
        return found

    def schemas(self, value: object) -> SchemasByName | None:
        if value is None:
            return None
        where = f"{self.where}.schemas"
        section = self.reader.section(value, where)
        found = SchemasByName(
            server=self.known_server(section, where),
            database=self.needed(section, where, "database"),
            pattern=self.pattern(section, where),
        )
        self.reader.nothing_left(section, where)
        return found

    def query(self, value: object) -> FleetQuery | None:
        if value is None:
            return None
        where = f"{self.where}.query"
        section = self.reader.section(value, where)
        found = FleetQuery(server=self.known_server(section, where), sql=self.needed(section, where, "sql"))
        self.reader.nothing_left(section, where)
        return found

    def exclusion(self, section: dict[str, object], where: str) -> Exclusion:
        exclusion = Exclusion(
            reason=self.needed(section, where, "reason"),
            target=self.reader.text(section, where, "target") or "",
            labels=self.labels(section, where),
        )
        self.reader.nothing_left(section, where)
        if not exclusion.target and not exclusion.labels:
            self.reader.complain(where, "give target or labels")
        return exclusion

    def freeze(self, section: dict[str, object], where: str) -> Freeze:
        begin = self.moment(section, where, "from")
        if begin is None:
            self.reader.complain(f"{where}.from", "is missing")
        until = self.moment(section, where, "until")
        if until is not None and until <= begin:
            self.reader.complain(f"{where}.until", "must be later than from")
        freeze = Freeze(begin=begin, until=until, reason=self.needed(section, where, "reason"))
        self.reader.nothing_left(section, where)
        return freeze

    def moment(self, section: dict[str, object], where: str, name: str) -> datetime | None:
        value = section.pop(name, None)
        if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
            self.reader.complain(f"{where}.{name}", "must be a time with its offset: 2026-12-20T00:00:00+01:00")
        return value

    def pattern(self, section: dict[str, object], where: str) -> Pattern:
        pattern = Pattern(
            like=self.reader.text(section, where, "like"), regex=self.reader.text(section, where, "regex")
        )
        if (pattern.like is None) == (pattern.regex is None):
            self.reader.complain(where, "give either like or regex")
        return pattern

    def labels(self, section: dict[str, object], where: str) -> tuple[tuple[str, str], ...]:
        labels = self.reader.section(section.pop("labels", {}), f"{where}.labels")
        for name, value in labels.items():
            if not isinstance(value, str):
                self.reader.complain(f"{where}.labels.{name}", "must be a text")
        return tuple(sorted((name, str(value)) for name, value in labels.items()))

    def known_server(self, section: dict[str, object], where: str) -> str:
        server = self.needed(section, where, "server")
        self.must_know(server, f"{where}.server")
        return server

    def must_know(self, server: str, where: str) -> None:
        if server not in self.servers:
            self.reader.complain(where, f"has {server!r}, and no [{self.where}.servers.{server}]")

    def needed(self, section: dict[str, object], where: str, name: str) -> str:
        return self.reader.text(section, where, name) or self.missing(f"{where}.{name}")

    def missing(self, where: str) -> NoReturn:
        self.reader.complain(where, "is missing")

    def whole(self, section: dict[str, object], where: str, name: str, *, most: int) -> int | None:
        value = section.pop(name, None)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most):
            self.reader.complain(f"{where}.{name}", f"must be a whole number from 0 to {most}")
        return value
