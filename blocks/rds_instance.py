"""The block for one instance of Amazon RDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from squizzle.backups.rds.access import RdsAccess

if TYPE_CHECKING:
    from squizzle.backups.rds.client import RdsClients


class RdsInstance(Block):
    """One instance of Amazon RDS for PostgreSQL, and the account that may take its snapshots.

    The identifier has no default: a field that is renamed later would otherwise point somewhere else in silence.
    """

    _block_type_name = "RDS Instance"
    _block_type_slug = "rds-instance"
    _description = "An instance of Amazon RDS for PostgreSQL, for snapshots of it."

    instance: str = Field(
        title="Instance",
        min_length=1,
        max_length=63,
        description="The DB identifier, such as shop-prod. Not the endpoint, not the name of an Aurora cluster.",
    )
    region: str = Field(default="", title="Region", description="Such as eu-central-1. Empty: the worker's default.")
    role: str = Field(
        default="", title="Role", description="ARN of a role to take on, such as arn:aws:iam::123456789012:role/backup."
    )
    access_key: str = Field(default="", title="Access key", description="Empty: boto3's own search on the worker.")
    secret_key: SecretStr = Field(default=SecretStr(""), title="Secret key", description="Goes with the access key.")
    session_token: SecretStr = Field(
        default=SecretStr(""), title="Session token", description="Of temporary credentials; empty for others."
    )
    endpoint: str = Field(default="", title="Endpoint", description="Only for tests: another address than AWS's.")

    def access(self) -> RdsAccess:
        """How to reach it, without Prefect.

        Raises:
            InvalidInputError: Half of the credentials are missing.
        """
        return RdsAccess(
            region=self.region or None,
            endpoint=self.endpoint or None,
            role=self.role or None,
            access_key=self.access_key or None,
            secret_key=self.secret_key.get_secret_value() or None,
            session_token=self.session_token.get_secret_value() or None,
        )

    def open(self) -> RdsClients:
        """The clients. Nothing is asked yet.

        Raises:
            InvalidInputError: Half of the credentials are missing.
            CloudError: No Region, or the profile cannot be used.
        """
        from squizzle.backups.rds.client import open_rds  # noqa: PLC0415 - boto3 costs 200 ms

        return open_rds(self.access())
