"""Every statement is our own text with quoted names and parameters; what is not is listed here, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sql_sources import Modules, unquoted_sources

USERS = "SQL that the user wrote to be run: a migration, a rule, a mask, a query of the settings"
COPY = "queries of the application, on a copy that is thrown away, prepared and explained only"
SERVER = (
    "quoted by the server: format('%I'), regclass, format_type, pg_get_constraintdef, or operators and collations so"
)
OURS = "a text of our own in another class or module, without any name in it"
MADE = "made by the generator of ways back, which quotes every name, is tried out first, and is read by people"
NUMBER = "a number"
STORE = "names that the server quoted when the backup was made; whoever changes a manifest could change the dump, too"

ALLOWED = {
    "squizzle.alerts.evaluation._ask: rule.condition": USERS,
    "squizzle.backups.wal.upstream._ask: int()": NUMBER,
    "squizzle.backups.wal.upstream.still_has: lsn_text()": NUMBER,
    "squizzle.backups.wal.upstream.still_has: start.timeline": NUMBER,
    "squizzle.drills.writer._write: draw.choice()": OURS,
    "squizzle.health.orphans.compare_key: zip()": SERVER,
    "squizzle.migrations.alembic.sharing._send: statement": USERS,
    "squizzle.migrations.batches.automatic._estimate: statement.sql": USERS,
    "squizzle.migrations.batches.key_table._literals: column.type": SERVER,
    "squizzle.migrations.batches.key_table._wanted: self._shape.condition": USERS,
    "squizzle.migrations.batches.run._send: self._shape.limited_to()": USERS,
    "squizzle.migrations.bookkeeping.goose._create: self.insertion": OURS,
    "squizzle.migrations.bookkeeping.goose._create: self.name()": "sql.Identifier",
    "squizzle.migrations.bookkeeping.tool_books._create: self.creation": OURS,
    "squizzle.migrations.bookkeeping.tool_books._read: self.reading": OURS,
    "squizzle.migrations.bookkeeping.tool_books.add: self.insertion": OURS,
    "squizzle.migrations.concurrent_indexes._twin: write_index_statement()": "written anew from the parse tree of a migration",
    "squizzle.migrations.reversal.catalogue._rows: _FIND.get()": OURS,
    "squizzle.migrations.reversal.generate._try_whole: compare()": MADE,
    "squizzle.migrations.reversal.proving._not_back: best.statements": MADE,
    "squizzle.migrations.reversal.proving._run_texts: reverse.save.after": MADE,
    "squizzle.migrations.reversal.proving._run_texts: reverse.save.before": MADE,
    "squizzle.migrations.reversal.proving._try_way: way.statements": MADE,
    "squizzle.migrations.reversal.proving.run_statement: statement.sql": USERS,
    "squizzle.migrations.reversal.proving.run_statement: words[2]": USERS,
    "squizzle.migrations.reversal.scratch.copy_schema: connection.execute(_UNFILLED).fetchall()": SERVER,
    "squizzle.migrations.reversal.scratch.copy_schema: making()": MADE,
    "squizzle.migrations.row_saver._run: self._saving.after": MADE,
    "squizzle.migrations.row_saver._run: self._saving.before": MADE,
    "squizzle.migrations.saving_estimate._planned_rows: statement.sql": USERS,
    "squizzle.migrations.script_run._all_of: unit.options": "options of BEGIN, as the parser reads them out of a migration",
    "squizzle.migrations.script_run._copy: statement.sql": USERS,
    "squizzle.migrations.script_run._execute_saved: statement.sql": USERS,
    "squizzle.migrations.script_run._send: statement.sql": USERS,
    "squizzle.migrations.verification.check_verification: statement.sql": USERS,
    "squizzle.postgres.grants.module: one": OURS,
    "squizzle.postgres.names_in_queries._told_apart: query.as_string(session).replace()": "quoted by psycopg just before",
    "squizzle.postgres.own_tables._is_done: step.sql": OURS,
    "squizzle.postgres.own_tables._sql: one.absent": OURS,
    "squizzle.postgres.own_tables._sql: table": OURS,
    "squizzle.proof.digests._prepared: load_sql('squizzle.proof', 'schema_objects').replace('%(schema)s', '$1').replace()": OURS,
    "squizzle.recovery.corruption.loading._complete_constraints: one.definition": SERVER,
    "squizzle.recovery.corruption.loading._complete_constraints: one.table": SERVER,
    "squizzle.recovery.corruption.reading._copy_out: one.type": SERVER,
    "squizzle.recovery.point_in_time.keeping._execute: names": SERVER,
    "squizzle.recovery.prepared_copy.run: self._command": "sql.Composed of the same class",
    "squizzle.recovery.restore._refresh: json.loads()": STORE,
    "squizzle.recovery.salvage.merging._type: kinds[name]": SERVER,
    "squizzle.recovery.salvage.merging._type: tuple()": SERVER,
    "squizzle.recovery.undo.text.operator: text": SERVER,
    "squizzle.rehearsal.place._limit: max()": NUMBER,
    "squizzle.rehearsal.place_rows.cut_off: connection.execute(_WITHOUT_PASSWORDS).fetchall()": SERVER,
    "squizzle.rehearsal.place_rows.renew_derived: connection.execute(_FILLED_VIEWS).fetchall()": SERVER,
    "squizzle.rehearsal.place_rows.run_mask: mask": USERS,
    "squizzle.rehearsal.workload._explain: int(row[0]) if row else None": NUMBER,
    "squizzle.rehearsal.workload._explain: self.query.sql": COPY,
    "squizzle.rehearsal.workload._generic_plan: self.query.sql": COPY,
    "squizzle.rollout.discovery._asked: source.sql": USERS,
    "squizzle.rollout.disk._asked: server.free_bytes_query": USERS,
    "tasks.actors._ask: self._query": "sql.Composed of the same class",
    "tasks.actors._run: statement": OURS,
    "tasks.drilling.look: lost.query": OURS,
    "tasks.drilling.measure_queries: lost.query": OURS,
}


def test_nothing_becomes_sql_that_is_neither_ours_nor_quoted_nor_argued_for(project_root: Path) -> None:
    found = unquoted_sources(Modules(project_root, ("squizzle", "blocks", "tasks", "flows")))

    assert sorted(found - ALLOWED.keys()) == [], "quote it with sql.Identifier, or pass it as a parameter"
    assert sorted(ALLOWED.keys() - found) == [], "nobody does that any more"


FOLLOWED = """
from psycopg import sql
from typing import LiteralString
TABLE = "t"
NAMES = ("a", "b")
def quoted(name: str) -> sql.Composed: return sql.SQL("{}").format(sql.Identifier(name))
def fine(connection, name, one: sql.Composable, word: LiteralString):
    connection.execute(f"SELECT {TABLE}")
    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("DROP TABLE {}").format(name))
    query = sql.SQL("a") + one if name else quoted(name)
    connection.execute(query)
    connection.execute(word + "x", (name,))
    for each in NAMES: connection.execute(each.encode())
    _private(connection, "SELECT 1")
def _private(connection, text: str): connection.execute(text.encode())
"""


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ('connection.execute(f"DROP TABLE {name}".encode())', "name"),
        ('connection.execute("DROP TABLE {}".format(name))', "name"),
        ('connection.execute("DROP TABLE " + name)', "name"),
        ('connection.execute(sql.SQL(f"DROP TABLE {name}"))', "name"),
        ('connection.execute(sql.SQL("DROP {}").format(sql.SQL(name)))', "name"),
        ('text = "x"; text += name; connection.execute(text)', "name"),
        ('_private(connection, "DROP TABLE " + name)', "name"),
        ("connection.execute(name.query())", "name.query()"),
        ('connection.execute(", ".join(name))', "name"),
    ],
)
def test_a_name_that_is_not_quoted_is_followed_to_where_it_comes_from(line: str, source: str, tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    file = tmp_path / "room" / "one.py"
    file.write_text(FOLLOWED)
    assert unquoted_sources(Modules(tmp_path, ("room",))) == set()

    file.write_text(f"{FOLLOWED}\ndef bad(connection, name):\n    {line}\n")
    assert {one.partition(": ")[2] for one in unquoted_sources(Modules(tmp_path, ("room",)))} == {source}
