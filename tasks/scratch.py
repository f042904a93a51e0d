"""Places to drill in: a server for the length of a drill, and a database of the example company on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from psycopg import sql
from pydantic import SecretStr

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from squizzle.backups.records import Backup
from squizzle.backups.work_folder import sweep_work_folders, work_folder
from squizzle.config import PRODUCTION
from squizzle.drills.outliving import sweep_outliving
from squizzle.errors import ProgramNotUsableError, RefusedError
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.client_run import run_client
from squizzle.postgres.embedded import drill_settings, find_runtime, sweep_abandoned, throwaway_cluster
from squizzle.postgres.identity import Identity, check_identity, read_identity, renew_identity
from squizzle.postgres.scratch_server import runtime_of
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.fence import control_session
from squizzle.recovery.new_database import drop_database
from squizzle.recovery.prepared_copy import copy_files
from squizzle.recovery.scratch import (
    DrillNames,
    drill_names,
    let_application_in,
    living_run,
    make_client,
    make_database,
    remove_run,
    run_database,
    sweep_dead_runs,
)
from tasks.steps import step

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "shop"
MIGRATIONS = EXAMPLE / "migrations"
DISASTER = EXAMPLE / "disasters" / "data_loss"
ENVIRONMENT = "drill"


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillServer:
    """What the drills of one run share.

    Attributes:
        server: A database of the server, to get in.
        store: Where backups go.
        control: A session in the maintenance database; what drills make is theirs as long as it lives.
        version: Such as 18.6.
        is_ours: Whether it goes with the drills, with whatever is made on it.
    """

    server: PostgresDatabase
    store: BackupFolder | BackupBucket
    control: Connection
    version: str
    is_ours: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillPlace:
    """Where the drill of one disaster happens.

    Attributes:
        run_id: Of the drill.
        names: What it calls its things.
        database: The database that disaster strikes.
        store: Where its backup goes.
        server_version: Such as 18.6.
        folder: For what the drill writes on this machine; gone with it.
    """

    run_id: str
    names: DrillNames
    database: PostgresDatabase
    store: BackupFolder | BackupBucket
    server_version: str
    folder: Path

    def beside(self, tag: str) -> PostgresDatabase:
        """Another database of this drill on the same server; it goes with it."""
        return self.database.model_copy(update={"database": run_database(self.run_id, tag)})


@contextmanager
def drill_server(
    *,
    server: PostgresDatabase | None,
    store: BackupFolder | BackupBucket | None,
    source: Backup | None = None,
    schema: str = "public",
) -> Iterator[DrillServer]:
    """A server to drill on, with the leftovers of dead drills removed first.

    No task: it must end even when the orchestrator is gone.

    Args:
        server: A saved block; None starts an embedded PostgreSQL that ends with us, even when we are killed.
        store: A saved block; None uses a folder that goes with the drill.
        source: The backup that it is played with: then what the drill saves goes with it, wherever it is played, and an
            embedded server has its major version. None for the example company.
        schema: Where migrations and their history are.

    Raises:
        RefusedError: The server is a production one.
        IdentityMismatchError: The block's database is another one than the block says.
        CouldNotVerifyError: There are no server programs of that version on this machine.
    """
    with ExitStack() as stack:
        is_ours = server is None
        if server is None:
            server, folder = stack.enter_context(_embedded_server(source.server_version // 10000 if source else None))
            store = store or BackupFolder(path=folder)
        elif source is not None:
            store = BackupFolder(path=stack.enter_context(work_folder()) / "backups")
        elif store is None:
            raise RefusedError(
                "a drill on a server needs a place for its backup",
                hint="choose a Backup Folder or a Backup Bucket, too",
            )
        _refuse_production(server)
        control = stack.enter_context(control_session(server.access(), purpose="drill"))
        sweep_dead_runs(control)
        sweep_work_folders()
        _sweep_servers()
        version = control.info.parameter_status("server_version") or "unknown"
        server = server.model_copy(update={"schema_name": schema})
        yield DrillServer(server=server, store=store, control=control, version=version, is_ours=is_ours)


# Begin the names of servers on this machine that a drill makes, and of the scratch copies that what it plays makes.
_SERVERS = ("drill-", "point-", "copy-", "restore-")


def _sweep_servers() -> None:
    """Remove what is left of the servers of killed drills; those whose owner lives are not touched."""
    with suppress(ProgramNotUsableError):  # without PostgreSQL's programs nobody made one here
        runtime = find_runtime()
        for prefix in _SERVERS:
            sweep_abandoned(runtime, prefix)
        sweep_outliving(runtime)


@contextmanager
def drill_place(on: DrillServer, run_id: str) -> Iterator[DrillPlace]:
    """A place for one disaster, whose databases and roles are removed last.

    No task, as `drill_server`.

    Args:
        on: The server.
        run_id: Eight hexadecimal digits; everything that the drill makes has them in its name.
    """
    with living_run(on.control, run_id), work_folder() as folder:
        try:
            names = drill_names(run_id)
            here = {"database": names.database, "environment": ENVIRONMENT, **_NO_IDENTITY}
            yield DrillPlace(
                run_id=run_id,
                names=names,
                database=on.server.model_copy(update=here),
                store=on.store,
                server_version=on.version,
                folder=folder,
            )
        finally:
            if not on.control.closed:
                remove_run(on.control, run_id)


# The drill's database is a new one: the identity that the block names belongs to another database of the server.
_NO_IDENTITY = {"database_id": "", "fleet": ""}


@contextmanager
def _embedded_server(major: int | None) -> Iterator[tuple[PostgresDatabase, Path]]:
    runtime = find_runtime() if major is None else runtime_of(major)
    # Queries are counted, so that it is noticed when they become slower.
    settings = drill_settings(runtime.major, throwaway=True) | {"shared_preload_libraries": "pg_stat_statements"}
    with throwaway_cluster("drill", settings=settings, runtime=runtime) as address:
        block = PostgresDatabase(
            host=str(address.socket_folder),
            port=address.port,
            database="postgres",
            user=address.user,
            password=SecretStr(""),
            environment=ENVIRONMENT,
        )
        yield block, address.data_folder.parent / "backups"


def _refuse_production(server: PostgresDatabase) -> None:
    with connect(server.access(), server.database, purpose="drill", read_only=True) as connection:
        identity = read_identity(connection)
        check_identity(identity, server.target().expected, database=server.database)
    if PRODUCTION in {server.environment, identity.environment if identity else None}:
        raise RefusedError(
            f"{server.database} on {server.host} is production; a drill never touches it",
            hint="choose a server for drills, or leave the choice empty for an embedded one",
        )


@step("Make the shop's database", timeout=timedelta(minutes=5))
def make_shop_database(place: DrillPlace) -> None:
    """Make the database with owner, roles, privileges, settings and comment, and let the application's role in."""
    with control_session(place.database.access(), purpose="drill") as control:
        remove_run(control, place.run_id)  # of a try before
        make_database(control, place.names)
    with connect(place.database.access(), place.names.database, purpose="drill") as connection:
        let_application_in(connection, place.names)


