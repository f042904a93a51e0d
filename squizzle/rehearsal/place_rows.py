"""What is done to a restored copy before anybody reads it: cut off from other servers, masked, with its settings."""

from __future__ import annotations

import psycopg
from psycopg import sql

from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import Connection
from squizzle.postgres.database_properties import setting_command
from squizzle.postgres.translation import translate_error
from squizzle.recovery.scratch_copy import ScratchCopy


def make_like_source(copy: ScratchCopy, name: str) -> None:
    """The settings that the saved database has for everybody, such as its search_path: scripts rely on them."""
    try:
        with copy.control.transaction():
            for setting in copy.properties.settings:
                if not setting.role:
                    copy.control.execute(setting_command(sql.Identifier(name), setting))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"give {name} the settings of the saved database") from exc


def forget_settings(copy: ScratchCopy, name: str) -> None:
    """Take these settings away again."""
    try:
        copy.control.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(sql.Identifier(name)))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"take the settings of {name} away") from exc


_WITHOUT_PASSWORDS = """
    SELECT format('ALTER USER MAPPING FOR %s SERVER %I OPTIONS (%s)',
                  CASE WHEN umuser = 0 THEN 'PUBLIC' ELSE quote_ident(usename) END, srvname,
                  (SELECT string_agg('DROP ' || quote_ident(option_name), ', ') FROM pg_options_to_table(umoptions)))
    FROM pg_user_mappings WHERE umoptions IS NOT NULL
"""


def cut_off(connection: Connection) -> None:
    """Take away the names and passwords for other servers: a script that writes to foreign tables would write there.

    The mappings themselves stay, as they belong to the definitions.
    """
    try:
        for (command,) in connection.execute(_WITHOUT_PASSWORDS).fetchall():
            connection.execute(command)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="cut the copy off from other servers") from exc


def run_mask(connection: Connection, mask: str) -> None:
    """Run the mask.

    Raises:
        CouldNotVerifyError: It failed; the copy is going to be dropped.
    """
    try:
        connection.execute(mask.encode())
    except psycopg.Error as exc:
        failed = translate_error(exc, doing="mask the copy")
        raise CouldNotVerifyError(f"{failed.message}; {_UNSEEN}", hint="mend the mask, then rehearse again") from exc
    if connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
        raise CouldNotVerifyError(
            f"the mask leaves a transaction open, so nothing was masked; {_UNSEEN}", hint="end it with COMMIT"
        )


_UNSEEN = "the copy was dropped and nobody has seen a row of it"


_FILLED_VIEWS = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'm' AND relispopulated ORDER BY oid"


def renew_derived(connection: Connection) -> None:
    """Materialized views, old versions of rows, and the planner's samples of values still have what was masked."""
    try:
        for (view,) in connection.execute(_FILLED_VIEWS).fetchall():
            connection.execute(f"REFRESH MATERIALIZED VIEW {view}".encode())
        connection.execute("VACUUM (ANALYZE)")
    except psycopg.Error as exc:
        raise translate_error(exc, doing="renew what is derived from masked rows") from exc
