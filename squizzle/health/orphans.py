"""Rows that break a foreign key: counted as the server itself looks for them when a key is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from squizzle.health.trigger_plan import ForeignKey
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error

_LISTED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A foreign key whose rows were compared.

    Attributes:
        key: Which.
        rows: How many rows break it.
        examples: The values of the first ones; None for null.
    """

    key: ForeignKey
    rows: int
    examples: tuple[tuple[str | None, ...], ...] = ()

    def sentence(self) -> str:
        """What was found."""
        if not self.rows:
            return f"{self.key}: no row breaks it"
        values = ", ".join("(" + ", ".join("null" if v is None else v for v in one) + ")" for one in self.examples)
        more = ", …" if self.rows > len(self.examples) else ""
        return f"{self.key}: {self.rows:,} rows break it: ({', '.join(self.key.columns)}) = {values}{more}"


def compare_key(connection: Connection, key: ForeignKey) -> Compared:
    """Count the rows that break a foreign key, in one statement over both tables. Nothing is changed.

    Both tables are read as a whole where no index helps. The condition is that of `RI_Initial_Check` (ri_triggers.c):
    MATCH SIMPLE leaves out rows with a null, MATCH FULL those that are null in every column.

    Raises:
        DatabaseError: A table may not be read as a whole (rights, row security), or the session was lost.
    """
    columns = [sql.SQL("f.{}").format(sql.Identifier(one)) for one in key.columns]
    pairs = [
        sql.SQL("k.{} {} {} {}").format(sql.Identifier(other), sql.SQL(operator), column, sql.SQL(collation))
        for other, operator, column, collation in zip(
            key.key_columns, key.operators, columns, key.collations, strict=True
        )
    ]
    refers = [sql.SQL("{} IS NOT NULL").format(one) for one in columns]
    query = sql.SQL(
        "SELECT count(*) OVER (), ARRAY[{values}] FROM {only}{table} f WHERE ({refers})"
        " AND NOT EXISTS (SELECT FROM {key_only}{key_table} k WHERE {pairs}) LIMIT {listed}"
    ).format(
        values=sql.SQL(", ").join(sql.SQL("{}::text").format(one) for one in columns),
        only=_only(is_partitioned=key.is_partitioned),
        table=sql.Identifier(key.schema, key.table),
        refers=sql.SQL(" OR " if key.is_full else " AND ").join(refers),
        key_only=_only(is_partitioned=key.key_is_partitioned),
        key_table=sql.Identifier(key.key_schema, key.key_table),
        pairs=sql.SQL(" AND ").join(pairs),
        listed=sql.Literal(_LISTED),
    )
    try:
        with connection.transaction():
            # Better an error than rows that are hidden from us.
            connection.execute("SET LOCAL row_security = off")
            rows: Sequence[tuple[int, list[str | None]]] = connection.execute(query).fetchall()
    except psycopg.Error as exc:
        needs = f"SELECT on {key.schema}.{key.table} and {key.key_schema}.{key.key_table}, past their row security"
        raise translate_error(exc, doing=f"look for rows that break {key}", needs=needs) from exc
    return Compared(key=key, rows=rows[0][0] if rows else 0, examples=tuple(tuple(one[1]) for one in rows))


def _only(*, is_partitioned: bool) -> sql.SQL:
    # Children by inheritance are no part of a key, partitions are.
    return sql.SQL("" if is_partitioned else "ONLY ")
