"""What a revision would run, told by Alembic's offline mode: nothing is connected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.script import Script

from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.migrations.alembic.guard import guarded
from squizzle.migrations.alembic.project import AlembicProject
from squizzle.migrations.source_lines import failed_line, line_at_work


class _Recorder:
    """Takes the statements that Alembic writes in offline mode, one at a time; stands in for a text file."""

    def __init__(self, source: Path) -> None:
        self.statements: list[Statement] = []
        self.in_transaction = True
        self._source = source

    def write(self, text: str) -> int:
        line = line_at_work(self._source)
        for statement in _split(text, str(self._source)):
            self.statements.append(replace(statement, line=line, transactional=self.in_transaction))
        return len(text)

    def flush(self) -> None:
        """Everything is written already."""


def _split(text: str, source: str) -> tuple[Statement, ...]:
    try:
        return split_statements(text, source=source)
    except InvalidInputError:
        # Shown as it is: the server judges it when it is run.
        return (Statement(sql=text.strip().removesuffix(";"), line=1, words=(), transactional=True),)


class _OfflineContext(MigrationContext):
    """Writes no BEGIN and COMMIT: the engine's transaction is around everything but `autocommit_block`."""

    recorder: _Recorder

    def begin_transaction(self, _per_migration: bool = False) -> AbstractContextManager[None]:  # noqa: FBT001, FBT002
        return nullcontext()

    @contextmanager
    def autocommit_block(self) -> Iterator[None]:
        self.recorder.in_transaction = False
        try:
            yield
        finally:
            self.recorder.in_transaction = True


class _OfflineEnvironment(EnvironmentContext):
    """What `alembic.context` is while env.py runs; offline for env.py and for the revision."""

    def __init__(self, project: AlembicProject, script: Script, recorder: _Recorder, *, back: bool) -> None:
        before = (script.revision,) if back else project.parents[script.revision]
        make = MigrationStep.downgrade_from_script if back else MigrationStep.upgrade_from_script

        def steps(_heads: object, _context: MigrationContext) -> tuple[RevisionStep, ...]:
            return (make(project.directory.revision_map, script),)

        super().__init__(project.config, project.directory, fn=steps, as_sql=True, starting_rev=before or None)
        self._recorder = recorder

    def configure(self, **options: Any) -> None:  # type: ignore[override]
        """Take what env.py says, but for where it is written to, and for which database."""
        left_out = {"connection", "url", "dialect_name", "dialect_opts", "output_buffer", "starting_rev", "as_sql"}
        kept = {name: value for name, value in options.items() if name not in left_out}
        kept |= {"output_buffer": self._recorder, "literal_binds": True}
        super().configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, **kept)
        plain = self.get_context()
        ours = _OfflineContext(plain.dialect, None, plain.opts, self)
        ours.recorder = self._recorder
        self._migration_context = ours


# Alembic looks the names that `alembic.context` has up by class.
_OfflineEnvironment._setups[_OfflineEnvironment] = EnvironmentContext._setups[EnvironmentContext]  # noqa: SLF001


def preview_revision(project: AlembicProject, script: Script, *, back: bool) -> tuple[Statement, ...]:
    """The statements of a revision's upgrade() or downgrade(), and of Alembic's own books; nothing is connected.

    Raises:
        InvalidInputError: The revision looks into the database, or env.py has no offline mode.
    """
    source = Path(script.path)
    recorder = _Recorder(source)
    with guarded():
        try:
            with _OfflineEnvironment(project, script, recorder, back=back):
                project.directory.run_env()
        except (Exception, SystemExit) as exc:  # people's programs
            line = failed_line(exc, source)
            words = " ".join(str(exc).split())
            raise InvalidInputError(
                f"the SQL of {source.name}:{line} cannot be told without running it: {type(exc).__name__}: {words}",
                hint="`alembic upgrade --sql` cannot either; read the file, or apply it to a copy",
            ) from exc
    return tuple(recorder.statements)
