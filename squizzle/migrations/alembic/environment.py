"""Running a project's env.py on our session, for exactly the revision that is meant.

env.py matters: it names the version table, the naming conventions, and what people put around their migrations. But it
also opens connections, with a driver and to a database of its own. So it is told that Alembic is in offline mode, and
takes its way without a connection; what it configures then is kept, except that it gets our live session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import event

from squizzle.errors import InvalidInputError, SquizzleError
from squizzle.migrations.alembic.project import AlembicProject
from squizzle.migrations.programs import ProgramSession
from squizzle.migrations.source_lines import failed_line

# Says which revisions run, given env.py's environment and what the version table holds.
Steps = Callable[["OurEnvironment", tuple[str, ...]], Iterable[RevisionStep]]

# What belongs to a connection of env.py's own, or decides about transactions, which are ours.
_NOT_TAKEN = frozenset(
    {"literal_binds", "transactional_ddl", "transaction_per_migration", "output_buffer", "output_encoding"}
    | {"starting_rev", "as_sql", "purge"}
)


class _OurContext(MigrationContext):
    """Runs revisions in the transaction that is open already; only `autocommit_block` ends it."""

    session: ProgramSession | None = None

    def begin_transaction(self, _per_migration: bool = False) -> AbstractContextManager[None]:  # noqa: FBT001, FBT002
        return nullcontext()

    @contextmanager
    def autocommit_block(self) -> Iterator[None]:
        connection = self.connection
        if connection is None or self.session is None:
            raise AssertionError("a revision runs without a session")
        connection.commit()
        with self.session.outside_transaction():
            try:
                yield
            finally:
                # SQLAlchemy believes in a transaction here; there is none, so this sends nothing.
                connection.rollback()


class OurEnvironment(EnvironmentContext):
    """What `alembic.context` is while env.py runs.

    Args:
        project: Whose env.py.
        connection: Our session.
        steps: Which revisions run.
        session: What the engine wants to be told; None when nothing is run.
    """

    def __init__(
        self, project: AlembicProject, connection: sa.Connection, steps: Steps, session: ProgramSession | None
    ) -> None:
        super().__init__(project.config, project.directory, fn=self._steps, dont_mutate=session is None)
        self._project = project
        self._connection = connection
        self._wanted = steps
        self._session = session
        self._urls: set[str] = set()
        self.says_offline = True
        self.in_revision = False
        self.configured = False
        self.ran = False
        self.arguments: Mapping[str, Any] = {}

    def is_offline_mode(self) -> bool:
        """For env.py: yes, so that it opens no connection. For a revision: no, it works on a real one."""
        return self.says_offline and not self.in_revision

    def configure(  # type: ignore[override]
        self,
        connection: sa.Connection | None = None,
        url: str | sa.URL | None = None,
        dialect_name: str | None = None,  # noqa: ARG002
        dialect_opts: dict[str, Any] | None = None,  # noqa: ARG002
        **options: Any,
    ) -> None:
        """Take what env.py says, but for the connection, which is ours."""
        if connection is not None and connection is not self._connection:
            raise _opens_its_own(self._project)
        if url is not None:
            self._remember(url)
        self.configured = True
        kept = {name: value for name, value in options.items() if name not in _NOT_TAKEN}
        super().configure(connection=self._connection, **kept)
        plain = self.get_context()
        ours = _OurContext(plain.dialect, self._connection, plain.opts, self)
        ours.session = self._session
        self._migration_context = ours

    def _remember(self, url: str | sa.URL) -> None:
        """One session is one database: env.py must not go from one to the next (the template `multidb`)."""
        self._urls.add(str(url))
        if len(self._urls) > 1:
            raise InvalidInputError(
                f"{env_py(self._project)} migrates more than one database, and Squizzle one at a time",
                hint="let env.py migrate the one that a variable names, and run Squizzle once for each",
            )
        try:
            driver = sa.make_url(url).get_driver_name()
        except sa.exc.ArgumentError:
            driver = ""  # the template's own driver://user:pass@localhost/dbname
        self._project.shared.written_for_psycopg = driver == "psycopg"

    def run_migrations(self, **arguments: Any) -> None:
        """Run the steps; env.py may hand arguments to the revisions."""
        self.ran = True
        self.arguments = arguments
        super().run_migrations(**arguments)

    def _steps(self, heads: tuple[str, ...], _context: MigrationContext) -> Iterable[RevisionStep]:
        return self._wanted(self, tuple(heads))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While a revision's own function runs."""
        if self._session is None:
            raise AssertionError("a revision runs without a session")
        self.in_revision = True
        try:
            with self._session.work():
                yield
        finally:
            self.in_revision = False


# Alembic looks the names that `alembic.context` has up by class.
OurEnvironment._setups[OurEnvironment] = EnvironmentContext._setups[EnvironmentContext]  # noqa: SLF001


def env_py(project: AlembicProject) -> Path:
    """The project's env.py."""
    return Path(project.directory.env_py_location)


def run_environment(
    project: AlembicProject, connection: sa.Connection, steps: Steps, session: ProgramSession | None = None
) -> OurEnvironment:
    """Run env.py, and in it the steps.

    Raises:
        InvalidInputError: env.py cannot be run, opens a connection of its own, or runs no migrations. Nothing was
            changed, unless a revision was at work.
        Exception: What a revision raised.
    """
    environment = OurEnvironment(project, connection, steps, session)
    project.config.attributes["connection"] = connection
    try:
        with environment:
            _run(project, environment)
    finally:
        project.config.attributes.pop("connection", None)
    if not environment.ran:
        raise InvalidInputError(
            f"{env_py(project)} ended without calling context.run_migrations()",
            hint="`alembic current` must work with it; compare it with the one that `alembic init` writes",
        )
    return environment


def _run(project: AlembicProject, environment: OurEnvironment) -> None:
    """In offline mode; where env.py refuses that, online with the session that Alembic's documentation lets it find."""
    try:
        _run_once(project, environment)
    except SquizzleError:
        raise
    except (Exception, SystemExit) as first:
        if environment.configured:
            raise
        environment.says_offline = False
        try:
            _run_once(project, environment)
        except SquizzleError:
            raise
        except (Exception, SystemExit):
            if environment.configured:
                raise
            raise _broken(project, first) from first


def _run_once(project: AlembicProject, environment: OurEnvironment) -> None:
    def refuse(*_given: object) -> None:
        if not environment.configured:
            raise _opens_its_own(project)

    # On all engines, those that exist already included.
    event.listen(sa.Engine, "do_connect", refuse)
    try:
        project.directory.run_env()
    finally:
        event.remove(sa.Engine, "do_connect", refuse)


def _opens_its_own(project: AlembicProject) -> InvalidInputError:
    return InvalidInputError(
        f"{env_py(project)} opens a connection of its own, which would be outside of the migration lock",
        hint="let it take context.config.attributes.get('connection') where that is there, or have an offline mode",
    )


def _broken(project: AlembicProject, error: BaseException) -> InvalidInputError:
    file = env_py(project)
    line = failed_line(error, file)
    words = " ".join(str(error).split())
    return InvalidInputError(
        f"{file}:{line} failed: {type(error).__name__}: {words}",
        hint="env.py is run as `alembic upgrade --sql` runs it; mend it, or set the variables that it needs",
    )
