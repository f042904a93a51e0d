"""One Alembic project: its settings, its revisions, and what they need.

Loading it runs the top level of every revision file, as every command of Alembic's does.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util.exc import CommandError

from squizzle.errors import InvalidInputError
from squizzle.migrations.alembic.guard import guarded
from squizzle.migrations.source_lines import failed_line

if TYPE_CHECKING:
    from squizzle.migrations.alembic.sharing import SharedSession


@dataclass(frozen=True, kw_only=True)
class AlembicProject:
    """Where a project's files are; loaded when something of it is asked for, and never again.

    Attributes:
        ini: `alembic.ini`, or None.
        toml: `pyproject.toml` with a section `[tool.alembic]`, or None.
        scripts: The folder of `env.py`; None when the settings name it.
        versions: The folder of revision files; None for those that the settings name.
    """

    ini: Path | None = None
    toml: Path | None = None
    scripts: Path | None = None
    versions: Path | None = None

    def __getstate__(self) -> dict[str, Path | None]:
        """Where the files are; what was loaded is loaded again elsewhere."""
        return {name: getattr(self, name) for name in ("ini", "toml", "scripts", "versions")}

    def __setstate__(self, state: Mapping[str, Path | None]) -> None:
        self.__dict__.update(state)

    @property
    def home(self) -> Path:
        """The folder that relative settings are meant from: where people call `alembic`."""
        named = self.ini or self.toml
        return named.parent if named else (self.scripts or Path()).parent

    @cached_property
    def config(self) -> Config:
        """Alembic's settings, with folders that do not depend on where we are called from."""
        config = Config(file_=self.ini, toml_file=self.toml, stdout=sys.stderr)
        location = str(self.scripts) if self.scripts else config.get_alembic_option("script_location")
        if not location:
            raise InvalidInputError(
                f"{self.ini or self.toml} names no script_location", hint="name the folder of env.py in it"
            )
        if ":" not in location:
            location = str(self.home / location)
        # A per cent sign begins an interpolation in ini files.
        config.set_main_option("script_location", location.replace("%", "%%"))
        return config

    @cached_property
    def directory(self) -> ScriptDirectory:
        """The folder of `env.py`, with its revisions loaded.

        Raises:
            InvalidInputError: A folder or a revision is missing, or a revision file cannot be imported.
        """
        with guarded(), warnings.catch_warnings():
            # Alembic takes the last of two files with the same revision, and warns.
            warnings.filterwarnings("error", message="Revision .* is present more than once")
            warnings.filterwarnings("error", message="Revision .* referenced from .* is not present")
            return self._load()

    def _load(self) -> ScriptDirectory:
        try:
            directory = ScriptDirectory.from_config(self.config)
            for path in self.config.get_prepend_sys_paths_list() or ():
                if not Path(path).is_absolute():
                    sys.path.insert(0, str(self.home / path))
            if self.versions is not None:
                directory.version_locations = [str(self.versions)]
            else:
                directory.version_locations = [self._from_home(one) for one in directory.version_locations]
            list(directory.walk_revisions())
        except InvalidInputError:
            raise
        except (Exception, SystemExit) as exc:  # revision files are people's programs
            raise _unreadable(exc, self.home) from exc
        return directory

    def _from_home(self, location: str) -> str:
        return location if ":" in location else str(self.home / location)

    @cached_property
    def parents(self) -> Mapping[str, tuple[str, ...]]:
        """What each revision needs, by revision: those it revises, and those it depends on."""
        return {script.revision: self._parents_of(script) for script in self.directory.walk_revisions()}

    def _parents_of(self, script: Script) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for named in (script.down_revision, script.dependencies):
            for parent in self.directory.get_revisions(named or ()):
                found[parent.revision] = None
        return tuple(found)

    @cached_property
    def depths(self) -> Mapping[str, int]:
        """The longest way from a base to each revision, counted in revisions; parents come before their children.

        It depends on a revision's ancestors alone, so revisions that are added later do not change it.
        """
        depths: dict[str, int] = {}
        for revision in TopologicalSorter(self.parents).static_order():
            depths[revision] = 1 + max((depths[parent] for parent in self.parents[revision]), default=0)
        return depths

    def with_ancestors(self, revisions: tuple[str, ...]) -> frozenset[str]:
        """These revisions, and everything that they need."""
        found: set[str] = set()
        left = list(revisions)
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += self.parents[one]
        return frozenset(found)

    @cached_property
    def shared(self) -> SharedSession:
        """Our session as SQLAlchemy sees it."""
        from squizzle.migrations.alembic.sharing import SharedSession  # noqa: PLC0415 - status needs no engine

        return SharedSession()


def _unreadable(error: BaseException, home: Path) -> InvalidInputError:
    """The error for a project that Alembic cannot load, with the file that is to blame where there is one."""
    words = " ".join(str(error).split())
    hint = "`alembic history` shows the same; nothing was changed"
    if isinstance(error, CommandError | UserWarning):
        return InvalidInputError(f"Alembic cannot read the project in {home}: {words}", hint=hint)
    words = f"{type(error).__name__}: {words}"
    blamed = _blamed(error, home)
    if blamed is None:
        return InvalidInputError(f"Alembic cannot read the project in {home}: {words}", hint=hint)
    return InvalidInputError(f"{blamed}:{failed_line(error, blamed)} cannot be imported: {words}", hint=hint)


def _blamed(error: BaseException, home: Path) -> Path | None:
    """The innermost file of the project that the error came through."""
    if isinstance(error, SyntaxError) and error.filename:
        return Path(error.filename)
    files = [Path(frame.f_code.co_filename) for frame, _line in traceback.walk_tb(error.__traceback__)]
    return next((file for file in reversed(files) if file.is_relative_to(home)), None)
