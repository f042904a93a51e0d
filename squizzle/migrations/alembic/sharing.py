"""Our psycopg session as a SQLAlchemy connection: the one that holds the migration lock, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import AssertionPool

from squizzle.migrations.programs import ProgramSession
from squizzle.postgres.access import Connection


class SharedSession:
    """Lends our session to SQLAlchemy, which neither closes it nor opens another one.

    Statements and commits that SQLAlchemy sends are told to the `ProgramSession`. The engine is kept as long as the
    session is the same, because making one asks the server four questions.
    """

    def __init__(self) -> None:
        self._engine: sa.Engine | None = None
        self._raw: Connection | None = None
        self._told: ProgramSession | None = None
        # Whether SQL that goes to the driver as it is was written for psycopg, which wants %% for a per cent sign.
        self.written_for_psycopg = True

    @contextmanager
    def lent(self, raw: Connection, told: ProgramSession | None = None) -> Iterator[sa.Connection]:
        """Our session as SQLAlchemy's; what is not committed at the end is rolled back.

        Args:
            raw: The session, outside a transaction.
            told: Who is told about statements and commits; None when nobody needs to be.
        """
        connection = self._engine_over(raw).connect()
        self._told = told
        try:
            yield connection
        finally:
            self._told = None
            _give_back(connection)

    def _engine_over(self, raw: Connection) -> sa.Engine:
        if self._engine is None or self._raw is not raw:
            self._raw = raw
            # Given back, the session is neither reset nor closed; a second one that a revision asks for is refused.
            self._engine = sa.create_engine(
                "postgresql+psycopg://",
                creator=lambda: raw,
                poolclass=AssertionPool,
                pool_reset_on_return=None,
                use_native_hstore=False,
            )
            event.listen(self._engine, "commit", self._on_commit)
            event.listen(self._engine, "do_execute", self._on_execute)
            event.listen(self._engine, "do_executemany", self._on_executemany)
            event.listen(self._engine, "do_execute_no_params", self._on_execute_no_params)
        return self._engine

    def _on_commit(self, _connection: sa.Connection) -> None:
        if self._told is not None:
            self._told.before_commit()

    # Returning True means: done, do not send it again.

    def _on_execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        if not parameters and context.compiled is None and not self.written_for_psycopg:
            return self._send(statement, partial(cursor.execute, statement))
        return self._send(statement, partial(context.dialect.do_execute, cursor, statement, parameters, context))

    def _on_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        return self._send(statement, partial(context.dialect.do_executemany, cursor, statement, parameters, context))

    def _on_execute_no_params(self, cursor: Any, statement: str, context: Any) -> bool:
        return self._send(statement, partial(context.dialect.do_execute_no_params, cursor, statement, context))

    def _send(self, statement: str, run: Callable[[], object]) -> bool:
        if self._told is None:
            return False
        self._told.execute(statement, run)
        return True


def _give_back(connection: sa.Connection) -> None:
    try:
        connection.close()
    except (sa.exc.SQLAlchemyError, psycopg.Error):
        # The session is lost; the error that tells so is on its way already.
        connection.invalidate()
