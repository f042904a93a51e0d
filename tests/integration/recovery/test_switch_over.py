"""Two databases change places: at every moment there is exactly one of the name, and nothing of it is lost."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle

import psycopg
import pytest
from psycopg import sql

from squizzle.errors import DatabaseError, DatabaseState, RecoveryError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import DatabaseProperties, read_properties
from squizzle.recovery.fence import control_session, fence, is_fenced, session_through_fence, unfence
from squizzle.recovery.new_database import drop_database
from squizzle.recovery.switch_over import SwitchOver, changed_properties, switch_over, unused_name
from tests.support.hammer import NAME, hammering
from tests.support.names import clients_in, databases
from tests.support.processes import wait_until
from tests.support.scratch import drop_databases, new_role


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The names of a switch-over, and which database is which."""

    database: str
    restored: str
    keep_as: str
    damaged_oid: int
    restored_oid: int

    @property
    def before(self) -> dict[str, int]:
        return {self.database: self.damaged_oid, self.restored: self.restored_oid}

    @property
    def after(self) -> dict[str, int]:
        return {self.database: self.restored_oid, self.keep_as: self.damaged_oid}


def run(control: Connection, statement: str, **names: str) -> None:
    control.execute(sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))  # type: ignore[arg-type]


def found(control: Connection, pair: Pair) -> dict[str, int]:
    """Every database of the switch-over with its identity."""
    rows = control.execute("SELECT datname, oid::int FROM pg_database WHERE starts_with(datname, %s)", (pair.database,))
    return dict(rows.fetchall())


def make_pair(control: Connection, database: str) -> Pair:
    """A damaged database and a restored one beside it."""
    run(control, "CREATE DATABASE {new} TEMPLATE template0 STRATEGY file_copy", new=database)
    run(control, "CREATE DATABASE {new} TEMPLATE template0 STRATEGY file_copy", new=f"{database}__r")
    rows = control.execute("SELECT datname, oid::int FROM pg_database WHERE starts_with(datname, %s)", (database,))
    oids = dict(rows.fetchall())
    return Pair(
        database=database,
        restored=f"{database}__r",
        keep_as=f"{database}__old",
        damaged_oid=oids[database],
        restored_oid=oids[f"{database}__r"],
    )


@pytest.fixture
def own_pair(control: Connection) -> Iterator[Pair]:
    """For a test that gives its databases properties, which cannot be taken away without a trace."""
    name = f"own_{secrets.token_hex(4)}"
    yield make_pair(control, name)
    drop_databases(control, name)


@pytest.fixture(scope="module")
def shared_pair(access: ServerAccess) -> Iterator[Pair]:
    name = f"switch_{secrets.token_hex(4)}"
    with connect(access, "postgres", purpose="test") as control:
        yield make_pair(control, name)
        drop_databases(control, name)


@pytest.fixture
def pair(access: ServerAccess, control: Connection, shared_pair: Pair) -> Iterator[Pair]:
    """For a test that only moves names; afterwards each database has its own again, is open, and is empty."""
    yield shared_pair
    names = {oid: name for name, oid in found(control, shared_pair).items()}
    for oid, name in names.items():
        fence(control, name)
        run(control, "ALTER DATABASE {old} RENAME TO {new}", old=name, new=f"{shared_pair.database}__{oid}")
    drop_databases_but(control, shared_pair, {shared_pair.damaged_oid, shared_pair.restored_oid})
    for name, oid in shared_pair.before.items():
        run(control, "ALTER DATABASE {old} RENAME TO {new}", old=f"{shared_pair.database}__{oid}", new=name)
        run(control, "COMMENT ON DATABASE {name} IS NULL", name=name)
        unfence(control, name)
        with connect(access, name, purpose="test") as session:
            session.execute("DROP TABLE IF EXISTS mark, t")


def drop_databases_but(control: Connection, pair: Pair, oids: set[int]) -> None:
    for name, oid in found(control, pair).items():
        if oid not in oids:
            drop_databases(control, name)


