"""sqitch's books: its registry, a schema of its own.

Facts from sqitch 1.3.1's sources (`App/Sqitch/Role/DBIEngine.pm`, `Engine/pg.pm`, `Engine.pm`) and its program: a
change is known by its id alone; `changes` holds what is deployed, `events` everything that ever happened; a revert
deletes the change, its tags and dependencies, and adds an event; tags that the plan got later are added by the next
deploy; the order of `committed_at` is the order of the deployed changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString

from psycopg import sql

from squizzle.errors import InvalidInputError, VersionConflictError
from squizzle.migrations.bookkeeping.sqitch_ids import (
    IdentifiedChange,
    IdentifiedTag,
    find_dependency,
    identify,
    local_name,
)
from squizzle.migrations.bookkeeping.sqitch_settings import read_settings
from squizzle.migrations.bookkeeping.tool_books import Entry, ToolBooks
from squizzle.migrations.layouts.sqitch import read_plan
from squizzle.migrations.layouts.sqitch_plan import Planned
from squizzle.migrations.records import Migration, Outcome
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql

_REGISTRY_VERSION = 1.1


class SqitchBooks(ToolBooks):
    """`sqitch.changes` and what belongs to it."""

    tool = "sqitch"
    table = "changes"
    columns = (
        "change_id",
        "script_hash",
        "change",
        "project",
        "note",
        "committed_at",
        "committer_name",
        "committer_email",
        "planned_at",
        "planner_name",
        "planner_email",
    )

    def __init__(self, folder: Path, migrations: Sequence[Migration]) -> None:
        super().__init__(folder, migrations)
        self._plan = read_plan(folder)
        self._settings = read_settings(folder)
        changes = identify(self._plan)
        if len(changes) != len(self.migrations):
            raise InvalidInputError(f"{folder} was changed while it was read", hint="run the same again")
        # Migrations stand in the order of the plan; a name may be there twice, a version may not.
        self._changes = {one.version: change for one, change in zip(self.migrations, changes, strict=True)}
        self._in_order = changes

    def schema(self, schema: str) -> str:  # noqa: ARG002 - wherever scripts work
        """The registry."""
        return self._settings.registry

    def tables(self) -> tuple[str, ...]:
        """Those of the registry."""
        return ("changes", "tags", "dependencies", "events", "projects")

    def key(self, migration: Migration) -> str:
        """The change's id."""
        return self._changes[migration.version].id

    def _read(self, connection: Connection, schema: str) -> tuple[Entry, ...]:  # noqa: ARG002 - the registry
        rows = self._execute(
            connection,
            "SELECT change_id, change, committed_at FROM {registry}.changes WHERE project = %s ORDER BY committed_at",
            (self._plan.project,),
        )
        return tuple(Entry(key=key, label=f"{name} ({key[:8]})", applied_at=at) for key, name, at in rows)

    def _create(self, connection: Connection, schema: str) -> None:  # noqa: ARG002 - the registry
        self._execute(connection, load_sql("squizzle.migrations.bookkeeping", "sqitch_registry"))
        self._execute(
            connection,
            "INSERT INTO {registry}.releases (version, installer_name, installer_email) VALUES (%s, %s, %s)",
            (_REGISTRY_VERSION, *self._committer),
        )

    def add(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:  # noqa: ARG002 - the registry, and no durations
        """Write that a change was deployed."""
        change = self._changes[migration.version]
        before = self._before(change)
        self._register_project(connection)
        self._refuse_another_order(connection, change, before)
        self._insert_change(connection, change, migration)
        self._insert_dependencies(connection, change)
        for one in filter(None, (before, change)):
            for tag in one.tags:
                self._insert_tag(connection, one, tag)
        names = [f"@{tag.tag.name}" for tag in change.tags]
        self._insert_event(connection, "deploy", change, names, self._requires(change), self._conflicts(change))

    def remove(self, connection: Connection, schema: str, migration: Migration, outcome: Outcome) -> None:  # noqa: ARG002 - the registry, and no durations
        """Write that a change was reverted."""
        change = self._changes[migration.version]
        identity = (change.id,)
        tags = self._execute(connection, "DELETE FROM {registry}.tags WHERE change_id = %s RETURNING tag", identity)
        needs = self._execute(
            connection, "SELECT type, dependency FROM {registry}.dependencies WHERE change_id = %s", identity
        )
        gone = self._execute(
            connection, "DELETE FROM {registry}.changes WHERE change_id = %s RETURNING change_id", identity
        )
        if gone:
            requires = [name for kind, name in needs if kind == "require"]
            conflicts = [name for kind, name in needs if kind == "conflict"]
            self._insert_event(connection, "revert", change, [row[0] for row in tags], requires, conflicts)

    # Rows

    @property
    def _committer(self) -> tuple[str, str]:
        return self._settings.committer, self._settings.email

    def _before(self, change: IdentifiedChange) -> IdentifiedChange | None:
        place = self._in_order.index(change)
        return self._in_order[place - 1] if place else None

    def _requires(self, change: IdentifiedChange) -> list[str]:
        return [local_name(self._plan, one) for one in change.change.requires]

    def _conflicts(self, change: IdentifiedChange) -> list[str]:
        return [local_name(self._plan, one) for one in change.change.conflicts]

    def _register_project(self, connection: Connection) -> None:
        project, uri = self._plan.project, self._plan.uri
        rows = self._execute(connection, "SELECT uri FROM {registry}.projects WHERE project = %s", (project,))
        if not rows:
            insertion = (
                "INSERT INTO {registry}.projects (project, uri, creator_name, creator_email) VALUES (%s, %s, %s, %s)"
            )
            self._execute(connection, insertion, (project, uri, *self._committer))
        elif rows[0][0] != uri:
            raise VersionConflictError(
                f"sqitch's registry knows the project {project} by the URI {rows[0][0]}, the plan says {uri}",
                hint="they may be two projects of one name; put %uri in sqitch.plan right",
            )

    def _refuse_another_order(
        self, connection: Connection, change: IdentifiedChange, before: IdentifiedChange | None
    ) -> None:
        """To sqitch the order of times is the order of the plan, so nothing can be added below what is there."""
        rows = self._execute(
            connection,
            "SELECT change_id, change FROM {registry}.changes WHERE project = %s ORDER BY committed_at DESC LIMIT 1",
            (self._plan.project,),
        )
        expected = before.id if before else None
        if (rows[0][0] if rows else None) != expected:
            raise VersionConflictError(
                f"sqitch's newest change is {rows[0][1] if rows else 'none'}, so {change.change.name} cannot be noted"
                f" behind {before.change.name if before else 'nothing'}, where the plan has it",
                hint="`sqitch status` shows what sqitch makes of it; `squizzle adopt` compares both",
            )

    def _insert_change(self, connection: Connection, change: IdentifiedChange, migration: Migration) -> None:
        script_hash = hashlib.sha1(migration.source.read_bytes(), usedforsecurity=False).hexdigest()
        self._execute(
            connection,
            "INSERT INTO {registry}.changes (change_id, script_hash, change, project, note, committer_name,"
            " committer_email, planned_at, planner_name, planner_email)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s::timestamptz, %s, %s)",
            (change.id, script_hash, change.change.name, self._plan.project, *self._signed(change.change.planned)),
        )

    def _signed(self, planned: Planned) -> tuple[str, ...]:
        return planned.note, *self._committer, planned.at, planned.planner, planned.email

    def _insert_dependencies(self, connection: Connection, change: IdentifiedChange) -> None:
        needs: list[tuple[str, str, str | None]] = [
            ("require", name, self._resolve(connection, change, name)) for name in self._requires(change)
        ]
        needs += [("conflict", name, None) for name in self._conflicts(change)]
        for kind, name, identity in needs:
            insertion = (
                "INSERT INTO {registry}.dependencies (change_id, type, dependency, dependency_id)"
                " VALUES (%s, %s, %s, %s)"
            )
            self._execute(connection, insertion, (change.id, kind, name, identity))

    def _resolve(self, connection: Connection, change: IdentifiedChange, name: str) -> str:
        found = find_dependency(self._in_order, name)
        if found is None:
            found = self._elsewhere(connection, name)
        if found is None:
            raise VersionConflictError(
                f"{change.change.name} requires {name}, which sqitch's registry does not have",
                hint=f"deploy the project that {name} belongs to first",
            )
        return found

    def _elsewhere(self, connection: Connection, name: str) -> str | None:
        """The deployed change of another project that a dependency names."""
        project, _, wanted = name.rpartition(":")
        change, _, tag = wanted.partition("@")
        rows = self._execute(
            connection,
            "SELECT c.change_id FROM {registry}.changes c WHERE (c.change_id = %(wanted)s OR c.project = %(project)s"
            " AND (%(change)s = '' OR c.change = %(change)s) AND (%(tag)s = '' OR c.committed_at <="
            " (SELECT t.committed_at FROM {registry}.tags t WHERE t.project = c.project AND t.tag = '@' || %(tag)s)))"
            " ORDER BY c.committed_at DESC LIMIT 1",
            {"wanted": wanted, "project": project, "change": change, "tag": tag},
        )
        return rows[0][0] if rows else None

    def _insert_tag(self, connection: Connection, change: IdentifiedChange, tag: IdentifiedTag) -> None:
        self._execute(
            connection,
            "INSERT INTO {registry}.tags (tag_id, tag, project, change_id, note, committer_name, committer_email,"
            " planned_at, planner_name, planner_email)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s::timestamptz, %s, %s) ON CONFLICT (tag_id) DO NOTHING",
            (tag.id, f"@{tag.tag.name}", self._plan.project, change.id, *self._signed(tag.tag.planned)),
        )

    def _insert_event(
        self,
        connection: Connection,
        event: str,
        change: IdentifiedChange,
        tags: list[str],
        requires: list[str],
        conflicts: list[str],
    ) -> None:
        self._execute(
            connection,
            "INSERT INTO {registry}.events (event, change_id, change, project, tags, requires, conflicts, note,"
            " committer_name, committer_email, planned_at, planner_name, planner_email)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::timestamptz, %s, %s)",
            (
                event,
                change.id,
                change.change.name,
                self._plan.project,
                tags,
                requires,
                conflicts,
                *self._signed(change.change.planned),
            ),
        )

    def _execute(
        self, connection: Connection, query: LiteralString, values: Sequence[object] | dict[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        statement = sql.SQL(query).format(registry=sql.Identifier(self._settings.registry))
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
