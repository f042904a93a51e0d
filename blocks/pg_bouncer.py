"""The block for a database behind PgBouncer whose clients wait while it is recovered."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from squizzle.postgres.access import ServerAccess
from squizzle.postgres.secret import Secret
from squizzle.settings.fences import PgBouncerSettings


class PgBouncer(Block):
    """One database of a PgBouncer: paused while it is fenced, so that its clients wait instead of failing.

    Host and database have no defaults: a field that is renamed later would otherwise pause something else.
    """

    _block_type_name = "PgBouncer"
    _block_type_slug = "pgbouncer"
    _description = "A database of a PgBouncer that is paused while it is recovered."

    host: str = Field(
        title="Host", min_length=1, description="Name or address of PgBouncer, or the folder of its Unix socket."
    )
    port: int = Field(default=6432, title="Port", ge=1, le=65535)
    database: str = Field(
        title="Database", min_length=1, description="Its name in PgBouncer; may differ from the name on the server."
    )
    user: str = Field(title="User", min_length=1, description="One of PgBouncer's admin_users.")
    password: SecretStr = Field(
        default=SecretStr(""), title="Password", description="Empty when PgBouncer asks for none."
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", title="TLS", description="verify-full for anything that leaves this machine."
    )
    patience_seconds: float = Field(
        default=10,
        gt=0,
        title="Patience in seconds",
        description="How long transactions that are under way may take to end; after that it is resumed.",
    )

    def settings(self) -> PgBouncerSettings:
        """The same without Prefect."""
        password = self.password.get_secret_value()
        access = ServerAccess(
            host=self.host,
            port=self.port,
            user=self.user,
            password=Secret(password) if password else None,
            parameters=(("sslmode", self.sslmode),),
        )
        return PgBouncerSettings(
            access=access, database=self.database, patience=timedelta(seconds=self.patience_seconds)
        )
