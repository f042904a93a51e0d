"""Who a database is, and whether it is the one that was meant."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from squizzle.errors import IdentityMismatchError
from squizzle.postgres.access import Connection
from squizzle.postgres.names_in_queries import refuse_cut_name
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What `squizzle.identity` holds.

    Attributes:
        id: Random, written once.
        environment: None until a caller who names one changes the database for the first time.
        fleet: None when it belongs to none.
        name: The name that the database had when it was first changed.
    """

    id: UUID
    environment: str | None
    fleet: str | None
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedIdentity:
    """What the caller means; None where the caller does not say.

    Attributes:
        environment: Name of the environment, as in `squizzle.toml` or the block.
        fleet: Name of the fleet.
        name: The database's name as first written.
        id: The random id.
    """

    environment: str | None = None
    fleet: str | None = None
    name: str | None = None
    id: UUID | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One database, or one schema of one database, and who the caller means by it.

    Attributes:
        database: The database's name.
        schema: The schema that migrations work in and that holds the history.
        expected: Who it should be.
    """

    database: str
    schema: str = "public"
    expected: ExpectedIdentity = ExpectedIdentity()

    def __post_init__(self) -> None:
        """Refuse names that the server would cut: it would be another database or schema."""
        refuse_cut_name(self.database, "a database")
        refuse_cut_name(self.schema, "a schema")

    @property
    def environment(self) -> str | None:
        """The environment that the caller named; None when none."""
        return self.expected.environment


_TABLES = OwnTables(package="squizzle.postgres", script="identity_table")
# Rights, for messages.
_TO_READ = "USAGE on the schema squizzle and SELECT on squizzle.identity"
_TO_WRITE = f"{_TO_READ}, and INSERT and UPDATE on it"


def read_identity(connection: Connection) -> Identity | None:
    """Who this database says it is; None where nothing was written yet. Nothing is changed.

    Raises:
        DatabaseError: No right to read it, or the session was lost.
    """
    try:
        if find_tables(connection, _TABLES) is None:
            return None
        with connection.cursor(row_factory=class_row(Identity)) as cursor:
            return cursor.execute("SELECT id, environment, fleet, name FROM squizzle.identity").fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read squizzle.identity", needs=_TO_READ) from exc


def check_identity(found: Identity | None, expected: ExpectedIdentity, *, database: str) -> None:
    """Refuse when the database is another one than was meant. Nothing is changed.

    What the caller does not say, and an environment that was never written, is not compared; an expected id is
    compared even with a database that has none.

    Args:
        found: What the database says.
        expected: What the caller means.
        database: The database's name now, for the message.

    Raises:
        IdentityMismatchError: They differ; the message names every difference.
    """
    differences = _differences(found, expected)
    if differences:
        raise IdentityMismatchError(
            f"{database} is not the database that was meant: {'; '.join(differences)}",
            hint="check --env and --url; nothing was changed. `SELECT * FROM squizzle.identity` shows who it is",
        )


def _differences(found: Identity | None, expected: ExpectedIdentity) -> list[str]:
    if found is None:
        return [] if expected.id is None else [f"id is not written yet, expected {expected.id}"]
    pairs = [
        ("environment", found.environment, expected.environment),
        ("fleet", found.fleet, expected.fleet),
        ("name", found.name, expected.name),
        ("id", found.id, expected.id),
    ]
    return [
        f"{what} is {is_now!s}, expected {meant!s}"
        for what, is_now, meant in pairs
        if meant is not None and is_now is not None and is_now != meant
    ]


def ensure_identity(connection: Connection, expected: ExpectedIdentity, *, database: str) -> Identity:
    """Write who this database is where that is missing, after comparing what is there.

    The id and the name are written once; an environment or a fleet that is still empty is claimed by the first
    caller who names one.

    Raises:
        IdentityMismatchError: It is another database than was meant; nothing was changed.
        DatabaseError: No right to create the schema `squizzle`, or the session was lost.
    """
    found = read_identity(connection)
    check_identity(found, expected, database=database)
    if found is not None and not _lacks(found, expected):
        return found
    try:
        with connection.transaction():
            ensure_tables(connection, _TABLES)
            _write_identity(connection, expected, database)
        identity = read_identity(connection)
    except psycopg.Error as exc:
        needs = f"CREATE on the database {database}, or where the schema squizzle is there already, {_TO_WRITE}"
        raise translate_error(exc, doing="write squizzle.identity", needs=needs) from exc
    if identity is None:
        raise AssertionError("squizzle.identity is empty right after it was written")
    return identity


def renew_identity(connection: Connection, expected: ExpectedIdentity, *, database: str) -> Identity:
    """Make a copy a database of its own: it forgets whose copy it is, and gets an id that no other has.

    Only for databases that we have made.

    Raises:
        DatabaseError: No right to, or the session was lost; it says who it said before.
    """
    try:
        if find_tables(connection, _TABLES) is not None:
            connection.execute("DELETE FROM squizzle.identity")
    except psycopg.Error as exc:
        raise translate_error(exc, doing="forget whose copy it is", needs=_TO_WRITE) from exc
    return ensure_identity(connection, expected, database=database)


def _lacks(found: Identity, expected: ExpectedIdentity) -> bool:
    """Whether the caller names something that is still empty."""
    pairs = ((found.environment, expected.environment), (found.fleet, expected.fleet))
    return any(is_now is None and meant is not None for is_now, meant in pairs)


def _write_identity(connection: Connection, expected: ExpectedIdentity, database: str) -> None:
    connection.execute(
        "INSERT INTO squizzle.identity (environment, fleet, name) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (expected.environment, expected.fleet, expected.name or database),
    )
    connection.execute(
        "UPDATE squizzle.identity SET environment = coalesce(environment, %s), fleet = coalesce(fleet, %s)"
        " WHERE (environment IS NULL AND %s::text IS NOT NULL) OR (fleet IS NULL AND %s::text IS NOT NULL)",
        (expected.environment, expected.fleet, expected.environment, expected.fleet),
    )
