"""The flow for damaged pages: evidence and a list first, a database only after a yes, the original only read."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks import PostgresDatabase
from flows.examine_corruption import examine_corruption
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import find_runtime
from tests.flows.conftest import artifacts_of, somebody_answers
from tests.support.damaged import ORDERS, Damaged, damaged_shop

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def block_of_damaged(shop: Damaged) -> PostgresDatabase:
    name = f"damaged-{secrets.token_hex(3)}"
    access = shop.access
    PostgresDatabase(
        host=access.host,
        port=access.port or 0,
        database=shop.database,
        user=access.user,
        password=SecretStr(""),
        environment="testing",
    ).save(name)
    return PostgresDatabase.load(name)


@pytest.mark.usefixtures("quick_gate")
def test_a_database_of_what_can_be_read_is_made_after_a_yes_and_never_in_the_damaged_cluster(
    server_block: PostgresDatabase, access: ServerAccess, tmp_path: Path
) -> None:
    new = f"salvaged_{secrets.token_hex(3)}"
    with damaged_shop(find_runtime()) as shop:
        shop.write("orders", 3, 0, b"\xff" * 24)
        before = shop.digests()
        shop.cluster.start(guarded=True)
        damaged = block_of_damaged(shop)
        with pytest.raises(InvalidInputError, match="the damaged one is never written to"):
            examine_corruption(database=damaged, dry_run=False)
        asked = {
            "database": damaged, "into": server_block, "dry_run": False, "new_name": new, "evidence": str(tmp_path),
            "keep_copy": False,
        }  # fmt: skip
        with connect(access, "postgres", purpose="test") as control:
            with somebody_answers("examine shop", {"decision": "approve", "approver": "anna", "comment": ""}):
                done = examine_corruption(**asked, return_state=True)
            with connect(access, new, purpose="test", read_only=True) as connection:
                rows = connection.execute("SELECT count(*) FROM orders").fetchone()
            control.execute(f"DROP DATABASE {new} WITH (FORCE)")
        with connect(shop.access, "postgres", purpose="test") as original:
            databases = original.execute("SELECT count(*) FROM pg_database").fetchone()
        assert shop.digests() == before

    assert databases == (4,)
    assert done.is_completed(), done.message
    found, loaded = done.result()
    (orders,) = found.saved
    assert rows == (orders.rows,)
    assert orders.rows + len(orders.lost) == ORDERS
    assert loaded.is_whole
    shown = artifacts_of(done.state_details.flow_run_id)
    assert set(shown) == {
        "corruption-progress", "corruption-shop", "approval-examine-corruption", "salvaged-shop"
    }  # fmt: skip
    assert "1 damaged page in 1 relation" in str(shown["corruption-shop"].description)
    text = str(shown["salvaged-shop"].data)
    assert f"## The new database `{new}`" in text
    assert f"{len(orders.lost)} rows are **lost**, by id" in text
    assert (found.folder / "report.md").read_text() == text
    approval = str(shown["approval-examine-corruption"].data)
    assert f"Make the database `{new}` on" in approval
