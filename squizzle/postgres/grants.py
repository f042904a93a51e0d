"""Which rights an account needs for what Squizzle does as it; written out as SQL, and compared with what it has.

Nobody has to be a superuser. What only one could do is left out by the jobs, which say so (hashes of passwords in
`globals.sql`), or is done once by a person (extensions).

Source: PostgreSQL manual, "Predefined Roles", "Role Attributes", and the privileges of each command's page. From 14 on
there is pg_read_all_data, from 15 on pg_checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import LiteralString

import psycopg
from psycopg import sql

from squizzle.postgres.access import CONTROL_DATABASE, Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

OLDEST_MAJOR = 13
NEWEST_MAJOR = 18
FIRST_TO_READ_ALL = 14
_FIRST_TO_CHECKPOINT = 15
_OURS = "squizzle"
_OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"


class Job(StrEnum):
    """What an account is for."""

    OPERATOR = "operator"
    SWEEPER = "sweeper"
    APPROVER = "approver"
    BACKUP = "backup"
    CLUSTER_BACKUP = "cluster-backup"


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Who shall have the rights, and where.

    Attributes:
        role: The account; it must be there.
        database: The database it works on, or the fleet's control database.
        schemas: Those that are migrated; the history is in each.
        owner: The role that owns the database and what is in it; may be the same.
        major: The server's major version, such as 17.
    """

    role: str
    database: str
    schemas: tuple[str, ...] = ("public",)
    owner: str
    major: int = NEWEST_MAJOR


@dataclass(frozen=True, kw_only=True, slots=True)
class Right:
    """One right.

    Attributes:
        statement: Gives it; may be carried out again.
        why: What takes it.
        database: Where the statement is carried out.
        held: Whether the account has it, as a query of one boolean; not known yet (NULL) where it is about something
            that is not there.
    """

    statement: sql.Composed
    why: str
    database: str
    held: sql.Composed

    @property
    def text(self) -> str:
        """The statement for a person."""
        return self.statement.as_string().strip().removesuffix(";")


def rights_for(job: Job, account: Account) -> tuple[Right, ...]:
    """The rights that a job takes, each once, in the order in which they are given. Pure."""
    rights = {
        Job.OPERATOR: _operator,
        Job.SWEEPER: _sweeper,
        Job.APPROVER: _reader,
        Job.BACKUP: _backup,
        Job.CLUSTER_BACKUP: _cluster_backup,
    }[job](account)
    return tuple({one.text: one for one in rights}.values())


def held_rights(connection: Connection, rights: Sequence[Right]) -> tuple[bool | None, ...]:
    """Which of some rights an account has; None where one is about something that is not there. Nothing is changed.

    Args:
        connection: A session of anybody's in the account's database.
        rights: Of `rights_for`.

    Raises:
        DatabaseError: The role or the owner is not there, or the session was lost.
    """
    try:
        return tuple(row[0] for one in rights for row in connection.execute(one.held).fetchall())
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see which rights the account has") from exc


def owner_of(connection: Connection) -> str:
    """Who owns the database of a session."""
    ((owner,),) = connection.execute(_OWNER).fetchall()
    return str(owner)


def _operator(account: Account) -> Iterator[Right]:
    """Migrates, rolls back, fences, restores beside and switches over."""
    role, owner = sql.Identifier(account.role), sql.Identifier(account.owner)
    yield _connect(account)
    if account.owner != account.role:
        yield _right(
            account.database,
            sql.SQL("GRANT {} TO {}").format(owner, role),
            "alter what is there, fence, rename: an owner may",
            sql.SQL("pg_has_role({}, {}, 'USAGE')").format(account.role, account.owner),
        )
    yield _right(
        account.database,
        sql.SQL("ALTER ROLE {} CREATEDB").format(role),
        "restore beside, rehearse on this server, rename at a switch-over",
        sql.SQL("(SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = {})").format(account.role),
    )
    yield _member(account, "pg_signal_backend", "end sessions of others at a fence or a switch-over")
    yield from _own_schema(account)
    for schema in account.schemas:
        yield _on_schema(account, schema, "USAGE, CREATE", "make tables, and the history")
    yield from _backup(account)
    yield from _marks(account)
    yield _right(
        account.database,
        sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(sql.Identifier(CONTROL_DATABASE), role),
        "note a fence beside the database that is fenced",
        sql.SQL("has_database_privilege({}, {}, 'CREATE')").format(account.role, CONTROL_DATABASE),
    )
    yield from _fence_book(account)


