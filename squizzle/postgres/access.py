"""How to reach one PostgreSQL server: parameters, one way to connect, one way to hand them to client programs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from squizzle.disturbance import present
from squizzle.errors import ConnectionFailedError, InvalidInputError
from squizzle.postgres.names_in_queries import NamesCursor, refuse_cut_name
from squizzle.postgres.secret import Secret
from squizzle.postgres.translation import translate_connect_error
from squizzle.processes import bare_environment

Connection = psycopg.Connection[TupleRow]

APPLICATION_NAME = "squizzle"
# PostgreSQL cuts application_name at NAMEDATALEN - 1 bytes (manual, "Error Reporting and Logging").
_APPLICATION_NAME_BYTES = 63
# Long enough for a server that is busy or far away, short enough that a dead host is noticed by a person waiting.
DEFAULT_CONNECT_TIMEOUT = timedelta(seconds=10)
# Where maintenance is done from: a database that every cluster has and that no migration works in.
CONTROL_DATABASE = "postgres"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerAccess:
    """One server and one account on it.

    It carries a secret, so it never travels between flows and tasks: it is made where a connection is opened.

    Attributes:
        host: Name, address, or folder of a Unix socket; empty for libpq's default.
        port: TCP port, or the socket's number.
        user: The account; empty for libpq's default.
        password: None when the server asks for none, or a password file provides it.
        parameters: Further libpq parameters (`sslmode`, `sslrootcert` …) as (name, value).
        connect_timeout: After that a connection attempt counts as failed.
    """

    host: str = ""
    port: int | None = None
    user: str = ""
    password: Secret | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    connect_timeout: timedelta = DEFAULT_CONNECT_TIMEOUT

    @property
    def where(self) -> str:
        """Host and port for a message; never the password."""
        return f"{self.host or 'the default host'}:{self.port or 5432}"


def connect(access: ServerAccess, database: str, *, purpose: str, read_only: bool = False) -> Connection:
    """Open a session in autocommit mode; the database is not changed.

    Args:
        access: Server and account.
        database: The database's exact name.
        purpose: What the session is for, shown to everybody in `pg_stat_activity.application_name`.
        read_only: Start every transaction read-only (`default_transaction_read_only`).

    Raises:
        AuthenticationFailedError: The user or the password is not accepted.
        ConnectionFailedError: No server there, no such database, or it accepts no connections.
        InvalidInputError: The server would cut the name of the database or of the user.
    """
    refuse_cut_name(database, "a database")
    refuse_cut_name(access.user, "a user")
    try:
        connection = psycopg.connect(**_connect_arguments(access, database, purpose, read_only=read_only))
    except psycopg.Error as exc:
        # "from None": psycopg repeats parts of malformed parameters, passwords among them.
        raise translate_connect_error(exc, where=access.where, database=database, user=access.user) from None
    connection.autocommit = True
    connection.cursor_factory = NamesCursor
    if (disturber := present()) is not None and not any(name == "replication" for name, _ in access.parameters):
        disturber.session(connection, database)
    return connection


def is_restarting(access: ServerAccess, database: str) -> bool:
    """Whether a server is there and lets nobody in for a moment, as it does while it starts, stops or recovers.

    It is asked without logging in (`PQping`, PostgreSQL manual, 34.1): what it says to a login is in any language.
    """
    arguments = _connect_arguments(access, database, "ping", read_only=False)
    del arguments["prepare_threshold"]
    arguments.pop("password", None)
    return pq.PGconn.ping(make_conninfo(**arguments).encode()) == pq.Ping.REJECT


def _connect_arguments(access: ServerAccess, database: str, purpose: str, *, read_only: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = dict(access.parameters)
    if read_only:
        arguments["options"] = f"{arguments.get('options', '')} -c default_transaction_read_only=on".strip()
    arguments |= {
        "host": access.host or None,
        "port": access.port,
        "user": access.user or None,
        "dbname": database,
        "connect_timeout": max(2, round(access.connect_timeout.total_seconds())),
        "application_name": f"{APPLICATION_NAME} {purpose}"[:_APPLICATION_NAME_BYTES],
        # A server-side prepared statement must not outlive the DDL that changes what it reads.
        "prepare_threshold": None,
    }
    if access.password is not None:
        arguments["password"] = access.password.reveal()
    return {name: value for name, value in arguments.items() if value is not None or name == "prepare_threshold"}


def server_pid(connection: Connection) -> int:
    """The number of the process that serves this session now; `info.backend_pid` may be a number of a pooler's own.

    Raises:
        psycopg.Error: The session was lost.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def access_of(connection: Connection) -> ServerAccess:
    """How a session was reached, so that another one can be opened the same way."""
    info = connection.info
    known = {"host", "port", "user", "dbname", "password", "application_name", "connect_timeout", "options"}
    known |= {"service", "servicefile"}  # what was in it is among the others
    return ServerAccess(
        host=info.host,
        port=info.port,
        user=info.user,
        password=Secret(info.password) if info.password else None,
        parameters=tuple((name, value) for name, value in info.get_parameters().items() if name not in known),
    )


