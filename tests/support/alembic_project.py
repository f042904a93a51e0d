"""Alembic projects that a test writes, and what Alembic itself says about a database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from squizzle.errors import DatabaseState, SquizzleError
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.records import Migration
from squizzle.postgres.access import Connection

OFFLINE = """\
def offline(**options):
    context.configure(url="postgresql://nobody@nowhere.example/none", literal_binds=True,
                      dialect_opts={"paramstyle": "named"}, **options)
    with context.begin_transaction():
        context.run_migrations()
"""
ONLINE = """\
def online(**options):
    engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with engine.connect() as connection:
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
"""
ENV = f"""\
import sqlalchemy as sa
from alembic import context

{OFFLINE}

{ONLINE}

"""
USUAL = "offline() if context.is_offline_mode() else online()\n"

# What most revisions of tests do, and undo.
TABLE = 'op.create_table("{0}", sa.Column("id", sa.Integer, primary_key=True))'
NO_TABLE = 'op.drop_table("{0}")'


class Project:
    """A folder with env.py and revision files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "versions").mkdir(parents=True)
        (path / "script.py.mako").touch()
        self.env(USUAL)

    def env(self, end: str) -> None:
        """Write env.py; `end` says which way it goes."""
        (self.path / "env.py").write_text(ENV + end, encoding="utf-8")

    def revision(self, name: str, up: str, *, down: str = "pass", after: object = None, needs: object = None) -> Path:
        """Write one revision file; `up` and `down` are the lines of its functions, `op` and `sa` are there."""
        file = self.path / "versions" / f"{name}_change.py"
        functions = "".join(
            f"\n\ndef {way}():\n" + "".join(f"    {line}\n" for line in body.splitlines())
            for way, body in (("upgrade", up), ("downgrade", down))
        )
        head = f'"""Change {name}."""\nimport sqlalchemy as sa\nfrom alembic import context, op\n'
        head += f"revision = {name!r}\ndown_revision = {after!r}\ndepends_on = {needs!r}\n"
        file.write_text(head + functions, encoding="utf-8")
        # Python takes a file of the same second and length for the one that it has compiled.
        for compiled in file.parent.glob("__pycache__/*"):
            compiled.unlink()
        return file

    def read(self) -> tuple[Migration, ...]:
        return read_migrations(self.path, "alembic")


def alembic_heads(connection: Connection, **options: str) -> set[str]:
    """What `alembic current` says: Alembic's own look at its own table, with a connection of its own."""
    info = connection.info
    url = sa.URL.create(
        "postgresql+psycopg",
        username=info.user,
        database=info.dbname,
        query={"host": info.host, "port": str(info.port)},
    )
    with sa.create_engine(url, poolclass=NullPool).connect() as own:
        return set(MigrationContext.configure(own, opts=options).get_current_heads())


def alembic_upgrade(project: Project, connection: Connection, to: str = "heads") -> None:
    """Run `alembic upgrade` as Alembic does, in a session of its own and without anything of ours."""
    info = connection.info
    config = Config()
    config.set_main_option("script_location", str(project.path))
    scripts = ScriptDirectory.from_config(config)
    url = sa.URL.create(
        "postgresql+psycopg",
        username=info.user,
        database=info.dbname,
        query={"host": info.host, "port": str(info.port)},
    )
    with (
        sa.create_engine(url, poolclass=NullPool).begin() as own,
        EnvironmentContext(config, scripts, fn=lambda heads, _: scripts._upgrade_revs(to, heads)) as environment,
    ):
        environment.configure(connection=own)
        environment.run_migrations()


def failed(kind: type[SquizzleError], run: Callable[[], object], state: DatabaseState) -> SquizzleError:
    """The error of a run, which must be of this kind, say this state, and have a hint."""
    with pytest.raises(SquizzleError) as caught:
        run()
    assert type(caught.value) is kind, caught.value
    assert caught.value.database_state is state
    assert caught.value.hint
    return caught.value
