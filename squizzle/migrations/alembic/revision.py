"""One revision of an Alembic project as a program of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script
from alembic.script.revision import RevisionMap

from squizzle.analysis.records import Statement
from squizzle.errors import InvalidInputError, VersionConflictError
from squizzle.migrations.alembic.environment import OurEnvironment, run_environment
from squizzle.migrations.alembic.guard import guarded
from squizzle.migrations.alembic.preview import preview_revision
from squizzle.migrations.alembic.project import AlembicProject
from squizzle.migrations.programs import ProgramSession
from squizzle.postgres.access import Connection

_TWO_BOOKS = (
    "squizzle_history and Alembic's version table must agree. Where there is no squizzle_history yet, `squizzle adopt`"
    " takes Alembic's; else `alembic upgrade`, `downgrade` or `stamp` brings Alembic's to what `squizzle status` shows"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AlembicRevision:
    """A revision, as the engine's `Program`.

    Attributes:
        project: Where it is from.
        revision: Its identifier.
    """

    project: AlembicProject
    revision: str

    @property
    def has_way_back(self) -> bool:
        """Whether the file has a downgrade()."""
        return callable(getattr(self._script.module, "downgrade", None))

    def apply(self, session: ProgramSession) -> None:
        """Run upgrade(), and move Alembic's version table in the same transaction; see `Program`.

        Raises:
            VersionConflictError: Alembic's version table does not fit: the revision is there, or one before it is not.
            InvalidInputError: See `run_environment`.
        """
        self._run(session, self._upgrade)

    def roll_back(self, session: ProgramSession) -> None:
        """Run downgrade(), as `apply` runs upgrade(); one that was half applied is not in the version table.

        Raises:
            VersionConflictError: Alembic's version table does not fit: the revision is not there, or one after it is.
            InvalidInputError: See `run_environment`.
        """
        self._run(session, self._clean_up if session.resumes else self._downgrade)

    def preview(self, *, back: bool) -> tuple[Statement, ...]:
        """What upgrade() or downgrade() would run, told by Alembic's offline mode; see `Program`."""
        return preview_revision(self.project, self._script, back=back)

    def applied(self, connection: Connection) -> frozenset[str]:
        """The revisions that Alembic's version table names, and all that they need; see `Program`."""
        found: set[tuple[str, ...]] = set()

        def look(_environment: OurEnvironment, heads: tuple[str, ...]) -> tuple[RevisionStep, ...]:
            found.add(tuple(sorted(heads)))
            return ()

        with guarded(), _in_transaction(connection), self.project.shared.lent(connection) as lent:
            run_environment(self.project, lent, look)
        if len(found) > 1:
            raise InvalidInputError(
                "env.py migrates several schemas, and they are at different revisions",
                hint="bring them to the same revision with Alembic first; nothing was changed",
            )
        return self._with_ancestors(found.pop())

    # One run

    @property
    def _script(self) -> Script:
        return self.project.directory.get_revision(self.revision)

    def _run(self, session: ProgramSession, steps: _Choose) -> None:
        """Run env.py, which calls back once; or more often when it goes from schema to schema: all are one commit."""
        fitting: list[bool] = []

        def chosen(environment: OurEnvironment, heads: tuple[str, ...]) -> Iterator[RevisionStep]:
            found = list(steps(environment, self._with_ancestors(heads)))
            fitting.append(bool(found))
            yield from (step for step in found if step is not None)

        with guarded(), self.project.shared.lent(session.connection, session) as lent:
            run_environment(self.project, lent, chosen, session)
            if not any(fitting):
                is_now = "there" if steps == self._upgrade else "not there"
                raise VersionConflictError(f"Alembic's version table says {self.revision} is {is_now}", hint=_TWO_BOOKS)
            session.finish()
            lent.commit()

    def _upgrade(self, environment: OurEnvironment, there: frozenset[str]) -> Iterator[RevisionStep | None]:
        if self.revision in there:
            return
        missing = [one for one in self.project.parents[self.revision] if one not in there]
        if missing:
            raise VersionConflictError(
                f"Alembic's version table lacks what {self.revision} needs: {', '.join(missing)}", hint=_TWO_BOOKS
            )
        yield _counted(environment, MigrationStep.upgrade_from_script(self._map, self._script))

    def _downgrade(self, environment: OurEnvironment, there: frozenset[str]) -> Iterator[RevisionStep | None]:
        if self.revision not in there:
            return
        later = [one for one in sorted(there) if self.revision in self.project.parents[one]]
        if later:
            raise VersionConflictError(
                f"Alembic's version table has what needs {self.revision}: {', '.join(later)}", hint=_TWO_BOOKS
            )
        yield _counted(environment, MigrationStep.downgrade_from_script(self._map, self._script))

    def _clean_up(self, environment: OurEnvironment, there: frozenset[str]) -> Iterator[RevisionStep | None]:
        """Run downgrade() after an upgrade() that never reached its end, so that the version table stays as it is."""
        if self.revision in there:
            yield from self._downgrade(environment, there)
            return
        with environment.at_work():
            self._script.module.downgrade(**environment.arguments)
        yield None

    @property
    def _map(self) -> RevisionMap:
        return self.project.directory.revision_map

    def _with_ancestors(self, heads: tuple[str, ...]) -> frozenset[str]:
        unknown = [one for one in heads if one not in self.project.parents]
        if unknown:
            raise VersionConflictError(
                f"Alembic's version table names what is not in the migrations folder: {', '.join(unknown)}",
                hint="check out the branch that has them; nothing was changed",
            )
        return self.project.with_ancestors(heads)


@contextmanager
def _in_transaction(connection: Connection) -> Iterator[None]:
    """For looking: what env.py does on the way is rolled back."""
    connection.autocommit = False
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()
            connection.autocommit = True


_Choose = Callable[[OurEnvironment, frozenset[str]], Iterator[RevisionStep | None]]


def _counted(environment: OurEnvironment, step: RevisionStep) -> RevisionStep:
    """The step, with its statements counted as the migration's; moving the version table is not among them."""
    function = step.migration_fn

    @wraps(function)
    def at_work(**arguments: Any) -> None:
        with environment.at_work():
            function(**arguments)

    step.migration_fn = at_work
    return step
