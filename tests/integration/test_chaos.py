"""Chaos with a real server: production is refused whatever is set, and what is struck fails in words of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from botocore.exceptions import ClientError

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.rds.client import open_rds
from squizzle.backups.rds.failures import translated
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from squizzle.chaos.monkey import Chaos
from squizzle.chaos.settings import ChaosKind, ChaosSettings
from squizzle.disturbance import disturbed_by, exposed, spared, strikes_so_far
from squizzle.errors import CloudUnavailableError, FencingUnavailableError, RefusedError, ToolError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import ExpectedIdentity, ensure_identity
from squizzle.postgres.secret import Secret
from squizzle.recovery.fences.kubernetes_fence import KubernetesFence
from squizzle.settings.fences import KubernetesSettings
from tests.conftest import ROOT
from tests.integration.conftest import SERVERS
from tests.support.buckets import place_in
from tests.support.kubernetes_api import NAMESPACE, kubernetes_api
from tests.support.rds_service import Instance, rds_service

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


def test_a_cloud_that_is_busy_fails_in_words_of_ours_and_was_not_asked(
    address: ServerAddress, access: ServerAccess, database: str
) -> None:
    del address
    told: list[str] = []
    with rds_service() as fake, disturbed_by(always(ChaosKind.RDS, told)):
        connect(access, database, purpose="look").close()
        fake.instances["shop"] = Instance(identifier="shop", resource_id="db-SHOP")
        asked = RdsAccess(region="eu-central-1", endpoint=fake.address, access_key="k", secret_key="s")
        clients = open_rds(asked)
        with pytest.raises(ClientError) as failed:
            clients.rds.describe_db_instances(DBInstanceIdentifier="shop")
        with spared():
            (found,) = clients.rds.describe_db_instances(DBInstanceIdentifier="shop")["DBInstances"]
    assert found["DBInstanceIdentifier"] == "shop"
    error = translated(failed.value, "look at instances")
    assert isinstance(error, CloudUnavailableError)
    assert error.retryable
    assert told[0].startswith("chaos: rds at rds.DescribeDBInstances")
    assert len(told) == 1


def test_a_cluster_that_is_busy_fails_in_words_of_ours_and_nothing_is_scaled(
    address: ServerAddress, access: ServerAccess, database: str
) -> None:
    del address
    told: list[str] = []
    with kubernetes_api() as api, disturbed_by(always(ChaosKind.KUBERNETES, told)):
        connect(access, database, purpose="look").close()
        web = api.workload("web", 3)
        fence = KubernetesFence(
            KubernetesSettings(namespace=NAMESPACE, name="web", kubeconfig_text=Secret(api.kubeconfig))
        )
        with pytest.raises(FencingUnavailableError, match="chaos"):
            fence.look()
    assert told[0].startswith("chaos: kubernetes at ")
    assert web.replicas == 3


def test_a_step_that_is_delayed_is_done_and_waits_no_longer_than_was_said(
    address: ServerAddress, access: ServerAccess, database: str
) -> None:
    del address
    told: list[str] = []
    longest = timedelta(milliseconds=50)
    settings = ChaosSettings(seed=1, rate=1, kinds=frozenset({ChaosKind.DELAY}), longest_delay=longest)
    chaos = Chaos(settings, told.append)
    with disturbed_by(chaos):
        connect(access, database, purpose="look").close()
        began = monotonic()
        for _ in range(5):
            chaos.step("Look")
    assert 0.01 < monotonic() - began < 5 * 0.05 + 0.5
    assert len(told) == 5


STRUCK = """
from squizzle.chaos.monkey import Chaos
from squizzle.chaos.settings import parse_chaos
from squizzle.disturbance import disturbed_by
from squizzle.postgres.access import ServerAccess, connect

chaos = Chaos(parse_chaos({settings!r}, new_seed=int), lambda text: print(text, flush=True))
with disturbed_by(chaos):
    chaos.step("Look")
    connect(ServerAccess(), {database!r}, purpose="look").close()
    chaos.step("Look")
print("it lives")
"""
# What a worker of Prefect looks like from its child; a real one: tests/flows/test_two_workers.py.
WORKER = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]]); print('the worker lives')"


def struck(address: ServerAddress, database: str, kind: ChaosKind) -> tuple[int, list[str]]:
    """How a worker ended whose run is struck at its second step, and what both said."""
    code = STRUCK.format(settings=f"rate=1 seed=1 kinds={kind}", database=database)
    command = [sys.executable, "-c", WORKER, code, "worker", "start"]
    server = {"PGHOST": address.host, "PGPORT": str(address.port), "PGUSER": address.user}
    environment = os.environ | server | {"PGPASSWORD": address.read_password()}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(("kind", "more"), [(ChaosKind.KILL, ["the worker lives"]), (ChaosKind.KILL_WORKER, [])])
def test_who_is_killed_says_so_and_does_nothing_more(
    address: ServerAddress, database: str, kind: ChaosKind, more: list[str]
) -> None:
    code, said = struck(address, database, kind)

    assert said == [f"chaos: {kind} at step Look (rate=1 seed=1 kinds={kind})", *more]
    assert code == (0 if more else -signal.SIGKILL)


def test_what_looks_on_is_spared_and_what_was_struck_is_told(
    address: ServerAddress, access: ServerAccess, production: str, database: str, tmp_path: Path
) -> None:
    """A drill reads production before and after; what it plays may not."""
    del address, database
    with disturbed_by(always(ChaosKind.DISK_FULL, [])), spared():
        connect(access, production, purpose="look around").close()
        FolderStore(tmp_path).put_text("removed/a.json", "1")
        with exposed():
            with pytest.raises(RefusedError, match="is production"):
                connect(access, production, purpose="apply")
            connect(access, "postgres", purpose="look").close()
            with pytest.raises(ToolError):
                FolderStore(tmp_path).put_text("removed/b.json", "1")
        FolderStore(tmp_path).put_text("removed/c.json", "1")
        assert strikes_so_far() == ("disk-full at a file",)
    assert strikes_so_far() == ()
    assert FolderStore(tmp_path).texts("removed").keys() == {"a.json", "c.json"}