@step("Make a database of it", timeout=timedelta(hours=12))
def make_copy(place: DrillPlace, base: str) -> None:
    """Copy a database into a new one with owner, privileges, settings and comment, and an identity of its own.

    Args:
        place: Of the disaster.
        base: The database with the data, in which nobody is.
    """
    block = place.database
    with control_session(block.access(), purpose="drill") as control:
        remove_run(control, place.run_id)  # of a try before
        make_database(control, place.names, like=base)
    with connect(block.access(), block.database, purpose="drill") as connection:
        renew_identity(connection, block.target().expected, database=block.database)
        let_application_in(connection, place.names, schema=block.schema_name)


@step("Load the shop's data", timeout=timedelta(hours=2), detail=lambda found: f"{found.rows:,} rows")
def load_shop_data(place: DrillPlace, *, scale: float) -> DatabaseDigest:
    """Generate the example's rows, where no try before did, and fingerprint what is there."""
    with connect(place.database.access(), place.names.database, purpose="drill", read_only=True) as connection:
        is_loaded = connection.execute("SELECT EXISTS (SELECT FROM users)").fetchone() == (True,)
    if not is_loaded:  # it loads everything or nothing
        _generate(place, "--scale", str(scale))
    with connect(place.database.access(), place.names.database, purpose="drill", read_only=True) as connection:
        return digest_database(connection)


@step(
    "Let the application go on writing",
    timeout=timedelta(minutes=10),
    detail=lambda found: f"{found.rows:,} rows right before the disaster",
)
def write_more_orders(place: DrillPlace, *, orders: int) -> DatabaseDigest:
    """Write orders after the backup, which a restore cannot have, and fingerprint the steady state.

    Without the rows of Squizzle's own tables, which go on changing while it works.
    """
    _generate(place, "--more-orders", str(orders))
    with connect(place.database.access(), place.names.database, purpose="drill", read_only=True) as connection:
        return digest_database(connection)


@step("Make an account for the application", timeout=timedelta(minutes=1))
def make_application(place: DrillPlace) -> PostgresDatabase:
    """An account that logs in and has the application's rights, no more: its sessions are kept out and ended."""
    with control_session(place.database.access(), purpose="drill") as control:
        user, password = make_client(control, place.names)
    return place.database.model_copy(update={"user": user, "password": SecretStr(password)})


@step("Make another database like it", timeout=timedelta(hours=2), detail=lambda made: made.database)
def make_another(place: DrillPlace, tag: str) -> PostgresDatabase:
    """Copy the drill's database beside it, as a database with an identity of its own."""
    made = place.beside(tag)
    with control_session(place.database.access(), purpose="drill") as control:
        drop_database(control, made.database)  # of a try before
        copy_files(place.database.access(), control, place.database.database, made.database)
        control.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(made.database)))
    with connect(made.access(), made.database, purpose="drill") as connection:
        return _named(made, renew_identity(connection, made.target().expected, database=made.database))


@step(
    "See who it says it is", timeout=timedelta(minutes=1), detail=lambda known: known.database_id or "it does not say"
)
def known_by_id(database: PostgresDatabase) -> PostgresDatabase:
    """The same, to be taken by its id from now on; nothing is changed."""
    with connect(database.access(), database.database, purpose="drill", read_only=True) as connection:
        return _named(database, read_identity(connection))


def _named(database: PostgresDatabase, identity: Identity | None) -> PostgresDatabase:
    return database.model_copy(update={"database_id": str(identity.id) if identity else ""})


def _generate(place: DrillPlace, *arguments: str) -> None:
    run_client(
        Path(sys.executable),
        [str(EXAMPLE / "generate.py"), *arguments],
        access=place.database.access(),
        database=place.names.database,
        doing="load the example's data",
        timeout=timedelta(hours=1),
    )


@step("Clean up", timeout=timedelta(minutes=5), detail=lambda left: ", ".join(left) or "nothing is left")
def clean_up(place: DrillPlace) -> tuple[str, ...]:
    """Drop the drill's databases and roles; returns what could not be dropped."""
    with control_session(place.database.access(), purpose="drill") as control:
        return remove_run(control, place.run_id)