def switch(control: Connection, pair: Pair, properties: DatabaseProperties | None = None) -> SwitchOver:
    return switch_over(
        control,
        database=pair.database,
        restored=pair.restored,
        keep_as=pair.keep_as,
        properties=properties or read_properties(control, pair.database),
    )


def test_restored_one_gets_the_name_and_the_damaged_one_is_kept(control: Connection, pair: Pair) -> None:
    done = switch(control, pair)
    assert done == SwitchOver(database=pair.database, kept_as=pair.keep_as, slots=())
    assert found(control, pair) == pair.after
    assert is_fenced(control, pair.database)
    assert is_fenced(control, pair.keep_as)


def test_rows_of_the_damaged_one_can_still_be_read(access: ServerAccess, control: Connection, pair: Pair) -> None:
    for name, mark in ((pair.database, "damaged"), (pair.restored, "restored")):
        with connect(access, name, purpose="test") as session:
            session.execute(sql.SQL("CREATE TABLE mark AS SELECT {} AS is").format(mark))
    switch(control, pair)
    for name, mark in ((pair.keep_as, "damaged"), (pair.database, "restored")):
        with session_through_fence(access, name, purpose="test") as session:
            assert session.execute("SELECT * FROM mark").fetchone() == (mark,)


PROPERTIES = (
    "ALTER DATABASE {db} OWNER TO {owner}",
    "REVOKE ALL ON DATABASE {db} FROM PUBLIC",
    "GRANT CONNECT, TEMPORARY ON DATABASE {db} TO {app} WITH GRANT OPTION",
    "GRANT CREATE ON DATABASE {db} TO {reader}",
    "ALTER DATABASE {db} CONNECTION LIMIT 77",
    r"""COMMENT ON DATABASE {db} IS 'it''s "the" shop \ ☃'""",
    "ALTER DATABASE {db} SET work_mem = '7MB'",
    'ALTER DATABASE {db} SET search_path = "$user", "Odd, ""Name""", public, "it\'s"',
    "ALTER DATABASE {db} SET temp_tablespaces = ''",
    """ALTER DATABASE {db} SET session_preload_libraries = 'auto_explain', '$libdir/plpgsql'""",
    """ALTER DATABASE {db} SET "DateStyle" = 'SQL, DMY'""",
    """ALTER DATABASE {db} SET "TimeZone" = 'Europe/Berlin'""",
    r"""ALTER DATABASE {db} SET my_app.secret_sauce = 'a=b, "c" ''d'' \ e'""",
    "ALTER DATABASE {db} SET my_app.empty = ''",
    "ALTER ROLE {app} IN DATABASE {db} SET statement_timeout = '30s'",
    """ALTER ROLE {app} IN DATABASE {db} SET search_path = "App Schema\"""",
    "ALTER ROLE {reader} IN DATABASE {db} SET default_transaction_read_only = on",
    "ALTER ROLE {reader} IN DATABASE {db} SET my_app.secret_sauce = 'mine'",
)


@pytest.fixture
def roles(control: Connection) -> Iterator[dict[str, str]]:
    """Roles whose names need quoting; they may own databases until the end of the test."""
    names = {}
    for key in ("owner", "app", "reader"):
        names[key] = f'{key} "x" {secrets.token_hex(4)}'
        run(control, "CREATE ROLE {name} LOGIN", name=names[key])
    yield names
    for name in names.values():
        run(control, "REASSIGN OWNED BY {name} TO CURRENT_USER", name=name)
        run(control, "DROP OWNED BY {name}", name=name)
        run(control, "DROP ROLE {name}", name=name)


def test_everything_that_belongs_to_the_database_itself_is_carried_over(
    control: Connection, own_pair: Pair, roles: dict[str, str]
) -> None:
    for statement in PROPERTIES:
        run(control, statement, db=own_pair.database, **roles)
    run(control, "ALTER DATABASE {db} IS_TEMPLATE true", db=own_pair.database)
    before = read_properties(control, own_pair.database)
    assert len(before.settings) == 12
    assert len(before.grants or ()) == 6
    assert before.is_template
    switch(control, own_pair)
    assert changed_properties(control, own_pair.database, before) == ()
    assert read_properties(control, own_pair.database) == before
    kept = read_properties(control, own_pair.keep_as)
    assert replace(kept, comment=before.comment) == before
    assert (kept.comment or "").startswith(f'squizzle: kept {{"of": "{own_pair.database}", "replaced_by": ')
    raw = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = %s"
    old, new = ({tuple(sorted(row[0])) for row in control.execute(raw, (name,))} for name in own_pair.after)
    assert old == new
    for name in own_pair.after:
        drop_database(control, name)
    assert found(control, own_pair) == {}


