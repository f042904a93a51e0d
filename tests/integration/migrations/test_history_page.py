"""The page of the history: every column with its type, and questions that PostgreSQL answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder

pytestmark = pytest.mark.one_server


def test_the_page_of_the_history_has_every_column_and_its_questions_can_be_asked(
    connection: Connection, database: str, folder: Folder, project_root: Path
) -> None:
    page = (project_root / "docs" / "history.md").read_text(encoding="utf-8")
    folder.write("0001", "CREATE TABLE t (a int)")
    apply_versions(connection, Target(database=database), folder.read())
    columns = connection.execute(
        "SELECT column_name::text, data_type::text FROM information_schema.columns"
        " WHERE table_name = 'squizzle_history' ORDER BY ordinal_position"
    ).fetchall()

    assert re.findall(r"^\| `(\w+)` \| `([\w ]+)` \|", page, re.MULTILINE) == columns
    questions = [one for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) for one in block.split(";\n")]
    answers = [connection.execute(one.encode()).fetchall() for one in questions if one.strip()]
    assert len(answers) == 5
    assert [[row[0] for row in rows] for rows in answers] == [["0001"], [], [], ["0001"], []]
