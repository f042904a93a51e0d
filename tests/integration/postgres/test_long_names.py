"""A name that PostgreSQL would cut is another one's: it is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from squizzle.errors import InvalidInputError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.recovery.fence import fence, is_fenced
from squizzle.recovery.new_database import drop_database
from squizzle.recovery.recovery_target import parse_target
from tests.support.nasty_names import texts
from tests.support.scratch import new_database

pytestmark = pytest.mark.one_server
SETTINGS = settings(
    deadline=None,
    max_examples=8,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
# What PostgreSQL would cut to the name of a database that is there: all that is behind its 63 bytes.
tails = texts.filter(lambda text: text != "" and text.isprintable())


def refuses(work: Callable[[], object]) -> bool:
    with pytest.raises(InvalidInputError, match="PostgreSQL keeps 63"):
        work()
    return True


@given(tails)
@SETTINGS
def test_nothing_is_reached_whose_name_begins_like_the_one_that_was_said(
    access: ServerAccess, control: Connection, tail: str
) -> None:
    with new_database(control, sql.SQL("TEMPLATE template0"), prefix="x" * 50) as made:
        there = f"{made}{'x' * (63 - len(made))}"
        control.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(made), sql.Identifier(there)))
        said = there + tail
        try:
            assert refuses(lambda: connect(access, said, purpose="test"))
            assert refuses(lambda: Target(database=said))
            assert refuses(lambda: Target(database=there, schema=said))
            assert refuses(lambda: fence(control, said))
            assert refuses(lambda: drop_database(control, said))
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(said), sql.Identifier("taken"))
            assert refuses(lambda: control.execute(rename))
            create = sql.SQL("CREATE ROLE {}").format(sql.Identifier(said))
            assert refuses(lambda: control.execute(create))
            assert refuses(lambda: control.cursor().executemany(create, [()]))
            assert refuses(lambda: parse_target(to_name=said))
            assert not is_fenced(control, there)
        finally:
            back = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(there), sql.Identifier(made))
            control.execute(back)
    assert control.execute("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'xxxx')").fetchone() == (0,)


@given(st.integers(0, 40))
@SETTINGS
def test_sixty_three_bytes_are_counted_as_the_database_counts_them(latin: Connection, accents: int) -> None:
    name = "\N{LATIN SMALL LETTER E WITH ACUTE}" * accents + "x" * (63 - accents)
    latin.execute(sql.SQL("CREATE TABLE {} ()").format(sql.Identifier(name)))
    assert latin.execute("SELECT relname::text FROM pg_class WHERE relname = %s", (name,)).fetchone() == (name,)
    latin.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    assert refuses(lambda: latin.execute(sql.SQL("CREATE TABLE {} ()").format(sql.Identifier(f"{name}x"))))


@pytest.fixture
def latin(access: ServerAccess, control: Connection) -> Iterator[Connection]:
    how = sql.SQL("TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with new_database(control, how) as name, connect(access, name, purpose="test") as session:
        yield session
