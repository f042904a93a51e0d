"""What steps of a recovery need of a block, so that a command, which has no blocks, can give them the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.store import BackupStore
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Target
from squizzle.settings.fences import FenceSettings

if TYPE_CHECKING:
    from squizzle.backups.rds.client import RdsClients


class DatabaseSource(Protocol):
    """One database: the block `PostgresDatabase`, or what a command names."""

    @property
    def database(self) -> str:
        """Its name."""

    @property
    def environment(self) -> str:
        """Where it is; empty where nobody said."""

    def access(self) -> ServerAccess:
        """Server and account, made where a session is opened: it carries a secret."""

    def target(self) -> Target:
        """The database, and who it must be."""


class StoreSource(Protocol):
    """Where backups are: the block of a folder or a bucket, or what a command names."""

    def open(self) -> BackupStore:
        """The store."""


class RdsSource(Protocol):
    """An instance of Amazon RDS: the block `RdsInstance`, or what a command names."""

    @property
    def instance(self) -> str:
        """Its name."""

    def open(self) -> RdsClients:
        """The clients; nothing is asked yet."""


class FenceSource(Protocol):
    """Something that writes to a database and can be shut: a block, or a section of squizzle.toml."""

    def settings(self) -> FenceSettings:
        """What it is, with its secrets: made where it is shut or opened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedDatabase:
    """A database that a command names. A `DatabaseSource`.

    Attributes:
        meant: The database, and who it must be.
        opens: Gives the access.
    """

    meant: Target
    opens: Callable[[], ServerAccess] = field(repr=False)

    @property
    def database(self) -> str:
        """Its name."""
        return self.meant.database

    @property
    def environment(self) -> str:
        """Where it is; empty where nobody said."""
        return self.meant.environment or ""

    def access(self) -> ServerAccess:
        """Server and account."""
        return self.opens()

    def target(self) -> Target:
        """The database, and who it must be."""
        return self.meant


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedStore:
    """A store that a command names. A `StoreSource`."""

    opens: Callable[[], BackupStore] = field(repr=False)

    def open(self) -> BackupStore:
        """The store."""
        return self.opens()


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedInstance:
    """An instance that squizzle.toml or a host's name says. An `RdsSource`.

    Attributes:
        instance: Its name.
        reached: How to reach RDS.
    """

    instance: str
    reached: RdsAccess

    def open(self) -> RdsClients:
        """The clients; nothing is asked yet."""
        from squizzle.backups.rds.client import open_rds  # noqa: PLC0415 - boto3 costs 200 ms

        return open_rds(self.reached)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedApplication:
    """A fence that squizzle.toml describes. A `FenceSource`."""

    opens: Callable[[], FenceSettings] = field(repr=False)

    def settings(self) -> FenceSettings:
        """What it is, with its secrets."""
        return self.opens()