def test_settings_work_for_the_application_afterwards(
    access: ServerAccess, control: Connection, own_pair: Pair, roles: dict[str, str]
) -> None:
    for statement in PROPERTIES:
        run(control, statement, db=own_pair.database, **roles)
    run(control, "ALTER DATABASE {db} RESET session_preload_libraries", db=own_pair.database)
    query = (
        "SELECT current_setting('work_mem'), current_setting('search_path'), current_setting('my_app.secret_sauce'),"
        " current_setting('statement_timeout'), current_setting('DateStyle')"
    )
    seen = []
    for _ in range(2):
        with connect(replace(access, user=roles["app"]), own_pair.database, purpose="test") as session:
            seen.append(session.execute(query).fetchone())
        if len(seen) == 1:
            switch(control, own_pair)
            unfence(control, own_pair.database)
    assert seen[0] == seen[1] == ("7MB", '"App Schema"', "a=b, \"c\" 'd' \\ e", "30s", "SQL, DMY")


def test_privileges_that_were_never_touched_stay_untouched(control: Connection, own_pair: Pair) -> None:
    before = read_properties(control, own_pair.database)
    assert before.grants is None
    switch(control, own_pair)
    acl = "SELECT datacl IS NULL FROM pg_database WHERE datname = %s"
    assert control.execute(acl, (own_pair.database,)).fetchone() == (True,)
    assert changed_properties(control, own_pair.database, before) == ()


def test_mark_of_a_restore_does_not_become_the_databases_comment(control: Connection, pair: Pair) -> None:
    run(control, "COMMENT ON DATABASE {name} IS 'squizzle: being restored from backup b1'", name=pair.restored)
    switch(control, pair)
    assert read_properties(control, pair.database).comment is None


def test_privilege_granted_by_two_is_carried_over_once(
    control: Connection, own_pair: Pair, roles: dict[str, str]
) -> None:
    run(control, "GRANT CONNECT ON DATABASE {db} TO {app} WITH GRANT OPTION", db=own_pair.database, **roles)
    run(control, "GRANT CONNECT ON DATABASE {db} TO {reader}", db=own_pair.database, **roles)
    with control.transaction():
        run(control, "SET LOCAL ROLE {app}", **roles)
        run(control, "GRANT CONNECT ON DATABASE {db} TO {reader}", db=own_pair.database, **roles)
    before = read_properties(control, own_pair.database)
    switch(control, own_pair)
    assert changed_properties(control, own_pair.database, before) == ()


def test_owner_whose_own_right_was_revoked_gets_it_not_back(
    control: Connection, own_pair: Pair, roles: dict[str, str]
) -> None:
    run(control, "ALTER DATABASE {db} OWNER TO {owner}", db=own_pair.database, **roles)
    run(control, "REVOKE CREATE ON DATABASE {db} FROM {owner}", db=own_pair.database, **roles)
    before = read_properties(control, own_pair.database)
    switch(control, own_pair)
    assert changed_properties(control, own_pair.database, before) == ()


def test_what_did_not_come_over_is_named(control: Connection, own_pair: Pair) -> None:
    before = read_properties(control, own_pair.database)
    run(control, "ALTER DATABASE {db} CONNECTION LIMIT 5", db=own_pair.database)
    run(control, "COMMENT ON DATABASE {db} IS 'new'", db=own_pair.database)
    assert changed_properties(control, own_pair.database, before) == (
        "connection_limit: 5, expected -1",
        "comment: new, expected None",
    )


