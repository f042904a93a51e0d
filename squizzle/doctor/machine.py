"""The machine that the command runs on: Python, room, the embedded PostgreSQL, the client programs."""

from __future__ import annotations

import platform
import pwd
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from squizzle.backups.space import size_words
from squizzle.doctor.findings import Finding, State
from squizzle.postgres.embedded.runtime import find_runtime
from squizzle.postgres.programs import ProgramPlaces, find_programs

# The versions that the tests run on.
_TESTED = ((3, 11), (3, 12), (3, 13))
# Dumps, pieces of a log and drills pass through the temp folder.
_TIGHT = 1 << 30


def look_at_machine() -> Iterator[Finding]:
    """Python and room for what is in passing."""
    yield _python(sys.version_info[:2])
    yield room_in(
        Path(tempfile.gettempdir()), "room for temporary files", hint="free some, or set TMPDIR to another disk"
    )


def _python(version: tuple[int, int]) -> Finding:
    detail = f"{platform.python_version()} in {sys.prefix}"
    if version in _TESTED:
        return Finding(name="Python", detail=detail)
    known = ", ".join(f"{major}.{minor}" for major, minor in _TESTED)
    return Finding(name="Python", state=State.WARNING, detail=f"{detail}: not tested with it", hint=f"tested: {known}")


def room_in(folder: Path, name: str, *, hint: str) -> Finding:
    """How much room a folder has, in its file system."""
    free = shutil.disk_usage(folder).free
    state = State.OK if free >= _TIGHT else State.WARNING
    return Finding(
        name=name, state=state, detail=f"{size_words(free)} in {folder}", hint="" if state is State.OK else hint
    )


def look_at_embedded() -> Iterator[Finding]:
    """The PostgreSQL that drills and rehearsals without a server start: its programs, and the account it runs as.

    Raises:
        EmbeddedServerError, ProgramNotUsableError: There is none that can be started here.
    """
    runtime = find_runtime()
    account = f", under the account {pwd.getpwuid(runtime.uid).pw_name}" if runtime.runs_as_other else ""
    yield Finding(name="embedded PostgreSQL", detail=f"{runtime.version} in {runtime.bin_folder}{account}")


def look_at_programs(
    explicit: Path | None, server_major: int, name: str, places: ProgramPlaces | None = None
) -> Finding:
    """The client programs for a server of a version.

    Raises:
        ProgramNotUsableError: None fits.
    """
    found = find_programs(explicit=explicit, server_major=server_major, places=places)
    return Finding(name=name, detail=f"{found.version} in {found.folder} ({found.source})")
