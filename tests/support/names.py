"""What a server has, by name; and whether it lets anybody look."""

from __future__ import annotations

from squizzle.errors import ConnectionFailedError
from squizzle.postgres.access import Connection, ServerAccess, connect


def lets_in(access: ServerAccess) -> bool:
    """Whether a server that was started is there for clients, or still recovers."""
    try:
        connect(access, "postgres", purpose="look").close()
    except ConnectionFailedError:
        return False
    return True


def databases(control: Connection, prefix: str = "") -> set[str]:
    """Every database whose name begins like this."""
    return {
        name for (name,) in control.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (prefix,))
    }


def roles(control: Connection, prefix: str) -> set[str]:
    """Every role whose name begins like this."""
    return {
        name for (name,) in control.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (prefix,))
    }


def clients_in(control: Connection, database: str) -> list[str]:
    """What the sessions in a database call themselves."""
    query = "SELECT application_name FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
    return sorted(name for (name,) in control.execute(query, (database,)))