def second_session(connection: Connection, *, purpose: str) -> Connection:
    """One more session like this one, in the same database or, where that is fenced, in the maintenance database.

    Raises:
        ConnectionFailedError: Neither lets us in.
    """
    access = access_of(connection)
    try:
        return connect(access, connection.info.dbname, purpose=purpose)
    except ConnectionFailedError:
        return connect(access, CONTROL_DATABASE, purpose=purpose)


def parse_url(url: str) -> tuple[ServerAccess, str]:
    """Read a libpq connection string (URI or key=value form); nothing is connected.

    Args:
        url: `postgresql://user:password@host:port/database?sslmode=…` or `host=… dbname=…`.

    Returns:
        The access and the database's name.

    Raises:
        InvalidInputError: It cannot be parsed, or names no database. The message never repeats the string.
    """
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except (psycopg.Error, UnicodeError):
        raise InvalidInputError(
            "the connection URL cannot be parsed",
            hint="write postgresql://user@host:port/database; percent-encode special characters (@ is %40), "
            "and give the password by PGPASSWORD or a password file",
        ) from None
    if "service" in given or "PGSERVICE" in os.environ:
        given = _service(url)
    database = given.pop("dbname", "") or os.environ.get("PGDATABASE", "")
    if not database:
        raise InvalidInputError("the connection URL names no database", hint="end it with /DATABASE")
    return _access_from_parameters(given), database


def _service(url: str) -> dict[str, str]:
    """What libpq makes of a connection string that leaves things to a service file; nothing is connected.

    A client program cannot be handed both: for libpq a service wins over the variables that say the rest, so the
    program would work on another database than our session, or less protected.
    """
    # libpq reads the service first, and refuses such a way to choose a host before it opens anything.
    unconnected = pq.PGconn.connect_start(make_conninfo(url, load_balance_hosts="refused").encode())
    try:
        options = {one.keyword.decode(): (one.val, one.compiled) for one in unconnected.info}
    finally:
        unconnected.finish()
    if options["load_balance_hosts"][0] is None:
        raise InvalidInputError(
            "the connection URL or PGSERVICE names a service that no service file has",
            hint="add it to ~/.pg_service.conf or the file that PGSERVICEFILE names, or give host, port and database",
        )
    ours = {"service", "servicefile", "load_balance_hosts"}
    # What libpq would take anyway is left out, but for what the environment could still change.
    said = {name: value.decode() for name, (value, usual) in options.items() if value and value != usual}
    said |= {name: value.decode() for name in ("port", "sslmode") if (value := options[name][0])}
    return {name: value for name, value in said.items() if name not in ours}


def _access_from_parameters(given: dict[str, str]) -> ServerAccess:
    password = given.pop("password", None)
    port = given.pop("port", "")
    timeout = given.pop("connect_timeout", "")
    access = ServerAccess(
        host=given.pop("host", ""),
        port=_number(port, "port") if port else None,
        user=given.pop("user", ""),
        password=Secret(password) if password is not None else None,
    )
    given.pop("application_name", None)
    if timeout:
        access = replace(access, connect_timeout=timedelta(seconds=_number(timeout, "connect_timeout")))
    return replace(access, parameters=tuple(sorted(given.items())))


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise InvalidInputError(f"the connection URL has no usable {name}", hint=f"give {name} as one whole number")
    return int(text)


