"""The options that every verb takes, and what they add up to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from squizzle.cli.names import environments
from squizzle.cli.output import say
from squizzle.config import LAYOUTS, PRODUCTION, Config, load_config, resolve_environment, resolve_url
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.migrations.records import Migration, Policy
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Identity, Target

_OPTIONS = (
    click.option(
        "--env", "environment", metavar="NAME", help="An environment of squizzle.toml.", shell_complete=environments
    ),
    click.option("--url", metavar="URL", help="A connection string; without --env and --url: DATABASE_URL."),
    click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="squizzle.toml."),
    click.option("--migrations", type=click.Path(path_type=Path), metavar="DIR", help="The migrations folder."),
    click.option("--layout", type=click.Choice(LAYOUTS), default=None, help="How the migrations folder is laid out."),
    click.option("--schema", metavar="NAME", help="The schema that scripts work in and that holds the history."),
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else."),
    click.option("--yes", is_flag=True, help="Answer a question with yes; never an approval."),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """What the common options say."""

    environment: str | None
    url: str | None
    config: Config
    migrations_folder: Path | None
    layout: str | None
    schema: str | None
    as_json: bool
    yes: bool

    def target(self) -> tuple[ServerAccess, Target]:
        """The server, the database, and who the caller means by it.

        Raises:
            InvalidInputError: Nothing, or two things, say which database.
        """
        if self.environment and self.url:
            raise InvalidInputError("--env and --url both name a database", hint="give one of them")
        if self.environment:
            return resolve_environment(self.config, self.environment, schema=self.schema)
        url = self.url or os.environ.get("DATABASE_URL")
        if not url:
            raise InvalidInputError("no database named", hint="give --env NAME or --url URL, or set DATABASE_URL")
        access, target = resolve_url(self.config, url, schema=self.schema)
        if self.url and access.password is not None:
            say("warning: everybody on this machine can read a password in --url; DATABASE_URL keeps it private")
        return access, target

    @property
    def folder(self) -> Path:
        """The migrations folder."""
        return self.migrations_folder or self.config.migrations

    def folder_layout(self) -> str:
        """How the migrations folder is laid out: what was said, else what it looks like.

        Raises:
            InvalidInputError: Nothing was said, and nothing or too much can be told from the folder.
        """
        said = self.layout or self.config.layout
        return detect_layout(self.folder) if said == "auto" else said

    def migrations(self) -> tuple[Migration, ...]:
        """What is on disk.

        Raises:
            InvalidInputError, VersionConflictError: See `read_migrations`.
        """
        return read_migrations(self.folder, self.folder_layout(), placeholders=placeholders_of(os.environ))

    def policy(self, *, save_rows: bool) -> Policy:
        """What the project allows, with what the command adds."""
        policy = self.config.policy
        return replace(policy, save_rows=True) if save_rows else policy

    def must_confirm(self, target: Target, identity: Identity | None) -> bool:
        """Whether a change is asked about first: in production, unless it was answered already."""
        environments = {target.environment, identity.environment if identity else None}
        return PRODUCTION in environments and not self.yes

    def confirm(self, action: str, target: Target, identity: Identity | None) -> None:
        """Ask before a change in production; anywhere else say nothing.

        Raises:
            RefusedError: Nobody is there to ask, or the answer was no.
        """
        if not self.must_confirm(target, identity):
            return
        if not sys.stdin.isatty():
            raise RefusedError(f"{action} in production needs a yes", hint="run it at a terminal, or add --yes")
        if not click.confirm(f"PRODUCTION {target.database}: {action}?", err=True):
            raise RefusedError(f"{action}: the answer was no", hint="nothing was changed")


def common_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the common options; the verb gets them as one `Invocation`."""

    @wraps(verb)
    def with_invocation(
        *,
        environment: str | None,
        url: str | None,
        config_file: Path | None,
        migrations: Path | None,
        layout: str | None,
        schema: str | None,
        as_json: bool,
        yes: bool,
        **own: Any,
    ) -> Any:
        invocation = Invocation(
            environment=environment,
            url=url,
            config=load_config(config_file),
            migrations_folder=migrations,
            layout=layout,
            schema=schema,
            as_json=as_json,
            yes=yes,
        )
        return verb(invocation, **own)

    for option in reversed(_OPTIONS):
        with_invocation = option(with_invocation)
    return with_invocation
