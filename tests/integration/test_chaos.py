"""Chaos with a real server: production is refused whatever is set, and what is struck fails in words of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from squizzle.chaos.monkey import Chaos
from squizzle.chaos.settings import ChaosKind, ChaosSettings
from squizzle.disturbance import disturbed_by
from squizzle.errors import RefusedError, ToolError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import ExpectedIdentity, ensure_identity
from tests.integration.conftest import SERVERS
from tests.support.buckets import place_in

pytestmark = pytest.mark.parametrize("address", SERVERS[:1], indirect=True)


def always(kind: ChaosKind, told: list[str]) -> Chaos:
    return Chaos(ChaosSettings(seed=1, rate=1, kinds=frozenset({kind})), told.append)


@pytest.fixture
def production(connection: Connection, database: str) -> str:
    ensure_identity(connection, ExpectedIdentity(environment="production"), database=database)
    return database


@pytest.mark.parametrize("rate", [1, 0.0001])
def test_production_is_refused_before_anything_is_said_to_it(
    address: ServerAddress, access: ServerAccess, production: str, tmp_path: Path, rate: float
) -> None:
    del address
    chaos = Chaos(ChaosSettings(seed=1, rate=rate), lambda _text: None)
    with disturbed_by(chaos):
        with pytest.raises(RefusedError, match=f"chaos is on, and {production} is production"):
            connect(access, production, purpose="apply")
        FolderStore(tmp_path).put_text("a", "1")  # nothing is struck either
    with connect(access, production, purpose="look") as session:
        assert session.execute("SELECT count(*) FROM squizzle.identity").fetchone() == (1,)


def answered(session: Connection) -> int:
    """How many statements are answered before the session ends."""
    for number in range(20):
        try:
            session.execute("SELECT 1")
        except psycopg.OperationalError:
            session.close()
            return number
    raise AssertionError("nobody has ended it")


@pytest.mark.parametrize("kind", [ChaosKind.CUT, ChaosKind.TERMINATE])
def test_a_session_is_ended_at_the_same_statement_again(
    address: ServerAddress, access: ServerAccess, database: str, kind: ChaosKind
) -> None:
    del address
    places = []
    for _ in range(2):
        told: list[str] = []
        with disturbed_by(always(kind, told)):
            session = connect(access, database, purpose="apply")
            said = answered(session)
        assert told[0].startswith(f"chaos: {kind.value} at session squizzle apply")
        places.append(said)
    assert places[0] == places[1] < 12


def test_a_disk_that_is_full_publishes_nothing(
    address: ServerAddress, access: ServerAccess, database: str, tmp_path: Path
) -> None:
    del address
    with disturbed_by(always(ChaosKind.DISK_FULL, [])):
        connect(access, database, purpose="look").close()
        with pytest.raises(ToolError, match="No space left on device"):
            FolderStore(tmp_path).put_text("removed/a.json", "1")
    assert FolderStore(tmp_path).texts("removed") == {}


def test_a_bucket_that_is_busy_fails_in_words_of_ours(
    address: ServerAddress, access: ServerAccess, database: str, bucket: S3Settings
) -> None:
    del address
    told: list[str] = []
    with disturbed_by(always(ChaosKind.S3, told)):
        connect(access, database, purpose="look").close()
        store = S3Store(replace(place_in(bucket), attempts=2))
        with pytest.raises(ToolError, match="stayed busy"):
            store.put_text("removed/a.json", "1")
    assert told[0].startswith("chaos: s3 at s3.PutObject")