def _fence_book(account: Account) -> Iterator[Right]:
    """What was fenced, beside the databases: made here, for else it is whoever fences first who owns it."""
    role, why = sql.Identifier(account.role), "note what is fenced, also where another account has fenced before"
    for statement in (
        sql.SQL(load_sql("squizzle.recovery.fences", "fence_table")).format(),
        sql.SQL("GRANT USAGE, CREATE ON SCHEMA squizzle TO {}").format(role),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON squizzle.fence TO {}").format(role),
    ):
        # Another database than the one that is asked.
        yield _right(CONTROL_DATABASE, statement, why, _NOT_KNOWN)


def _sweeper(account: Account) -> Iterator[Right]:
    """Looks at every database of a fleet, and keeps alerts and incidents in its control database."""
    yield from _reader(account, ours="USAGE, CREATE")


def _reader(account: Account, *, ours: str = "USAGE") -> Iterator[Right]:
    """Reads what is applied, and what would be."""
    yield _connect(account)
    yield _member(account, "pg_monitor", "see what others do, replication, settings and sizes")
    if ours == "USAGE":
        yield _on_schema(account, _OURS, ours, "read who this database is")
    else:
        yield from _own_schema(account)
    yield _on_table(account, _OURS, "identity", "read who this database is")
    for schema in account.schemas:
        yield _on_schema(account, schema, "USAGE", "read what is applied")
        yield _on_table(account, schema, "squizzle_history", "read what is applied")


def _backup(account: Account) -> Iterator[Right]:
    """Dumps and fingerprints a whole database."""
    yield _connect(account)
    yield _member(account, "pg_monitor", "see how long it takes, and for whom it waits")
    if account.major >= FIRST_TO_READ_ALL:
        yield _member(account, "pg_read_all_data", "read every row")
        return
    for schema in dict.fromkeys((*account.schemas, _OURS)):
        yield _on_schema(account, schema, "USAGE", "read every row")
        yield from _read_all(account, schema)


def _read_all(account: Account, schema: str) -> Iterator[Right]:
    """What pg_read_all_data does, for one schema, as it is now and as its owner makes it later."""
    role, owner, place = map(sql.Identifier, (account.role, account.owner, schema))
    for kind, letters in (("TABLES", "rpvmf"), ("SEQUENCES", "S")):
        yield _right(
            account.database,
            sql.SQL("GRANT SELECT ON ALL {} IN SCHEMA {} TO {}").format(_WORDS[kind], place, role),
            "read every row",
            sql.SQL(
                "(SELECT bool_and(has_table_privilege({}, c.oid, 'SELECT')) FROM pg_class c"
                " WHERE c.relnamespace = to_regnamespace(quote_ident({})) AND strpos({}, c.relkind::text) > 0)"
            ).format(account.role, schema, letters),
        )
        yield _right(
            account.database,
            sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT SELECT ON {} TO {}").format(
                owner, place, _WORDS[kind], role
            ),
            "read every row of what is made later",
            sql.SQL("NULL::boolean").format(),
        )


