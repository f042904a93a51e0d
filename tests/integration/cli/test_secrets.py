"""A password never comes out again, whatever goes wrong."""

from __future__ import annotations

import secrets
from urllib.parse import quote

import pytest
from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.embedded import ServerAddress
from tests.integration.cli.conftest import Done, Squizzle
from tests.integration.migrations.conftest import Folder

pytestmark = pytest.mark.one_server

PASSWORD = f"pl4nted/{secrets.token_hex(4)}@:%"
ENCODED = quote(PASSWORD, safe="")


def assert_hidden(done: Done) -> None:
    for text in (done.out, done.err):
        assert PASSWORD not in text
        assert ENCODED not in text
        assert PASSWORD[:16] not in text
    assert "Traceback" not in done.err


@pytest.fixture
def owner(control: Connection, role: str) -> str:
    """A superuser with the password."""
    control.execute(sql.SQL("ALTER ROLE {} SUPERUSER PASSWORD {}").format(sql.Identifier(role), PASSWORD))
    return role


VERBS = [["status"], ["apply", "--all"], ["apply", "--all", "--dry-run"], ["verify"], ["digest"], ["rollback", "0001"]]


def test_a_password_in_a_url_that_works_is_never_shown(
    offline: Squizzle, shop_folder: Folder, address: ServerAddress, database: str, owner: str
) -> None:
    url = f"postgresql://{owner}:{ENCODED}@{address.host}:{address.port}/{database}"
    shop_folder.write("0002", "SELECT 1 / 0")

    for verb in VERBS:
        done = offline(*verb, "--json", "--url", url)
        assert done.code == (1 if verb == ["apply", "--all"] else 0), done.err
        assert "everybody on this machine can read a password in --url" in done.err
        assert_hidden(done)
        quiet = offline(*verb, DATABASE_URL=url)
        assert "warning" not in quiet.err
        assert_hidden(quiet)


BROKEN = [
    "postgresql://app:{}@127.0.0.1:1/shop",
    "postgresql://app:{}@nowhere.invalid/shop?connect_timeout=2",
    "postgresql://app:{}@%2Fnowhere/shop",
    "postgresql://app:{}@db:port/shop",
    "postgresql://app:{}@db:1,2/shop",
    "postgresql://app:{}@db",
    "postgresql://app:{}@db/shop?sslmode=nonsense",
    "postgresql://app:{}@127.0.0.1:99999/shop",
    "postgresql://app:{}@[::1/shop",
    "postgresql://app:{}%@db/shop",
    "postgresql://app:{}@db/shop?nonsense=1",
    "postgresql://db/shop?password={}&port=x",
    "host=db password={} dbname",
    "password={} dbname=shop host=nowhere.invalid nonsense=1",
    "://app:{}@db/shop",
]


@pytest.mark.parametrize("url", BROKEN)
def test_a_password_in_a_url_that_does_not_work_is_never_shown(offline: Squizzle, url: str) -> None:
    for done in (
        offline("status", "--json", "--url", url.format(ENCODED)),
        offline("status", DATABASE_URL=url.format(ENCODED)),
    ):
        assert done.code in {2, 3}, done.err
        assert_hidden(done)


def test_a_wrong_password_is_never_shown(offline: Squizzle, address: ServerAddress, database: str) -> None:
    url = f"postgresql://{address.user}:{ENCODED}@{address.host}:{address.port}/{database}"

    for done in (offline("status", "--json", "--url", url), offline("status", DATABASE_URL=url)):
        assert done.code == 4
        assert_hidden(done)


@pytest.mark.parametrize(
    "config",
    [
        '[environments.a]\nurl = "postgresql://app:{}@db/shop"\n',
        '[environments.a]\nurl = "postgresql://app:{}@db:x/shop"\n',
        '[environments.a]\nurl = "host=db password={} dbname=shop"\n',
        '[environments.a]\npassword = "{}"\nurl = "postgresql:///a"\n',
        '[environments.a]\nurl = "postgresql:///a"\npassword_env = "{}"\n',
    ],
)
def test_a_password_in_the_configuration_is_refused_and_never_shown(offline: Squizzle, config: str) -> None:
    offline.configure(config.format(ENCODED))

    done = offline("status", "--env", "a", "--json")

    assert done.code == 2
    if "password_env" not in config:  # there it is taken for the name of a variable
        assert_hidden(done)


def test_an_argument_that_is_not_utf8_is_refused_without_a_traceback(offline: Squizzle) -> None:
    done = offline("status", "--json", "--url", f"postgresql://app:{ENCODED}\udcff@db/shop")

    assert done.code == 2
    assert_hidden(done)


@pytest.mark.usefixtures("shop_folder")
def test_a_password_of_the_environment_is_used_and_never_shown(
    offline: Squizzle, address: ServerAddress, database: str, owner: str
) -> None:
    place = f"{address.host}:{address.port}/{database}"
    offline.configure(f'[environments.a]\nurl = "postgresql://{owner}@{place}"\npassword_env = "A_PASSWORD"\n')

    right = offline("apply", "--all", "--env", "a", "--json", A_PASSWORD=PASSWORD)
    wrong = offline("status", "--env", "a", "--json", A_PASSWORD=f"{PASSWORD}x")

    assert (right.code, wrong.code) == (0, 4)
    assert_hidden(right)
    assert_hidden(wrong)
