"""Whether the server has the extensions that scripts want, looked up before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from squizzle.analysis.grammar import parse_statement
from squizzle.errors import MigrationFailedError
from squizzle.migrations.records import PlannedMigration
from squizzle.postgres.access import Connection

_MISSING = """
    SELECT name FROM unnest(%s::text[]) AS wanted (name)
    WHERE NOT EXISTS (SELECT 1 FROM pg_available_extensions a WHERE a.name = wanted.name)
      AND NOT EXISTS (SELECT 1 FROM pg_extension e WHERE e.extname = wanted.name)
"""


def refuse_missing_extensions(connection: Connection, steps: Iterable[PlannedMigration]) -> None:
    """Refuse scripts that create an extension whose files the server does not have. Nothing is changed.

    Raises:
        MigrationFailedError: Names every such extension with file and line.
    """
    wanted = [(name, place) for step in steps for name, place in _wanted(step)]
    if not wanted:
        return
    rows = connection.execute(_MISSING, ([name for name, _ in wanted],))
    missing = {name for (name,) in rows}
    if missing:
        places = "; ".join(f"{name} ({place})" for name, place in wanted if name in missing)
        raise MigrationFailedError(
            f"the server does not have the extensions that these scripts create: {places}",
            hint="install them on the server (its packages, or what the provider offers), then run the same again",
        )


def _wanted(step: PlannedMigration) -> Iterator[tuple[str, str]]:
    for statement in step.statements:
        if statement.words[:2] == ("CREATE", "EXTENSION"):
            tree = parse_statement(statement.sql)
            if tree is not None:
                yield tree.create_extension_stmt.extname, f"{step.source}:{statement.line}"