@contextmanager
def client_environment(access: ServerAccess, database: str) -> Iterator[dict[str, str]]:
    """The environment for a libpq client program (`pg_dump` …) that shall work on this database.

    The password goes through a password file that only we can read and that is removed afterwards: arguments and
    environments of processes can be read by others (PostgreSQL manual, "The Password File").

    Args:
        access: Server and account.
        database: The database to work on; it reaches the program as PGDATABASE.

    Yields:
        The whole environment for the child process; of ours only what every program may need.
    """
    environment = bare_environment() | {name: os.environ[name] for name in _DEFAULTS if name in os.environ}
    environment |= _libpq_variables(access, database)
    if access.password is None:
        if "PGPASSFILE" in os.environ:
            environment["PGPASSFILE"] = os.environ["PGPASSFILE"]
        if "PGPASSWORD" in os.environ:
            environment["PGPASSWORD"] = os.environ["PGPASSWORD"]
        yield environment
        return
    _remove_abandoned_password_files()
    prefix = f"{_PASSWORD_FILE}{os.getpid()}-"
    with tempfile.NamedTemporaryFile("w", prefix=prefix, encoding="utf-8") as file:  # made with mode 0600
        escaped = access.password.reveal().replace("\\", "\\\\").replace(":", "\\:")
        file.write(f"*:*:*:*:{escaped}\n")
        file.flush()
        yield environment | {"PGPASSFILE": str(Path(file.name))}


_PASSWORD_FILE = "squizzle-pgpass-"  # noqa: S105 - the beginning of a file name


def _remove_abandoned_password_files() -> None:
    """Remove password files of processes that were killed: nothing else ever would."""
    for file in Path(tempfile.gettempdir()).glob(f"{_PASSWORD_FILE}[0-9]*-*"):
        owner = file.name.removeprefix(_PASSWORD_FILE).partition("-")[0]
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (PermissionError, ValueError):
            continue  # somebody else's


# What makes a connection safe, and libpq's own names of the variables for it (manual, "Environment Variables").
_PROTECTION = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "sslcertmode": "PGSSLCERTMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "channel_binding": "PGCHANNELBINDING",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "gssencmode": "PGGSSENCMODE",
    "gssdelegation": "PGGSSDELEGATION",
    "gsslib": "PGGSSLIB",
    "krbsrvname": "PGKRBSRVNAME",
}

_VARIABLES = _PROTECTION | {
    "hostaddr": "PGHOSTADDR",
    "options": "PGOPTIONS",
    "passfile": "PGPASSFILE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}

# What our own session takes from the environment where access says nothing, so the program takes it, too: it must not
# end up at another server, nor at the same one less protected. Not PGSERVICE: a service wins over all these variables,
# so whoever names one gets what is in it (`_service`).
_DEFAULTS = frozenset({"PGHOST", "PGPORT", "PGUSER", *_PROTECTION.values()})


def _libpq_variables(access: ServerAccess, database: str) -> dict[str, str]:
    variables = {
        "PGDATABASE": database,
        "PGAPPNAME": f"{APPLICATION_NAME} client program",
        "PGCONNECT_TIMEOUT": str(max(2, round(access.connect_timeout.total_seconds()))),
    }
    if access.host:
        variables["PGHOST"] = access.host
    if access.port:
        variables["PGPORT"] = str(access.port)
    if access.user:
        variables["PGUSER"] = access.user
    for name, value in access.parameters:
        if name not in _VARIABLES:
            raise InvalidInputError(
                f"the connection parameter {name!r} cannot be handed to PostgreSQL's client programs",
                hint=f"use one of: {', '.join(sorted(_VARIABLES))}",
            )
        variables[_VARIABLES[name]] = value
    return variables


def conninfo_database(database: str) -> str:
    """The database name as a connection string, for programs that would read `a=b` as one.

    `pg_restore --dbname` and `pg_dump` accept connection strings where a name is expected, so a database named
    `host=evil` would redirect them.
    """
    return make_conninfo(dbname=database)
