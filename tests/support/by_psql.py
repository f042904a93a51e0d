"""What psql makes of a history: each script in a session of its own, in one transaction where that is possible."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from squizzle.postgres.access import ServerAccess, client_environment
from squizzle.postgres.embedded import find_runtime

# "Cannot run in a transaction": active transaction, transaction termination, unsafe use of a new enum value, no
# transaction (a script that commits and goes on).
_NEEDS_NO_TRANSACTION = re.compile(r"ERROR:  (?:25001|2D000|55P04|25P01)")
_PROGRAMS = find_runtime(bin_folder=None).bin_folder


def run_script(access: ServerAccess, database: str, text: str, folder: Path) -> None:
    """Run a script as `psql -1 -f` does, or as `psql -f` where the server refuses that; an assertion when it fails."""
    file = folder / "script.sql"
    file.write_bytes(text.encode())
    problem = _psql(access, database, file, "--single-transaction")
    if _NEEDS_NO_TRANSACTION.search(problem):
        problem = _psql(access, database, file)
    assert problem == "", text


def _psql(access: ServerAccess, database: str, file: Path, *options: str) -> str:
    settings = ["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose", "--no-psqlrc", "--quiet"]
    with client_environment(access, database) as environment:
        done = subprocess.run(
            [_PROGRAMS / "psql", *settings, *options, f"--file={file}"],
            env=environment | {"LC_MESSAGES": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stderr if done.returncode else ""


def dump_schema(access: ServerAccess, database: str) -> str:
    """What `pg_dump --schema-only` says, our own tables left out."""
    ours = ["--exclude-table=public.squizzle_history", "--exclude-schema=squizzle"]
    with client_environment(access, database) as environment:
        return subprocess.run(
            [_PROGRAMS / "pg_dump", "--schema-only", "--restrict-key=key", *ours],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
