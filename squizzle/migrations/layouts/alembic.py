"""Alembic's layout: `env.py` and a folder of revision files, named by `alembic.ini` or `pyproject.toml`, or found.

Facts from Alembic 1.20's sources (`script/base.py`, `script/revision.py`, `config.py`): a revision names those that it
revises (`down_revision`) and those that it only needs (`depends_on`); identifiers hold no `@`, `-` or `+`; people call
Alembic in the folder of its settings, and relative names in these are meant from there.
"""

from __future__ import annotations

import re
import tomllib
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from pathlib import Path
from typing import TYPE_CHECKING

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import checksum, list_folder, read_present
from squizzle.migrations.layouts.order import in_order
from squizzle.migrations.records import Labels, Migration
from squizzle.migrations.versions import version_key

if TYPE_CHECKING:
    from squizzle.migrations.alembic.reading import Revision

_INI = "alembic.ini"
_TOML = "pyproject.toml"
_ENV = "env.py"
# So far above a folder of revisions, env.py is looked for; and so far above env.py, the settings.
_LEVELS = 4
# What a version may hold and a revision's identifier may not: free to stand for everything else.
_NOT_IN_VERSIONS = re.compile(r"[^0-9A-Za-z.]")


def has_alembic_signs(folder: Path) -> bool:
    """Whether the folder has Alembic's settings, is that of env.py, or one of revision files below it."""
    if any(_settings_in(folder)) or _is_home(folder):
        return True
    return _home_above(folder) is not None and any(folder.glob("*.py"))


def _is_home(folder: Path) -> bool:
    return (folder / _ENV).is_file() and ((folder / "versions").is_dir() or (folder / "script.py.mako").is_file())


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every revision of the project, so that what a revision needs comes before it. The files' top level is run.

    The version is the longest way from a base and the identifier: `0007-1a2b3c4d5e6f`. It depends on a revision's
    ancestors alone, so it stays the same whatever is added beside or after it.

    Args:
        folder: Holds `alembic.ini` or a `pyproject.toml` for Alembic, or `env.py`, or revision files below `env.py`.

    Raises:
        InvalidInputError: Alembic is not installed, there is no project, or it cannot be loaded. Nothing was changed.
        VersionConflictError: Two identifiers cannot be told apart.
    """
    _require_alembic()
    from squizzle.migrations.alembic.project import AlembicProject  # noqa: PLC0415 - SQLAlchemy costs 200 ms
    from squizzle.migrations.alembic.reading import read_revisions  # noqa: PLC0415

    list_folder(folder)
    migrations = [_migration(one) for one in read_revisions(AlembicProject(**_places(folder.resolve())))]
    if not migrations:
        raise InvalidInputError(
            f"the Alembic project of {folder} has no revisions where its settings say",
            hint="when env.py decides where they are, name that folder: --migrations …/versions/postgresql",
        )
    return in_order(((version_key(one.version), one) for one in migrations), tool="Alembic")


def _require_alembic() -> None:
    try:
        import alembic  # noqa: F401, PLC0415 - only when such a project is read
        import sqlalchemy  # noqa: F401, PLC0415
    except ModuleNotFoundError as exc:
        raise InvalidInputError(
            f"an Alembic project needs the package {exc.name}, which is not installed",
            hint="pip install 'squizzle[alembic]'",
        ) from exc


def _migration(one: Revision) -> Migration:
    revision = one.program.revision
    return Migration(
        version=_version(revision, one.depth),
        name=one.message,
        up_sql="",
        down_sql=None,
        verify_sql=None,
        checksum=checksum(read_present(one.file, root=one.file.parent.resolve())),
        source=one.file,
        labels=Labels(up=one.label, down=one.label),
        program=one.program,
        alias=revision,
        requires=tuple(_version(parent, depth) for parent, depth in one.parents),
    )


def _version(revision: str, depth: int) -> str:
    plain = _NOT_IN_VERSIONS.sub(lambda found: "-" if found[0] == "_" else f"+{ord(found[0]):x}+", revision)
    return f"{depth:04d}-{plain}"


# Where the project's files are


def _places(folder: Path) -> dict[str, Path | None]:
    ini, toml = _settings_in(folder)
    if ini or toml:
        # Flask-Migrate's alembic.ini names no folder: it lies beside env.py.
        beside = _is_home(folder) and not _location(ini, toml)
        return {"ini": ini, "toml": toml, "scripts": folder if beside else None}
    home = folder if _is_home(folder) else _home_above(folder)
    if home is None:
        raise InvalidInputError(
            f"{folder} is no Alembic project: there is neither {_INI} nor {_ENV}",
            hint="name the folder of alembic.ini, of env.py, or of the revision files with --migrations DIR",
        )
    ini, toml = _settings_of(home)
    versions = None if home == folder else folder
    return {"ini": ini, "toml": toml, "scripts": home, "versions": versions}


def _home_above(folder: Path) -> Path | None:
    return next((parent for parent in folder.absolute().parents[:_LEVELS] if _is_home(parent)), None)


def _settings_in(folder: Path) -> tuple[Path | None, Path | None]:
    ini, toml = folder / _INI, folder / _TOML
    return (ini if ini.is_file() else None), (toml if _location(None, toml) else None)


def _settings_of(home: Path) -> tuple[Path | None, Path | None]:
    """The settings above env.py that name its folder: with them, env.py finds what it asks for."""
    for folder in (home, *home.parents[:_LEVELS]):
        ini, toml = _settings_in(folder)
        location = _location(ini, toml)
        names_it = folder == home or (location and _names(location, home, folder))
        if names_it and (ini or toml):
            return ini, toml
    return None, None


def _names(location: str, home: Path, settings: Path) -> bool:
    """Whether a script_location is this folder; `package:folder` is compared by its last names."""
    if ":" in location:
        parts = tuple(location.split(":"))
        return home.parts[-len(parts) :] == parts
    return (settings / location).resolve() == home


def _location(ini: Path | None, toml: Path | None) -> str:
    """What the settings say about where env.py is; empty when they say nothing, or nothing that can be read."""
    if ini is not None:
        parser = ConfigParser({"here": str(ini.parent)})
        try:
            parser.read(ini, encoding="utf-8")
            if found := parser.get("alembic", "script_location", fallback=""):
                return found
        except (ConfigParserError, OSError, UnicodeDecodeError):
            return ""
    return _location_in_toml(toml)


def _location_in_toml(toml: Path | None) -> str:
    if toml is None or not toml.is_file():
        return ""
    try:
        content = tomllib.loads(toml.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ""
    section = content.get("tool", {}).get("alembic", {})
    location = section.get("script_location", "") if isinstance(section, dict) else ""
    return str(location).replace("%(here)s", str(toml.parent))
