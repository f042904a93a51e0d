"""Squizzle's own command, as the account of a server can start it: for `archive_command` and `restore_command`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from squizzle.errors import CouldNotVerifyError, EmbeddedServerError
from squizzle.postgres.embedded import Runtime

_PROGRAM = "from squizzle.cli.main import main; main()"
_SYSTEMS_PYTHON = Path("/usr/bin/python3")


def own_program(runtime: Runtime) -> str:
    """The beginning of a shell command that runs this very Squizzle under a server's account.

    That account may not enter the folder that our Python lies in, such as a home: then the system's Python reads our
    code, as the verbs that a server runs need nothing that was compiled.

    Raises:
        CouldNotVerifyError: The account can start neither. Nothing was made.
    """
    packages = ":".join(
        dict.fromkeys(str(place) for place in (Path(__file__).parents[2], Path(click.__file__).parents[1]))
    )
    pythons = (Path(sys.executable).resolve(), _SYSTEMS_PYTHON)
    commands = [
        [str(Path(sys.executable).with_name("squizzle"))],
        *(["/usr/bin/env", f"PYTHONPATH={packages}", str(python), "-PBc", _PROGRAM] for python in pythons),
    ]
    for command in commands:
        try:
            runtime.run([*command, "archive-wal", "--help"])
        except EmbeddedServerError:
            continue
        return shlex.join(command)
    raise CouldNotVerifyError(
        f"the account {runtime.uid} of the embedded server can start neither Squizzle nor a Python that reads it, so it"
        " cannot archive",
        hint="install Squizzle below a folder that everybody may enter, such as /opt/squizzle",
    )
