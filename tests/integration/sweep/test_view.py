"""The view `squizzle.health_check`: the guide's columns, and what it says on a primary and on a standby."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.errors import DatabaseError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import Cluster, drill_settings, find_runtime
from squizzle.postgres.embedded.settings import render_settings
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.rollout.reaching import Reach
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import FleetSettings
from squizzle.sweep.sweeping import SweepOrder, sweep_fleet
from squizzle.sweep.view import VIEW_VERSION, ViewState, install_view
from tests.integration.cli.conftest import Squizzle, url_of
from tests.integration.conftest import access_to
from tests.support.processes import wait_until

# Word for word.
GUIDE = """
CREATE VIEW squizzle.health_check AS
SELECT
  -- Last successful migration
  (SELECT MAX(applied_at)
   FROM squizzle_history
   WHERE success = true) AS last_success,

  -- Failed migrations
  (SELECT COUNT(*)
   FROM squizzle_history
   WHERE success = false
   AND applied_at > NOW() - INTERVAL '24 hours') AS recent_failures,

  -- Database size
  pg_database_size(current_database()) AS db_size,

  -- Active connections
  (SELECT COUNT(*)
   FROM pg_stat_activity) AS connections,

  -- Replication lag
  EXTRACT(EPOCH FROM (NOW() - pg_last_xact_replay_timestamp())) AS replication_lag;
