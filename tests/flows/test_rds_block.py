"""The block opens clients that work, and shows no secret."""

from __future__ import annotations

from pydantic import SecretStr

from blocks import RdsInstance
from tests.support.rds_service import Instance, rds_service


def test_the_block_opens_its_clients_and_hides_its_secrets() -> None:
    with rds_service() as fake:
        fake.instances["shop"] = Instance(identifier="shop", resource_id="db-SHOP")
        block = RdsInstance(
            instance="shop",
            region="eu-central-1",
            endpoint=fake.address,
            access_key="k",
            secret_key=SecretStr("s3cret"),
        )

        found = block.open().rds.describe_db_instances(DBInstanceIdentifier=block.instance)

    assert found["DBInstances"][0]["DbiResourceId"] == "db-SHOP"
    assert "s3cret" not in repr(block)
    assert all(field.description for field in RdsInstance.model_fields.values())
