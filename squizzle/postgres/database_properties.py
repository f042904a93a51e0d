"""What belongs to a database itself: owner, privileges, settings, comment. It must be carried over by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import kwargs_row

from squizzle.errors import ConnectionFailedError
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

DEFAULT_TABLESPACE = "pg_default"
"""Where databases lie that nobody put elsewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """One privilege on the database; `grantee` is empty for PUBLIC."""

    grantee: str
    privilege: str
    grantable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One `ALTER DATABASE … SET` or, with a role, `ALTER ROLE … IN DATABASE … SET`."""

    role: str
    name: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseProperties:
    """Everything about a database that is not in it.

    Attributes:
        owner: The role that owns it.
        connection_limit: -1 for none.
        comment: None for none.
        encoding: Such as UTF8; fixed when the database is made, as are the next five.
        lc_collate: Collation of libc.
        lc_ctype: Character classes of libc.
        locale_provider: `c` libc, `i` ICU, `b` built in.
        locale: The provider's locale; None for libc.
        tablespace: Where it lies.
        grants: None when the privileges were never changed from their default.
        settings: For everybody and for single roles.
        is_template: Whether everybody who may create databases may copy it.
    """

    owner: str
    connection_limit: int
    comment: str | None
    encoding: str
    lc_collate: str
    lc_ctype: str
    locale_provider: str
    locale: str | None
    tablespace: str
    grants: tuple[Grant, ...] | None
    settings: tuple[Setting, ...]
    is_template: bool = False


def read_properties(control: Connection, database: str) -> DatabaseProperties:
    """What belongs to a database itself. Nothing is changed.

    Raises:
        ConnectionFailedError: There is no such database.
    """
    query = load_sql("squizzle.postgres", "database_properties")
    try:
        with control.cursor(row_factory=kwargs_row(_from_row)) as cursor:
            found = cursor.execute(query, {"database": database}).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"read the properties of {database}") from exc
    if found is None:
        raise ConnectionFailedError(f"there is no database {database!r}", hint="`psql -l` lists what is there")
    return found


def _from_row(  # noqa: PLR0913 - one argument a column
    *,
    owner: str,
    connection_limit: int,
    comment: str | None,
    encoding: str,
    lc_collate: str,
    lc_ctype: str,
    locale_provider: str,
    locale: str | None,
    tablespace: str,
    grants: list[tuple[str, str, bool]] | None,
    settings: list[tuple[str, str]],
    is_template: bool,
) -> DatabaseProperties:
    return DatabaseProperties(
        owner=owner,
        connection_limit=connection_limit,
        comment=comment,
        encoding=encoding,
        lc_collate=lc_collate,
        lc_ctype=lc_ctype,
        locale_provider=locale_provider,
        locale=locale,
        tablespace=tablespace,
        grants=None if grants is None else tuple(Grant(grantee=a, privilege=b, grantable=c) for a, b, c in grants),
        settings=tuple(_setting(role, text) for role, text in settings),
        is_template=is_template,
    )


def _setting(role: str, text: str) -> Setting:
    name, _, value = text.partition("=")
    return Setting(role=role, name=name, value=value)


_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_LOCALES = {"i": "ICU_LOCALE", "b": "BUILTIN_LOCALE"}


def create_like(properties: DatabaseProperties, name: str) -> sql.Composed:
    """The command that makes an empty database with the same encoding, locale and tablespace.

    From template0: only that one may be copied with another encoding or locale, and it holds nothing of its own
    (manual, "CREATE DATABASE").
    """
    options = [
        sql.SQL("TEMPLATE template0"),
        sql.SQL("ENCODING {}").format(sql.Literal(properties.encoding)),
        sql.SQL("LC_COLLATE {}").format(sql.Literal(properties.lc_collate)),
        sql.SQL("LC_CTYPE {}").format(sql.Literal(properties.lc_ctype)),
        # Said always: template0 may have another one.
        sql.SQL("LOCALE_PROVIDER {}").format(sql.SQL(_PROVIDERS[properties.locale_provider])),
    ]
    # To name the default one, where template0 lies, takes a right on it that only superusers have.
    if properties.tablespace != DEFAULT_TABLESPACE:
        options.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(properties.tablespace)))
    if properties.locale_provider in _LOCALES and properties.locale is not None:
        option = sql.SQL(_LOCALES[properties.locale_provider])
        options.append(sql.SQL("{} {}").format(option, sql.Literal(properties.locale)))
    return sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(" ").join(options))


def apply_commands(properties: DatabaseProperties, database: str) -> tuple[sql.Composed, ...]:
    """The commands that give a freshly made database these properties; all may run in one transaction."""
    name = sql.Identifier(database)
    commands = [
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(properties.owner)),
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(properties.connection_limit)),
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(properties.comment)),
    ]
    if properties.is_template:
        commands.append(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(name))
    if properties.grants is not None:
        commands.append(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(name, sql.Identifier(properties.owner))
        )
        commands += [_grant_command(name, grant) for grant in properties.grants]
    return (*commands, *(setting_command(name, setting) for setting in properties.settings))


def _grant_command(name: sql.Identifier, grant: Grant) -> sql.Composed:
    return sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
        sql.SQL(_PRIVILEGES[grant.privilege]),
        name,
        sql.Identifier(grant.grantee) if grant.grantee else sql.SQL("PUBLIC"),
        sql.SQL(" WITH GRANT OPTION" if grant.grantable else ""),
    )


# The privileges a database has (manual, "Privileges"); a name from the catalogue never becomes SQL by itself.
_PRIVILEGES = {"CREATE": "CREATE", "CONNECT": "CONNECT", "TEMPORARY": "TEMPORARY"}

# Settings whose value is a list of names: each is quoted by itself, as pg_dump does (dumputils.c).
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_LIST_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]*))\s*(?:,|$)')


def setting_command(name: sql.Identifier, setting: Setting) -> sql.Composed:
    """The command that gives a database one setting."""
    if setting.name in _LISTS:
        items = _list_items(setting.value)
        value: sql.Composable = sql.SQL(", ").join(sql.Literal(item) for item in items) if items else sql.Literal("")
    else:
        value = sql.Literal(setting.value)
    # A setting of an extension has a dot: each part is a name.
    parameter = sql.SQL(".").join(sql.Identifier(part) for part in setting.name.split("."))
    if setting.role:
        role = sql.Identifier(setting.role)
        return sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(role, name, parameter, value)
    return sql.SQL("ALTER DATABASE {} SET {} TO {}").format(name, parameter, value)


def _list_items(value: str) -> list[str]:
    items = []
    position = 0
    while position < len(value):
        match = _LIST_ITEM.match(value, position)
        if match is None or match.end() == position:
            break
        quoted, plain = match.groups()
        items.append(quoted.replace('""', '"') if quoted is not None else plain.strip())
        position = match.end()
    return items
