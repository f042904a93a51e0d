"""Verbs that make files: init, new."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.config import CONFIG_NAME
from squizzle.errors import InvalidInputError
from squizzle.migrations.versions import version_key

_CONFIG = """\
# Squizzle's settings. Passwords never stand here: name an environment variable that holds them.

[project]
name = "{name}"
migrations = "migrations"    # the folder of versions, seen from this file
schema = "public"            # the schema that scripts work in; it holds squizzle_history, too

[timeouts]
lock = "50ms"                # lock_timeout of DDL: nobody waits behind us for longer; then it is tried again
rows = "5s"                  # lock_timeout of statements that only read and write rows
statement = "1h"             # statement_timeout of every statement
budget = "5m"                # after that no further try is made

# [batches]                    # for statements marked "-- squizzle: batch key=id", a transaction each
# size = 5000                  # rows of the first batch; the next ones follow the target
# target = "100ms"             # how long a batch should take: nobody waits for its row locks for longer
# automatic_rows = 1000000     # also without a mark: UPDATE and DELETE of so many rows

# One section a database. `--env staging` uses this one.
[environments.staging]
url = "postgresql://app@localhost:5432/{name}"
# url_env = "STAGING_URL"             # or: the variable that holds the whole connection string
# password_env = "STAGING_PASSWORD"   # the variable that holds the password
# database_id = "…"                   # the id in squizzle.identity: refuse any other database

# An environment called production asks before it is changed, and takes only what was rehearsed.
# [environments.production]
# url_env = "PRODUCTION_URL"

# [rehearsal]
# required_for = ["production"]       # nothing is applied there without a certificate that counts
# max_age = "7d"                      # an older certificate no longer does
"""

_UP = """\
-- {name}: say why this is needed, and which lock it takes for how long.
"""
_DOWN = """\
-- The way back from {name}: schema and data as they were before up.sql.
"""
_VERIFY = """\
-- One boolean a query; every row must be true, and one row must come back. For example:
-- SELECT to_regclass('{name}') IS NOT NULL;
"""

# Layouts with one folder a version.
_FOLDER_LAYOUTS = frozenset({"native", "diesel"})


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def init(folder: Path, *, as_json: bool) -> None:
    """Write a commented squizzle.toml and an empty migrations folder; what exists is left alone.

    \b
    Examples:
      squizzle init
      squizzle init shop
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    config = folder / CONFIG_NAME
    if config.exists():
        raise InvalidInputError(f"{config} exists already", hint="edit it, or name another folder")
    name = re.sub(r"[^a-z0-9_]+", "_", folder.resolve().name.lower()).strip("_") or "app"
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(_CONFIG.format(name=name), encoding="utf-8")
        (folder / "migrations").mkdir(exist_ok=True)
    say(f"wrote {config} and {folder / 'migrations'}")
    say("next: squizzle new create_users")
    print_result({"config": str(config), "migrations": str(folder / "migrations")}, "", as_json=as_json)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InvalidInputError(
            f"{exc.filename or folder} cannot be written: {exc.strerror}",
            hint="check owner and mode, or name another folder",
        ) from exc


@click.command()
@click.argument("name")
@common_options
def new(invocation: Invocation, name: str) -> None:
    """Make the next version's folder with up.sql, down.sql and verify.sql.

    \b
    Examples:
      squizzle new create_users
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InvalidInputError(f"{name!r} cannot be a migration's name", hint="letters, digits and _ (create_users)")
    layout = invocation.folder_layout()
    if layout not in _FOLDER_LAYOUTS:
        raise InvalidInputError(
            f"{invocation.folder} is laid out for {layout}, and `new` makes a folder with up.sql and down.sql",
            hint=f"make the files by hand, or with {layout} itself",
        )
    version = next_version([migration.version for migration in invocation.migrations()])
    folder = invocation.folder / f"{version}_{name}"
    with _writing(folder):
        folder.mkdir()
        for file, text in (("up.sql", _UP), ("down.sql", _DOWN), ("verify.sql", _VERIFY)):
            (folder / file).write_text(text.format(name=name), encoding="utf-8")
    print_result({"version": version, "path": str(folder)}, str(folder), as_json=invocation.as_json)


def next_version(existing: list[str]) -> str:
    """The version after the highest one, written like it: `0009` → `0010`, `1.9.0` → `1.9.1`; the first is `0001`."""
    if not existing:
        return "0001"
    highest = max(existing, key=version_key)
    head, number, tail = re.fullmatch(r"(.*?)(\d+)(\D*)", highest, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{head}{int(number) + 1:0{len(number)}d}{tail}"
