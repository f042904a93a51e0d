"""The block for a fleet: the same as `[fleets.NAME]` of squizzle.toml, for those who keep everything in Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, cast

from prefect.blocks.core import Block
from prefect.types import SecretDict
from psycopg.conninfo import make_conninfo
from pydantic import BaseModel, Field

from blocks.postgres_database import PostgresDatabase
from squizzle.config import read_one_fleet
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import parse_url
from squizzle.settings.fleets import FleetSettings


class ServerOfFleet(BaseModel):
    """How one server is reached: a saved block, or a URL without a password."""

    name: str = Field(title="Name", min_length=1, description="What targets call it.")
    block: str = Field(
        default="", title="Block", description="Name of a saved block PostgreSQL Database: its server and account."
    )
    url: str = Field(default="", title="URL", description="Instead of a block; its password goes into Passwords.")
    tier: int = Field(default=0, title="Tier", description="Of all its targets; lower ones go first.")
    labels: dict[str, str] = Field(default={}, title="Labels", description="Of all its targets.")
    free_bytes_query: str = Field(
        default="", title="Free bytes", description="A SELECT that says how many bytes are free on its disk."
    )


class TargetOfFleet(BaseModel):
    """One target, said by hand."""

    server: str = Field(title="Server", description="Its server's name.")
    database: str = Field(title="Database", description="The database's exact name.")
    schema_name: str = Field(default="", title="Schema", description="Empty: the fleet's.")
    name: str = Field(default="", title="Name", description="Empty: server/database.")
    tier: int | None = Field(default=None, title="Tier", description="Empty: its server's.")
    size: int | None = Field(default=None, title="Size", description="In one unit for the whole fleet.")
    pinned: bool = Field(default=False, title="Pinned", description="Goes before all others.")
    labels: dict[str, str] = Field(default={}, title="Labels", description="Besides its server's.")


class DatabasesOfFleet(BaseModel):
    """Databases by name."""

    like: str = Field(default="", title="Like", description="As SQL's LIKE has it; or give a regular expression.")
    regex: str = Field(default="", title="Regular expression", description="PostgreSQL's own.")
    servers: list[str] = Field(default=[], title="Servers", description="Which are asked. Empty: all.")
    sizes: bool = Field(default=False, title="Sizes", description="Measure them, so that small ones go first.")


class SchemasOfFleet(BaseModel):
    """Schemas of one database by name."""

    server: str = Field(title="Server", description="Where the database is.")
    database: str = Field(title="Database", description="The database's exact name.")
    like: str = Field(default="", title="Like", description="As SQL's LIKE has it; or give a regular expression.")
    regex: str = Field(default="", title="Regular expression", description="PostgreSQL's own.")


class QueryOfFleet(BaseModel):
    """A question to a control database."""

    server: str = Field(title="Server", description="Whose database is asked.")
    sql: str = Field(title="SQL", description="A SELECT with the columns server and database; see docs/fleets.md.")


class ExclusionOfFleet(BaseModel):
    """Targets that take no part."""

    reason: str = Field(title="Reason")
    target: str = Field(default="", title="Target", description="A name; * stands for anything.")
    labels: dict[str, str] = Field(default={}, title="Labels", description="They have all of these.")


class FreezeOfFleet(BaseModel):
    """A time in which nothing is rolled out."""

    begins: datetime = Field(title="From", description="With its offset.")
    until: datetime | None = Field(default=None, title="Until", description="Empty: until further notice.")
    reason: str = Field(title="Reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedFleet:
    """What a block says.

    Attributes:
        settings: As `[fleets.NAME]`.
        secrets: What its servers need, by the names of variables that `settings` has.
    """

    settings: FleetSettings
    secrets: Mapping[str, str] = field(repr=False)


class Fleet(Block):
    """Many databases that get the same migrations, as `[fleets.NAME]` of squizzle.toml says them.

    The fleet has no default: a database that says it belongs to another one is refused.
    """

    _block_type_name = "Fleet"
    _block_type_slug = "fleet"
    _description = "Many databases that get the same migrations: which, on which servers, who goes first."

    fleet: str = Field(title="Fleet", min_length=1, description="Its name, as squizzle.identity has it.")
    environment: str = Field(default="", title="Environment", description="Whose databases these are. Empty: any.")
    schema_name: str = Field(default="", title="Schema", description="Empty: the project's.")
    servers: list[ServerOfFleet] = Field(title="Servers", description="How each is reached.")
    # Prefect shows secrets in the entries of a list to whoever reads the block, and hides those of a SecretDict.
    passwords: SecretDict = Field(
        default=SecretDict({}), title="Passwords", description="By the name of the server; of those that have a URL."
    )
    targets: list[TargetOfFleet] = Field(default=[], title="Targets", description="Those said by hand.")
    databases: DatabasesOfFleet | None = Field(default=None, title="Databases by name")
    schemas: SchemasOfFleet | None = Field(default=None, title="Schemas by name")
    query: QueryOfFleet | None = Field(default=None, title="Query of a control database")
    pinned: list[str] = Field(default=[], title="Pinned", description="Names of targets that go first; * for anything.")
    exclude: list[ExclusionOfFleet] = Field(default=[], title="Exclusions")
    freezes: list[FreezeOfFleet] = Field(default=[], title="Freezes")
    concurrency: int = Field(default=16, title="Concurrency", description="So many targets at the same time.")
    per_server: int = Field(default=4, title="Per server", description="So many sessions on one server.")
    deadline: str = Field(default="10s", title="Deadline", description="For one target to be reached and to answer.")
    auto_recover: Literal["never", "safe"] = Field(
        default="never",
        title="Recovers by itself",
        description="safe: a failed migration is taken back by itself where that loses nothing.",
    )
    unreachable: Literal["stop", "exclude"] = Field(
        default="stop", title="Unreachable", description="Whether a rollout stops for such a target."
    )

    watch: dict[str, Any] = Field(
        default={}, title="Watching", description="What [fleets.NAME.watch] of squizzle.toml says, by the same names."
    )

    health: dict[str, Any] = Field(
        default={}, title="Health", description="What [fleets.NAME.health] of squizzle.toml says, by the same names."
    )

    def open(self) -> OpenedFleet:
        """What it says, by the rules of squizzle.toml, and its secrets; blocks are looked up, nothing is connected.

        Raises:
            InvalidInputError: A setting is missing, unknown or wrong, or there is no such block.
        """
        servers, secrets = self._servers()
        section = _said(
            {
                "environment": self.environment,
                "schema": self.schema_name,
                "servers": servers,
                "targets": [_with_schema(one) for one in self.targets],
                "databases": _table(self.databases),
                "schemas": _table(self.schemas),
                "query": _table(self.query),
                "pinned": self.pinned,
                "exclude": [_table(one) for one in self.exclude],
                "freezes": [
                    _said({"from": one.begins, "until": one.until, "reason": one.reason}) for one in self.freezes
                ],
                "deadline": self.deadline,
                "watch": self.watch,
                "health": self.health,
                "auto_recover": self.auto_recover,
                "unreachable": self.unreachable,
            }
        )
        section |= {"concurrency": self.concurrency, "per_server": self.per_server}
        return OpenedFleet(settings=read_one_fleet(self._source, self.fleet, section), secrets=secrets)

    @property
    def _source(self) -> str:
        return f"block fleet/{self._block_document_name or self.fleet}"

    def _servers(self) -> tuple[dict[str, object], dict[str, str]]:
        passwords = cast("dict[str, str]", dict(self.passwords.get_secret_value()))
        servers: dict[str, object] = {}
        secrets: dict[str, str] = {}
        for number, one in enumerate(self.servers):
            if one.name in servers:
                raise self._wrong(one, "is there twice", "give each server a name of its own")
            url, password = self._reached(one, passwords.pop(one.name, ""))
            server = _said({"url": url, "labels": one.labels, "free_bytes_query": one.free_bytes_query})
            server["tier"] = one.tier
            if password:
                variable = f"SQUIZZLE_FLEET_PASSWORD_{number}"
                server["password_env"] = variable
                secrets[variable] = password
            servers[one.name] = server
        if passwords:
            raise InvalidInputError(
                f"{self._source}: passwords has {', '.join(sorted(passwords))}, and no such server",
                hint="passwords go by the names of servers",
            )
        return servers, secrets

    def _reached(self, one: ServerOfFleet, password: str) -> tuple[str, str]:
        """The server's connection string without a password, and the password."""
        if bool(one.block) == bool(one.url):
            raise self._wrong(one, "give either block or url", "a saved block PostgreSQL Database, or postgresql://…")
        if one.url:
            if parse_url(one.url)[0].password is not None:
                hint = "whoever reads the block would see it: remove it, give it in passwords, and change it"
                raise self._wrong(one, "its url holds a password", hint)
            return one.url, password
        if password:
            raise self._wrong(one, "has a block and an entry in passwords", "the block has its own: remove the entry")
        try:
            block = cast("PostgresDatabase", PostgresDatabase.load(one.block))
        except ValueError as exc:
            hint = "save one of that name, or correct the name"
            raise self._wrong(one, f"there is no block postgres-database/{one.block}", hint) from exc
        if self.environment and block.environment != self.environment:
            told = f"postgres-database/{one.block} is of {block.environment}, the fleet of {self.environment}"
            raise self._wrong(one, told, "choose the block of the right server")
        url = make_conninfo(
            host=block.host, port=block.port, user=block.user, dbname=block.database, **dict(block.protection())
        )
        return url, block.password.get_secret_value()

    def _wrong(self, server: ServerOfFleet, what: str, hint: str) -> InvalidInputError:
        return InvalidInputError(f"{self._source}: servers {server.name}: {what}", hint=hint)


def chosen_fleet(name: str, block: Fleet | None) -> tuple[str | FleetSettings, Mapping[str, str]]:
    """The fleet that a form names, and the secrets that its block holds.

    Args:
        name: A section of squizzle.toml; empty where there is a block.
        block: The fleet's block; None where there is a name.

    Raises:
        InvalidInputError: Both or none of them were given, or the block says something wrong.
    """
    if block is not None and name:
        raise InvalidInputError(
            f"the fleet {name} of squizzle.toml was named, and the block of {block.fleet} was chosen, too",
            hint="leave one of the two empty",
        )
    if block is not None:
        opened = block.open()
        return opened.settings, opened.secrets
    if not name:
        raise InvalidInputError("no fleet was named", hint="name a section [fleets.NAME], or choose a block")
    return name, {}


def _said(section: dict[str, object]) -> dict[str, object]:
    """Without what was left empty in the form."""
    return {name: value for name, value in section.items() if value not in (None, "", [], {})}


def _table(form: BaseModel | None) -> dict[str, object]:
    return _said(form.model_dump()) if form else {}


def _with_schema(target: TargetOfFleet) -> dict[str, object]:
    section = _table(target)
    return section | ({"schema": section.pop("schema_name")} if "schema_name" in section else {})