def _cluster_backup(account: Account) -> Iterator[Right]:
    """Copies the cluster, and receives its log."""
    role = sql.Identifier(account.role)
    yield _right(
        account.database,
        sql.SQL("ALTER ROLE {} REPLICATION").format(role),
        "copy the cluster (pg_basebackup) and receive its log (pg_receivewal); pg_hba.conf has to let it in, too",
        sql.SQL("(SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = {})").format(account.role),
    )
    yield from _backup(account)
    yield from _marks(account)
    if account.major >= _FIRST_TO_CHECKPOINT:
        yield _member(account, "pg_checkpoint", "begin a copy at once")


def _own_schema(account: Account) -> Iterator[Right]:
    """Squizzle's own tables: identity, decisions, rollouts, alerts."""
    why = "keep what Squizzle has to know: identity, decisions, rollouts, alerts"
    yield _right(
        account.database,
        sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
            sql.Identifier(account.database), sql.Identifier(account.role)
        ),
        why,
        sql.SQL("has_database_privilege({}, {}, 'CREATE')").format(account.role, account.database),
    )
    # Its owner's, so that whoever is a member of it can restore the database.
    schema = sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}")
    yield _right(account.database, schema.format(sql.Identifier(_OURS), sql.Identifier(account.owner)), why, _NOT_KNOWN)
    yield _on_schema(account, _OURS, "USAGE, CREATE", why)


def _marks(account: Account) -> Iterator[Right]:
    for function in ("pg_create_restore_point(text)", "pg_switch_wal()"):
        yield _right(
            # Not in the database itself: its backups would have the grant, which only a superuser can restore.
            CONTROL_DATABASE,
            sql.SQL("GRANT EXECUTE ON FUNCTION pg_catalog.{} TO {}").format(
                _WORDS[function], sql.Identifier(account.role)
            ),
            "set restore points that a recovery can aim at, from there",
            sql.SQL("has_function_privilege({}, {}, 'EXECUTE')").format(account.role, f"pg_catalog.{function}"),
        )


def _connect(account: Account) -> Right:
    return _right(
        account.database,
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
            sql.Identifier(account.database), sql.Identifier(account.role)
        ),
        "open sessions",
        sql.SQL("has_database_privilege({}, {}, 'CONNECT')").format(account.role, account.database),
    )


def _member(account: Account, of: str, why: str) -> Right:
    return _right(
        account.database,
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(of), sql.Identifier(account.role)),
        why,
        sql.SQL("pg_has_role({}, {}, 'USAGE')").format(account.role, of),
    )


def _on_schema(account: Account, schema: str, privileges: str, why: str) -> Right:
    return _right(
        account.database,
        sql.SQL("GRANT {} ON SCHEMA {} TO {}").format(
            _WORDS[privileges], sql.Identifier(schema), sql.Identifier(account.role)
        ),
        why,
        # Of several privileges in one word, one would do.
        sql.SQL(
            "(SELECT bool_and(has_schema_privilege({}, n.oid, btrim(one)))"
            " FROM pg_namespace n, regexp_split_to_table({}, ',') one WHERE n.nspname = {})"
        ).format(account.role, privileges, schema),
    )


def _on_table(account: Account, schema: str, table: str, why: str) -> Right:
    return _right(
        account.database,
        sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(schema, table), sql.Identifier(account.role)),
        why,
        sql.SQL(
            "(SELECT has_table_privilege({}, c.oid, 'SELECT') FROM pg_class c"
            " WHERE c.relname = {} AND c.relnamespace = to_regnamespace(quote_ident({})))"
        ).format(account.role, table, schema),
    )


def _right(database: str, statement: sql.Composed, why: str, held: sql.Composed) -> Right:
    return Right(statement=statement, why=why, database=database, held=sql.SQL("SELECT {}").format(held))


_NOT_KNOWN = sql.SQL("NULL::boolean").format()
_KEYWORDS: tuple[LiteralString, ...] = (
    "USAGE",
    "USAGE, CREATE",
    "TABLES",
    "SEQUENCES",
    "pg_create_restore_point(text)",
    "pg_switch_wal()",
)
_WORDS = {one: sql.SQL(one) for one in _KEYWORDS}
