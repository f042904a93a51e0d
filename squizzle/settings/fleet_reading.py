"""Reading `[fleets.NAME]` of `squizzle.toml`, or what a block says instead; nothing is connected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn, Protocol

from squizzle.settings.fleets import (
    DatabasesByName,
    Exclusion,
    FleetQuery,
    FleetServer,
    FleetSettings,
    Freeze,
    ListedTarget,
    Pattern,
    SchemasByName,
)
from squizzle.settings.health import read_health
from squizzle.settings.reader import Reader
from squizzle.settings.watch import read_watch, seen_from

_MOST_SESSIONS = 1000
_MOST_SIZE = 2**63 - 1
_MOST_TIERS = 1000


class FleetReader(Reader, Protocol):
    """What else fleets are read with."""

    def number(self, section: dict[str, object], where: str, name: str, *, most: int) -> int | None: ...  # noqa: D102
    def yes_or_no(self, section: dict[str, object], where: str, name: str, *, default: bool) -> bool: ...  # noqa: D102


def read_fleets(reader: FleetReader, sections: Mapping[str, object], folder: Path) -> dict[str, FleetSettings]:
    """`[fleets]`; files that are named in there are seen from the folder. As `read_fleet`."""
    found = {name: read_fleet(reader, name, section) for name, section in sections.items()}
    return {name: replace(one, watch=seen_from(folder, one.watch)) for name, one in found.items()}


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
            backups_good_for=reader.duration(section, where, "backups_good_for", default.backups_good_for),
            exclude_unreachable=self.excludes_unreachable(),
            watch=read_watch(reader, f"{where}.watch", section.pop("watch", {})),
            health=read_health(reader, f"{where}.health", section.pop("health", {})),
            auto_recover=self.recovers_by_itself(),
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

    def recovers_by_itself(self) -> bool:
        said = self.reader.text(self.section, self.where, "auto_recover")
        if said not in (None, "safe", "never"):
            self.reader.complain(f"{self.where}.auto_recover", "must be safe or never")
        return said == "safe"

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
