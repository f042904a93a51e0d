"""A process that runs a client program, so that a test can interrupt or kill the one who owns it.

    python -m tests.support.owner_process HOST PORT USER DATABASE PROGRAM [ARGUMENT …]

It prints how `run_client` ended.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from squizzle.errors import ToolError
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.client_run import run_client
from squizzle.postgres.secret import Secret

PASSWORD = "Planted-owner-71d2"


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    host, port, user, database, program, *arguments = sys.argv[1:]
    access = ServerAccess(host=host, port=int(port), user=user, password=Secret(PASSWORD))
    try:
        run_client(
            Path(program),
            arguments,
            access=access,
            database=database,
            doing="wait",
            timeout=timedelta(minutes=1),
        )
    except KeyboardInterrupt:
        say("interrupted")
    except ToolError as exc:
        say(f"failed with {exc.exit_code}")
    else:
        say("ended")


if __name__ == "__main__":
    main()