def test_switch_over_works_under_clients_that_come_back_at_once(
    access: ServerAccess, control: Connection, pair: Pair
) -> None:
    for name in (pair.database, pair.restored):
        with connect(access, name, purpose="test") as session:
            session.execute("CREATE TABLE t (n int)")
    stray = connect(access, pair.restored, purpose="test stray")
    with hammering(access, pair.database, work="INSERT INTO t VALUES (1)") as hammer:
        wait_until(lambda: hammer.connects >= 4, "all clients are in")
        switch(control, pair)
        assert found(control, pair) == pair.after
        assert clients_in(control, pair.database) == clients_in(control, pair.keep_as) == []
        with session_through_fence(access, pair.keep_as, purpose="test") as session:
            [(written,)] = session.execute("SELECT count(*) FROM t")
        unfence(control, pair.database)
        wait_until(lambda: clients_in(control, pair.database).count(NAME) >= 4, "they work on the new one")
        time.sleep(0.05)
    with session_through_fence(access, pair.keep_as, purpose="test") as session:
        assert session.execute("SELECT count(*) FROM t").fetchone() == (written,)
    with connect(access, pair.database, purpose="test") as session:
        assert session.execute("SELECT count(*) > 0 FROM t").fetchone() == (True,)
    with pytest.raises(psycopg.OperationalError):
        stray.execute("SELECT 1")
    stray.close()


def test_second_switch_over_changes_nothing_and_says_where_the_damaged_one_is(control: Connection, pair: Pair) -> None:
    properties = read_properties(control, pair.database)
    first = switch(control, pair, properties)
    unfence(control, pair.database)
    assert switch(control, pair, properties) == first
    assert found(control, pair) == pair.after
    assert not is_fenced(control, pair.database)


def test_missing_restored_database_is_refused(control: Connection, pair: Pair) -> None:
    with pytest.raises(RecoveryError, match="cannot switch"):
        switch(control, replace(pair, restored=f"{pair.database}__never"))
    assert found(control, pair) == pair.before
    assert not is_fenced(control, pair.database)


def test_taken_name_to_keep_is_refused(control: Connection, pair: Pair) -> None:
    run(control, "CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy", name=pair.keep_as)
    before = found(control, pair)
    with pytest.raises(RecoveryError, match=pair.keep_as):
        switch(control, pair)
    assert found(control, pair) == before
    assert not is_fenced(control, pair.database)
    assert not is_fenced(control, pair.restored)


def test_missing_damaged_database_is_refused(control: Connection, pair: Pair) -> None:
    properties = read_properties(control, pair.database)
    run(control, "ALTER DATABASE {old} RENAME TO {new}", old=pair.database, new=f"{pair.database}_elsewhere")
    before = found(control, pair)
    with pytest.raises(RecoveryError, match="cannot switch"):
        switch(control, pair, properties)
    assert found(control, pair) == before


@pytest.mark.parametrize("where", ["database", "restored"])
def test_prepared_transaction_in_the_way_is_named_and_nothing_happens(
    access: ServerAccess, control: Connection, pair: Pair, where: str
) -> None:
    name = getattr(pair, where)
    gid = f"it's in the way {name}"
    with connect(access, name, purpose="test") as session:
        session.execute("CREATE TABLE t (n int)")
        session.execute("BEGIN; INSERT INTO t VALUES (1)")
        session.execute(sql.SQL("PREPARE TRANSACTION {}").format(gid))
        session.execute("SELECT 1")
    try:
        with pytest.raises(RecoveryError) as caught:
            switch(control, pair)
        assert gid in caught.value.message
        assert "ROLLBACK PREPARED" in caught.value.hint
        assert found(control, pair) == pair.before
        assert not is_fenced(control, pair.database)
    finally:
        with connect(access, name, purpose="test") as session:
            session.execute(sql.SQL("ROLLBACK PREPARED {}").format(gid))


def test_property_that_cannot_be_given_undoes_the_renames(control: Connection, pair: Pair) -> None:
    properties = replace(read_properties(control, pair.database), owner="no such role")
    with pytest.raises(DatabaseError, match='role "no such role" does not exist') as caught:
        switch(control, pair, properties)
    assert caught.value.database_state is DatabaseState.UNTOUCHED
    assert found(control, pair) == pair.before
    assert is_fenced(control, pair.database)


