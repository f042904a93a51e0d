"""What to do about each damaged relation, and what never to do. Decides only; touches nothing."""

from __future__ import annotations

from collections.abc import Collection

from squizzle.errors import RefusedError
from squizzle.recovery.corruption.records import Role

NEVER: tuple[tuple[str, str], ...] = (
    (
        "`zero_damaged_pages`",
        "a damaged page becomes an empty one: its readable rows are gone, too, for good when it is next written",
    ),
    (
        "`VACUUM FULL`, `CLUSTER`",
        "the file that rows could still be read from is removed; every check is clean, as the evidence is gone",
    ),
    ("`REINDEX` before the table is sound", "the index is the only list of the rows that the damaged pages held"),
    ("`pg_resetwal`, `pg_surgery`", "they make errors go away, not damage"),
    (
        "starting the server again and again",
        "each start replays the log and writes pages, also onto a failing disk",
    ),
)
"""What must not be done to the only copy, and why (facts measured: 3 pages, 360 rows, and all checks clean)."""

_WAYS = {
    Role.CATALOGUE: "restore the whole cluster from a backup: what the server knows of its tables cannot be trusted",
    Role.TABLE: "use the salvaged rows, and take what is lost from a backup; do not mend the original",
    Role.TOAST: "use the salvaged rows, and take the lost values from a backup; do not mend the original",
    Role.VIEW: "refresh it once the tables it is made from are sound",
    Role.SEQUENCE: "set it anew from its table (`setval`)",
    Role.MAP: "nothing is lost: VACUUM makes it anew once the table is sound",
    Role.ELSEWHERE: "examine that database, too",
    Role.UNKNOWN: "nothing refers to it: most likely what a crash left of a relation that was never committed",
}


def advice_for(role: Role, name: str, table: str, damaged_tables: Collection[str]) -> str:
    """What to do about one relation.

    Args:
        role: What it is.
        name: Qualified and quoted.
        table: Whose it is.
        damaged_tables: Tables whose rows or long values are damaged.
    """
    if role not in {Role.INDEX, Role.TOAST_INDEX}:
        return _WAYS[role]
    if table in damaged_tables:
        return f"leave it until the rows of {table} are safe; it is made anew with the table"
    concurrently = "" if role is Role.TOAST_INDEX else " CONCURRENTLY"
    return f"the table is sound, so no row is lost: `REINDEX INDEX{concurrently} {name}` makes it anew"


def refuse_shredding(database: str, *, zeroing: Collection[str], rewriting: Collection[str]) -> None:
    """Refuse to go on while something destroys damaged pages in the only copy there is.

    Args:
        database: The damaged one.
        zeroing: Where `zero_damaged_pages` is on, as the command that switches it off.
        rewriting: What writes a table anew at this moment, as the command that ends it.

    Raises:
        RefusedError: Something does; the message says why that must end first. Nothing was changed.
    """
    if zeroing:
        raise RefusedError(
            f"zero_damaged_pages is on in {database}: the server empties damaged pages instead of refusing them,"
            " readable rows included, and this is the only copy",
            hint=f"switch it off first: {'; '.join(zeroing)}",
        )
    if rewriting:
        raise RefusedError(
            f"{database} is being rewritten (VACUUM FULL or CLUSTER): that removes the file that rows could still be"
            " read from, and this is the only copy",
            hint=f"end it first: {'; '.join(rewriting)}",
        )
