"""Saves the rows that statements of a script touch, in the transaction of each, so that both are there or neither."""

from __future__ import annotations

from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import DatabaseState, MigrationFailedError, RefusedError
from squizzle.migrations.failures import excerpt, next_step
from squizzle.migrations.history import note_saved
from squizzle.migrations.records import PlannedMigration
from squizzle.migrations.reversal.catalogue import Catalogue
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.keeping import contexts_of, saving_of
from squizzle.migrations.reversal.records import Saving
from squizzle.migrations.reversal.saving import MAKE_SCHEMA, SCHEMA
from squizzle.migrations.saved_rows import RowsOfTable, SavedRows
from squizzle.postgres.access import Connection


class RowSaver:
    """Works around the statements of one script; used once.

    Args:
        connection: The session that runs the script.
        step: The script.
        schema: Where the history is.
        row_id: Its open row there.
    """

    def __init__(self, connection: Connection, step: PlannedMigration, schema: str, row_id: int) -> None:
        self._connection = connection
        self._step = step
        self._schema = schema
        self._row_id = row_id
        self._catalogue = Catalogue(connection)
        self._contexts: list[Context] = []
        self._saving = Saving()
        self._kept = 0
        self._committed = step.saved
        self._pending = step.saved

    @property
    def saved(self) -> SavedRows | None:
        """What is saved when the open transaction is committed; None for nothing."""
        return self._pending

    def begin(self) -> None:
        """A transaction begins; what one that was rolled back had saved is gone."""
        self._pending = self._committed

    def committed(self) -> None:
        """The transaction was committed."""
        self._committed = self._pending

    def before(self, statement: Statement, text: str, state: DatabaseState) -> None:
        """Put the rows aside that the statement will touch.

        Args:
            statement: Of the script.
            text: What of it runs now: all, or one batch.
            state: What a failure leaves.

        Raises:
            RefusedError: They cannot be saved; the statement was not run.
            psycopg.Error: The server refused it.
        """
        context = self._context(statement)
        self._saving, why = saving_of(text, self._catalogue, context)
        if why:
            raise RefusedError(
                f"{self._step.source}:{statement.line}: its rows cannot be saved: {why}: {excerpt(statement)}",
                hint="write `-- squizzle: save_rows no` before it to run it without, after a backup",
                database_state=state,
            )
        for one in self._saving.before:
            if one == MAKE_SCHEMA and self._has_schema():
                continue  # without the right to create schemas even IF NOT EXISTS is refused
            self._run(one, statement)

    def after(self, statement: Statement, touched: int, state: DatabaseState) -> None:
        """Keep the rows that it touched.

        Args:
            statement: Of the script.
            touched: How many rows it says that it changed.
            state: What a failure leaves.

        Raises:
            MigrationFailedError: It touched others than those that were put aside.
            psycopg.Error: The server refused it.
        """
        for one in self._saving.after:
            self._run(one, statement)
        if self._saving.counted and self._kept != touched:
            raise MigrationFailedError(
                f"{self._step.source}:{statement.line}: {touched} rows were touched, and {self._kept} of them had been"
                f" put aside right before: {excerpt(statement)}",
                hint=f"somebody wrote rows at the same time, or its WHERE has another answer each time it is asked;"
                f" {next_step(self._step, state)}",
                database_state=state,
            )

    def write(self) -> None:
        """Note in the history what is saved; inside the transaction that saved it."""
        if self._pending is not self._committed:
            note_saved(self._connection, self._schema, self._row_id, self._pending)

    def _run(self, text: str, statement: Statement) -> None:
        rows = self._connection.execute(text.encode()).rowcount
        for one in self._saving.tables:
            if text.startswith(f"INSERT INTO {one.name} "):
                found = RowsOfTable(
                    number=statement.saves, line=statement.line, table=one.table, name=one.name, rows=rows
                )
                self._pending = (self._pending or SavedRows(save_as=self._save_as)).with_rows(found)
                if one is self._saving.tables[0]:
                    self._kept = rows

    @property
    def _save_as(self) -> str:
        return self._step.saved.save_as if self._step.saved else f"{self._step.migration.version}_{self._row_id}"

    def _context(self, statement: Statement) -> Context:
        """What the statements before it mean for it, those included that an earlier run finished."""
        if not self._contexts:
            statements = split_statements(self._step.migration.up_sql, source=self._step.source)
            self._contexts = list(contexts_of(statements, Context(save_as=self._save_as)))
        return self._contexts[statement.saves - 1]

    def _has_schema(self) -> bool:
        row = self._connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (SCHEMA,)).fetchone()
        return row is not None and bool(row[0])
