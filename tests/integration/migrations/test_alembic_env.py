"""Alembic's env.py on our own session: what of it counts, what is refused, and what it cannot do to us."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from squizzle.errors import DatabaseState, InvalidInputError, MigrationFailedError, VersionConflictError
from squizzle.migrations.adoption import adopt_history, preview_adoption
from squizzle.migrations.bookkeeping.alembic import AlembicBooks
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from tests.integration.conftest import access_to
from tests.support.alembic_project import NO_TABLE, TABLE, Project, alembic_heads, alembic_upgrade, failed

Look = Callable[..., set[str]]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


# What Alembic does depends on no version of the server: the one that is always there is enough.
@pytest.fixture(scope="module")
def address(servers: Callable[[str], ServerAddress]) -> ServerAddress:
    return servers("embedded")


@pytest.fixture(scope="module")
def access(address: ServerAddress) -> ServerAccess:
    return access_to(address)


# --- env.py --------------------------------------------------------------------------------------------------------

ATTRIBUTES = """\
if context.is_offline_mode():
    raise NotImplementedError("no offline mode")
connection = context.config.attributes.get("connection")
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""


@pytest.mark.parametrize(
    "end", [ATTRIBUTES, ATTRIBUTES.partition("\n")[2].partition("\n")[2]], ids=["refuses", "has none"]
)
def test_an_env_py_without_offline_mode_that_takes_the_connection_it_is_given_is_run(
    connection: Connection, target: Target, project: Project, end: str
) -> None:
    project.env(end)
    project.revision("aaaa1", TABLE.format("one"))

    apply_versions(connection, target, project.read())

    assert alembic_heads(connection) == {"aaaa1"}


ENVIRONMENTS = {
    "online in any case": ("online()", "opens a connection of its own"),
    "refuses offline, opens its own": (
        "if context.is_offline_mode():\n    raise SystemExit('no')\nonline()",
        "opens a connection of its own",
    ),
    "an import that is missing": ("import shop_models", "env.py:19 failed: ModuleNotFoundError: No module named"),
    "no run": ("", "ended without calling context.run_migrations"),
    "two databases": (
        'for name in "ab":\n    context.configure(url=f"postgresql://{name}/x")\n    context.run_migrations()',
        "migrates more than one database",
    ),
}


@pytest.mark.parametrize(("end", "words"), ENVIRONMENTS.values(), ids=ENVIRONMENTS.keys())
def test_an_env_py_that_cannot_be_run_on_our_session_is_refused(
    connection: Connection, target: Target, project: Project, look: Look, end: str, words: str
) -> None:
    project.env(end)
    project.revision("aaaa1", TABLE.format("one"))

    error = failed(
        InvalidInputError, lambda: apply_versions(connection, target, project.read()), DatabaseState.UNTOUCHED
    )

    assert words in error.message
    assert str(project.path / "env.py") in error.message
    assert look(connection) == set()


def test_an_env_py_that_goes_from_schema_to_schema_is_one_commit(
    connection: Connection, target: Target, project: Project, look: Look
) -> None:
    connection.execute("CREATE SCHEMA a; CREATE SCHEMA b")
    project.env(
        'for name in "ab":\n'
        '    context.configure(url="postgresql://x/y", version_table_schema=name)\n'
        '    context.execute(f"SET LOCAL search_path = {name}")\n'
        "    with context.begin_transaction():\n        context.run_migrations()\n"
    )
    project.revision("aaaa1", TABLE.format("one"), down=NO_TABLE.format("one"))
    connection.execute("CREATE TABLE b.one (a int)")
    failed(MigrationFailedError, lambda: apply_versions(connection, target, project.read()), DatabaseState.UNTOUCHED)
    assert look(connection, "a") == set()

    connection.execute("DROP TABLE b.one")
    apply_versions(connection, target, project.read())
    assert "one" in look(connection, "a") & look(connection, "b")
    roll_back_versions(connection, target, project.read(), only="aaaa1")
    assert "one" not in look(connection, "a") | look(connection, "b")


@pytest.mark.parametrize("template", ["generic", "async", "pyproject", "pyproject_async"])
def test_what_alembic_init_writes_is_run_as_it_is_from_any_folder(
    connection: Connection, target: Target, tmp_path: Path, template: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        config = Config(home / "alembic.ini", toml_file=home / "pyproject.toml")
        command.init(config, "migrations", template=template)
        command.revision(config, "first", rev_id="aaaa1")
    logger = logging.getLogger("squizzle.test")

    migrations = read_migrations(home)
    apply_versions(connection, target, migrations)

    assert [one.version for one in migrations] == ["0001-aaaa1"]
    assert alembic_heads(connection) == {"aaaa1"}
    assert not logger.disabled  # env.py calls fileConfig
    for folder in (home / "migrations", home / "migrations" / "versions"):
        assert apply_versions(connection, target, read_migrations(folder)).outcomes == ()


def test_a_project_travels_without_what_it_has_loaded(project: Project) -> None:
    project.revision("aaaa1", "pass")
    (migration,) = project.read()

    copy = pickle.loads(pickle.dumps(migration))  # noqa: S301 - our own

    assert copy == migration
    assert copy.program.has_way_back


def books(project: Project) -> AlembicBooks:
    return AlembicBooks(project.path, project.read())


# --- taking over ---------------------------------------------------------------------------------------------------


def test_what_alembic_applied_is_adopted_with_all_that_it_needed(
    connection: Connection, target: Target, project: Project, look: Look
) -> None:
    project.revision("base1", TABLE.format("base"))
    project.revision("left1", TABLE.format("l1"), after="base1")
    project.revision("right1", TABLE.format("r1"), after="base1")
    project.revision("both", "pass", after=("left1", "right1"))
    alembic_upgrade(project, connection, "left1")
    before = look(connection)
    assert len(preview_adoption(connection, target, books(project)).adopted) == 2
    assert look(connection) == before

    adopted = adopt_history(connection, target, books(project)).adopted

    assert [(one.migration.version, one.applied_at) for one in adopted] == [("0001-base1", None), ("0002-left1", None)]
    assert [one.version for one in read_status(connection, target, project.read()).pending] == [
        "0002-right1",
        "0003-both",
    ]
    apply_versions(connection, target, project.read())
    assert alembic_heads(connection) == {"both"}


def test_a_revision_that_is_not_on_disk_is_not_adopted(
    connection: Connection, target: Target, project: Project
) -> None:
    file = project.revision("aaaa1", TABLE.format("one"))
    project.revision("bbbb2", "pass")
    alembic_upgrade(project, connection, "aaaa1")
    file.unlink()

    with pytest.raises(VersionConflictError, match="not in the migrations folder: aaaa1"):
        adopt_history(connection, target, books(project))