def test_stranger_may_not_switch_anything(access: ServerAccess, control: Connection, pair: Pair) -> None:
    with (
        new_role(control, sql.SQL("LOGIN")) as role,
        control_session(replace(access, user=role), purpose="test") as stranger,
        pytest.raises(DatabaseError, match="must be owner"),
    ):
        switch(stranger, pair)
    assert found(control, pair) == pair.before


@pytest.mark.parametrize("name", ["host=x dbname=y", '-My "Shöp"; %s {}'])
def test_odd_names_are_only_names(control: Connection, name: str) -> None:
    names = {"database": name, "restored": f"{name} r", "keep_as": f"{name} 'old'"}
    for one in (names["database"], names["restored"]):
        run(control, "CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy", name=one)
    try:
        switch_over(control, **names, properties=read_properties(control, name))
        assert databases(control, name) == {name, names["keep_as"]}
    finally:
        drop_databases(control, name)


class Killer(threading.Thread):
    """Ends a session at a moment of its choice."""

    def __init__(self, access: ServerAccess, pid: int, *, delay: float = 0.0, at: str = "") -> None:
        super().__init__(daemon=True)
        self._session = connect(access, "postgres", purpose="test killer")
        self._pid = pid
        self._delay = delay
        self._at = at
        self._give_up = threading.Event()

    def run(self) -> None:
        time.sleep(self._delay)
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND query LIKE %s"
        while not self._give_up.is_set():
            if self._session.execute(query, (self._pid, f"{self._at}%")).fetchone() is not None:
                return

    def stop(self) -> None:
        self._give_up.set()
        self.join()
        self._session.close()


MOMENTS = [
    *(("", 0.002 * number) for number in range(10)),
    *(("ALTER DATABASE%RENAME", 0.0) for _ in range(4)),
    *(("ALTER DATABASE%OWNER", 0.0) for _ in range(2)),
    *(("COMMENT", 0.0) for _ in range(2)),
    *(("COMMIT", 0.0) for _ in range(4)),
]


ENOUGH = 5


def test_killed_at_any_moment_exactly_one_database_has_the_name_and_the_next_try_finishes(
    access: ServerAccess, control: Connection, pair: Pair
) -> None:
    properties = read_properties(control, pair.database)
    died = 0
    for number, (at, delay) in enumerate(cycle(MOMENTS)):
        # Whom a kill meets is chance: all moments once, and again until enough were hit.
        if number >= len(MOMENTS) and (died >= ENOUGH or number >= 10 * len(MOMENTS)):
            break
        with connect(access, "postgres", purpose="test switch") as session:
            killer = Killer(access, session.info.backend_pid, delay=delay, at=at)
            killer.start()
            try:
                switch(session, pair, properties)
            except SquizzleError as error:
                died += 1
                assert error.retryable or error.database_state is DatabaseState.UNKNOWN  # noqa: PT017 - may happen
            finally:
                killer.stop()
                session.close()
        assert found(control, pair) in (pair.before, pair.after), (at, delay)
        switch(control, pair, properties)
        assert found(control, pair) == pair.after
        run(control, "ALTER DATABASE {old} RENAME TO {new}", old=pair.database, new=pair.restored)
        run(control, "ALTER DATABASE {old} RENAME TO {new}", old=pair.keep_as, new=pair.database)
    assert died >= ENOUGH


def test_what_an_earlier_switch_over_of_the_same_second_keeps_is_kept_beside(
    control: Connection, own_pair: Pair
) -> None:
    wanted = own_pair.keep_as, own_pair.restored
    assert unused_name(control, *wanted) == own_pair.keep_as
    run(control, "CREATE DATABASE {new} TEMPLATE template0 STRATEGY file_copy", new=own_pair.keep_as)
    assert unused_name(control, *wanted) == f"{own_pair.keep_as}_2"
    run(control, "DROP DATABASE {gone}", gone=own_pair.restored)
    assert unused_name(control, *wanted) == own_pair.keep_as, "it may be this one, killed behind its renames"
