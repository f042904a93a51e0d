"""Runs `apply` in a process of its own as often as it is told to: `python -m tests.support.applier FOLDER [VERSION]`.

With a version, it applies nothing behind that one. Every line on standard input, `HOST PORT USER DATABASE`, is one run. Its process id is written when it begins and its
exit code, or minus the signal that ended it, when it is over. A run is forked off, so that it needs no time to start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from squizzle.errors import SquizzleError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.migrations.records import Migration
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.identity import Target


def run(migrations: tuple[Migration, ...], to: str | None, line: str) -> int:
    """Apply what is pending; the exit code that the command would have."""
    host, port, user, database = line.split()
    access = ServerAccess(host=host, port=int(port), user=user)
    try:
        with connect(access, database, purpose="test run") as connection:
            apply_versions(connection, Target(database=database), migrations, to=to)
    except SquizzleError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.code
    return 0


def say(number: int) -> None:
    """One line to whoever gives the orders."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    """Wait for lines until there are no more."""
    migrations = read_migrations(Path(sys.argv[1]))
    to = sys.argv[2] if len(sys.argv) > 2 else None
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(run(migrations, to, line))
        say(pid)
        _, status = os.waitpid(pid, 0)
        say(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