"""
COLUMNS = (
    "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
    " WHERE attrelid = 'squizzle.health_check'::regclass AND attnum > 0 ORDER BY attnum"
)
ROW = (
    "INSERT INTO {}.squizzle_history (version, name, direction, success, applied_at) VALUES (%s, 'x', 'apply', %s, {})"
)


def note(connection: Connection, schema: str, version: str, *, success: bool, at: str = "now()") -> None:
    connection.execute(ROW.format(schema, at).encode(), (version, success))


def lag(connection: Connection) -> float | None:
    row = connection.execute("SELECT replication_lag FROM squizzle.health_check").fetchone()
    assert row is not None
    return None if row[0] is None else float(row[0])


def test_the_view_has_the_columns_of_the_guide_and_its_numbers(connection: Connection, database: str) -> None:
    connection.execute("CREATE SCHEMA squizzle")
    target = Target(database=database)
    assert install_view(connection, target, ["public"]) == (ViewState.MADE, ("public",))
    note(connection, "public", "1", success=True, at="now() - interval '3 days'")
    note(connection, "public", "2", success=False)
    note(connection, "public", "3", success=False, at="now() - interval '25 hours'")
    ours = connection.execute(COLUMNS).fetchall()
    row = connection.execute("SELECT * FROM squizzle.health_check").fetchone()
    assert row is not None
    assert row[4] == 0, "nobody is behind a primary without standbys; nothing is NULL"

    connection.execute("DROP VIEW squizzle.health_check")
    connection.execute(GUIDE.encode())
    assert ours == connection.execute(COLUMNS).fetchall()
    guides = connection.execute("SELECT * FROM squizzle.health_check").fetchone()
    assert guides is not None
    assert (guides[:2], guides[4]) == (row[:2], None)
    assert row[1] == 1
    assert abs(guides[2] - row[2]) < 1_000_000, "another view has a page more"
    with pytest.raises(RefusedError, match="is not ours; it was left as it is"):
        install_view(connection, target, ["public"])


@pytest.mark.one_server
def test_the_view_is_brought_up_to_date_and_reads_the_histories_of_all_tenants_without_a_superuser(
    access: ServerAccess, connection: Connection, database: str, role: str
) -> None:
    name = sql.Identifier(role)
    connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(database), name))
    target = Target(database=database)
    with connect(replace(access, user=role), database, purpose="test") as plain:
        for tenant in ("acme", '"Acme"'):
            plain.execute(f"CREATE SCHEMA {tenant}".encode())
        assert install_view(plain, target, ["Acme"]) == (ViewState.MADE, ("Acme",))
        note(plain, '"Acme"', "1", success=False)
        assert install_view(plain, target, ["acme"]) == (ViewState.RENEWED, ("Acme", "acme"))
        note(plain, "acme", "1", success=False)
        assert install_view(plain, target, ["acme"]) == (ViewState.CURRENT, ("Acme", "acme"))
        found = plain.execute("SELECT last_success, recent_failures, replication_lag FROM squizzle.health_check")
        assert found.fetchone() == (None, 2, 0)
        comment = "COMMENT ON VIEW squizzle.health_check IS 'Squizzle health_check, version {}: of old'"
        plain.execute(comment.format(VIEW_VERSION + 1).encode())
        assert install_view(plain, target, ["acme"])[0] is ViewState.NEWER
        plain.execute(comment.format(0).encode())
        assert install_view(plain, target, ["acme"])[0] is ViewState.RENEWED


@pytest.mark.one_server
def test_the_command_makes_the_view_and_says_where_it_could_not(
    squizzle: Squizzle, access: ServerAccess, connection: Connection, database: str
) -> None:
    url = url_of(access, database)
    done = squizzle("health", "--install", "--url", url, "--json")
    assert (done.code, done.document["views"][0]["state"]) == (0, "made")
    connection.execute("COMMENT ON VIEW squizzle.health_check IS NULL")
    done = squizzle("health", "--install", "--url", url, "--json")
    assert done.code == 1
    assert "DROP VIEW squizzle.health_check" in done.document["views"][0]["detail"]


def test_lag_is_nothing_on_an_idle_standby_and_grows_when_it_is_fed_no_more() -> None:
    runtime = find_runtime()
    settings = drill_settings(runtime.major, throwaway=True) | {"wal_level": "replica", "max_wal_senders": "4"}
    with ExitStack() as stack:

        def server(kind: str) -> Cluster:
            cluster = Cluster(runtime, f"{kind}-{os.getpid()}-{secrets.token_hex(3)}")
            stack.callback(cluster.destroy)
            return cluster

        first = server("first")
        first.create(settings)
        access = access_to(address := first.start(guarded=True))
        primary = stack.enter_context(connect(access, "postgres", purpose="test"))
        install_view(primary, Target(database="postgres"), ["public"])

        def fill(data: Path) -> None:
            to = ["-h", address.socket_folder, "-p", str(address.port), "-U", address.user, "-D", data / "copy"]
            copy = [runtime.bin_folder / "pg_basebackup", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
            subprocess.run([*copy, *to], check=True, capture_output=True, timeout=60)
            shutil.copytree(data / "copy", data, dirs_exist_ok=True)
            shutil.rmtree(data / "copy")
            feed = f"host={address.socket_folder} port={address.port} user={address.user}"
            (data / "postgresql.conf").write_text(render_settings({**settings, "primary_conninfo": feed}))
            (data / "standby.signal").touch(mode=0o600)

        second = server("second")
        second.restore(fill)
        standby = stack.enter_context(connect(access_to(second.start(guarded=True)), "postgres", purpose="test"))
        primary.execute("CREATE TABLE t AS SELECT 1")
        wait_until(lambda: standby.execute("SELECT to_regclass('t') IS NOT NULL").fetchone() == (True,), "it replays")
        wait_until(lambda: lag(standby) == 0, "it has replayed all that it got")
        found = lag(primary)
        assert found is not None
        assert 0 <= found < 60
        primary.execute("CREATE ROLE plain")
        primary.execute("GRANT USAGE ON SCHEMA squizzle TO plain")
        primary.execute("GRANT SELECT ON squizzle.health_check TO plain")
        primary.execute("SET ROLE plain")
        assert lag(primary) is None, "who may not see how far standbys are behind does not know"
        primary.execute("RESET ROLE")

        # A sweep finds nothing wrong with it, and does not ask it what only a primary knows.
        alone = FleetTarget(name="standby", server="one", database="postgres", schema="public")
        swept = sweep_fleet(
            SweepOrder(
                fleet=Fleet(name="town", environment=None, servers={}, targets=(alone,)),
                expected=ExpectedIdentity(),
                settings=FleetSettings(name="town", deadline=timedelta(seconds=60)),
            ),
            Reach({"one": (access_to(second.address()), "postgres")}, deadline=timedelta(seconds=60), purpose="health"),
        )
        assert swept.is_ok, swept.targets
        assert (swept.targets[0].metrics["is_standby"], swept.targets[0].metrics["replication_lag_s"]) == (True, 0)

        standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
        standby.execute("SELECT pg_reload_conf()")
        wait_until(lambda: (lag(standby) or 0) > 0, "it is fed no more, and says how old it is")
        assert install_view(standby, Target(database="postgres"), ["public"])[0] is ViewState.CURRENT
        with pytest.raises(DatabaseError, match="is in recovery"):
            install_view(standby, Target(database="postgres"), ["other"])
