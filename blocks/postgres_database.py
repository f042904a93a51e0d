"""The block for one PostgreSQL database."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.postgres.secret import Secret


class PostgresDatabase(Block):
    """One PostgreSQL database: how to reach it, and which one it must be.

    Host, database and environment have no defaults: a field that is renamed later would otherwise load its default in
    silence and point somewhere else.
    """

    _block_type_name = "PostgreSQL Database"
    _block_type_slug = "postgres-database"
    _description = "One PostgreSQL database, and which one it must be. Squizzle refuses any other."

    host: str = Field(title="Host", description="Name or address of the server, or the folder of its Unix socket.")
    port: int = Field(default=5432, title="Port", ge=1, le=65535)
    database: str = Field(title="Database", min_length=1, description="The database's exact name.")
    user: str = Field(title="User", min_length=1, description="The account to log in with.")
    password: SecretStr = Field(
        default=SecretStr(""), title="Password", description="Empty when the server asks for none."
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", title="TLS", description="verify-full for anything that leaves this machine."
    )
    root_certificate: str = Field(
        default="",
        title="Root certificate",
        description="File of the authority that verify-ca and verify-full trust, or `system`. Empty: libpq's default.",
    )
    environment: str = Field(
        title="Environment",
        min_length=1,
        description="Such as staging or production. Compared with what the database says before anything is changed.",
    )
    fleet: str = Field(default="", title="Fleet", description="Empty when it belongs to none.")
    database_id: str = Field(
        default="",
        title="Identity",
        description="The id in squizzle.identity, to be sure that it is this very database. Empty: not compared.",
    )
    schema_name: str = Field(
        default="public", title="Schema", min_length=1, description="The schema that migrations work in."
    )

    def access(self) -> ServerAccess:
        """The server and the account, for opening a connection."""
        password = self.password.get_secret_value()
        return ServerAccess(
            host=self.host,
            port=self.port,
            user=self.user,
            password=Secret(password) if password else None,
            parameters=self.protection(),
        )

    def protection(self) -> tuple[tuple[str, str], ...]:
        """What makes the connection safe, as parameters of libpq."""
        mode = (("sslmode", self.sslmode),)
        return (*mode, ("sslrootcert", self.root_certificate)) if self.root_certificate else mode

    def target(self) -> Target:
        """The database, and who it must be."""
        expected = ExpectedIdentity(
            environment=self.environment,
            fleet=self.fleet or None,
            id=UUID(self.database_id) if self.database_id else None,
        )
        return Target(database=self.database, schema=self.schema_name, expected=expected)
