"""Triggers that are switched off for a while: exactly those, put back exactly, and what got in is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.backups.change_log.switching import enable
from squizzle.errors import InvalidInputError, LockTimeoutError, RefusedError
from squizzle.health.trigger_plan import Mode, PausePlan, plan_pause
from squizzle.health.triggers import find_table, pause, read_paused, read_triggers, resume
from squizzle.migrations.records import Timeouts
from squizzle.postgres.access import Connection, ServerAccess, connect, server_pid
from squizzle.postgres.identity import Target
from squizzle.reports.triggers import plan_lines

NOBODY: Callable[[str], None] = lambda _text: None  # noqa: E731

SHOP = """
    CREATE TABLE land (code text COLLATE "C", part int, PRIMARY KEY (code, part)) PARTITION BY LIST (part);
    CREATE TABLE land_1 PARTITION OF land FOR VALUES IN (1);
    CREATE TABLE land_2 PARTITION OF land FOR VALUES IN (2);
    CREATE TABLE customer (id int PRIMARY KEY, boss int CONSTRAINT boss_key REFERENCES customer ON DELETE SET NULL);
    CREATE TABLE orders (
        id bigint, day int, customer bigint, code text, part int,
        CONSTRAINT customer_key FOREIGN KEY (customer) REFERENCES customer ON DELETE CASCADE,
        CONSTRAINT land_key FOREIGN KEY (code, part) REFERENCES land (code, part) MATCH FULL
    ) PARTITION BY RANGE (day);
    CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (1) TO (10);
    CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (10) TO (20);
    INSERT INTO land VALUES ('de', 1), ('fr', 2);
    INSERT INTO customer VALUES (1, NULL), (2, 1);
    INSERT INTO orders VALUES (1, 1, 1, 'de', 1), (2, 11, NULL, NULL, NULL);
    CREATE TABLE note (said text);
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.note VALUES (TG_NAME); RETURN NEW; END $$;
    CREATE TRIGGER "Audit it" AFTER INSERT ON customer FOR EACH ROW EXECUTE FUNCTION audit();
    CREATE TRIGGER everywhere AFTER INSERT ON customer FOR EACH ROW EXECUTE FUNCTION audit();
    CREATE TRIGGER replicated AFTER INSERT ON customer FOR EACH ROW EXECUTE FUNCTION audit();
    CREATE CONSTRAINT TRIGGER rule AFTER INSERT ON customer DEFERRABLE FOR EACH ROW EXECUTE FUNCTION audit();
    CREATE TRIGGER stays AFTER INSERT ON customer FOR EACH ROW EXECUTE FUNCTION audit();
    CREATE TRIGGER was_off AFTER INSERT ON customer FOR EACH ROW EXECUTE FUNCTION audit();
    ALTER TABLE customer ENABLE ALWAYS TRIGGER everywhere;
    ALTER TABLE customer ENABLE REPLICA TRIGGER replicated;
    ALTER TABLE customer DISABLE TRIGGER was_off;
"""


@pytest.fixture(autouse=True)
def shop(connection: Connection) -> None:
    connection.execute(SHOP)


def plan_of(connection: Connection, table: str, *names: str, keys: bool = False, superuser: bool = True) -> PausePlan:
    place = find_table(connection, "public", table)
    return plan_pause(
        read_triggers(connection, place[2]),
        place,
        names,
        foreign_keys=keys,
        duration=timedelta(minutes=30),
        why="import of May",
        is_superuser=superuser,
    )


def modes(connection: Connection) -> dict[tuple[str, str], str]:
    return {(f"{one.table}.{one.name}", one.function): one.mode for one in read_triggers(connection)}


def test_named_triggers_are_off_and_then_exactly_what_they_were(connection: Connection, target: Target) -> None:
    before = modes(connection)
    plan = plan_of(connection, "customer", "Audit it", "everywhere", "replicated", "rule", "was_off")

    notes = pause(connection, target, plan, by="anna", on_wait=NOBODY)
    again = plan_of(connection, "customer", "Audit it")
    pause(connection, target, replace(again, duration=timedelta(hours=2)), by="ben", on_wait=NOBODY)

    connection.execute("INSERT INTO customer VALUES (3, NULL)")
    assert connection.execute("SELECT array_agg(said) FROM note").fetchone() == (["stays"],)
    assert {one.name: one.former_mode for one in notes} == {
        "Audit it on public.customer": Mode.ON,
        "everywhere on public.customer": Mode.ALWAYS,
        "replicated on public.customer": Mode.REPLICA,
        "rule on public.customer": Mode.ON,
    }
    text = "\n".join(plan_lines(plan))
    assert "rule on public.customer (on): public.audit() is not called" in text
    assert "no comparison finds them" in text
    assert "writes of clients become no faster" in text
    assert "was_off on public.customer: is off already" in text
    first = next(one for one in read_paused(connection) if one.name.startswith("Audit"))
    assert (first.former_mode, first.paused_by) == (Mode.ON, "ben")
    assert first.until > notes[1].until

    # Renamed, dropped, put on by somebody in another mode: each is told, and nothing is lost.
    connection.execute("ALTER TABLE customer RENAME TO client")
    connection.execute("DROP TRIGGER replicated ON client; ALTER TABLE client ENABLE TRIGGER everywhere")
    done = resume(connection, target, on_wait=NOBODY)

    (gone,) = done.problems
    assert gone.startswith("replicated on public.customer is gone")
    assert "everywhere on public.customer is always again; it was on" in [one.sentence() for one in done.triggers]
    connection.execute("ALTER TABLE client RENAME TO customer")
    after = modes(connection)
    assert {name: mode for name, mode in before.items() if "replicated" not in name[0]} == after
    assert read_paused(connection) == ()
    assert resume(connection, target, on_wait=NOBODY).triggers == ()


def test_rows_that_broke_a_foreign_key_are_found_and_stay_noted_until_they_are_mended(
    connection: Connection, target: Target
) -> None:
    before = modes(connection)
    plan = plan_of(connection, "orders", keys=True)
    pause(connection, target, plan, by="anna", on_wait=NOBODY)
    pause(connection, target, plan_of(connection, "customer", keys=True), by="anna", on_wait=NOBODY)

    # A missing customer, half a reference (MATCH FULL), none at all (SIMPLE), and a row that others refer to.
    connection.execute(
        "INSERT INTO orders VALUES (3, 2, 77, 'de', 1), (4, 12, NULL, 'de', NULL), (5, 13, NULL, NULL, NULL)"
    )
    connection.execute("DELETE FROM customer WHERE id = 1")
    found = resume(connection, target, on_wait=NOBODY)

    assert modes(connection) == before
    said = {one.key.name: (one.rows, sorted(one.examples, key=str)) for one in found.keys}
    assert said == {
        "customer_key": (2, [("1",), ("77",)]),
        "land_key": (1, [("de", None)]),
        "boss_key": (1, [("1",)]),
    }
    assert len(found.problems) == 3
    assert "land_key from public.orders to public.land: 1 rows break it: (code, part) = (de, null)" in found.problems
    text = "\n".join(plan_lines(plan))
    assert "public.orders may refer to rows that public.customer does not have" in text
    assert {one.trigger.key.name for one in read_paused(connection) if one.trigger and one.trigger.key} == set(said)

    connection.execute("INSERT INTO customer VALUES (1, NULL), (77, NULL); UPDATE orders SET part = 1 WHERE id = 4")
    mended = resume(connection, target, table=("public", "orders"), on_wait=NOBODY)
    assert (mended.problems, {one.key.name for one in mended.keys}) == ((), {"customer_key", "land_key"})
    assert {one.trigger.key.name for one in read_paused(connection) if one.trigger and one.trigger.key} == {
        "boss_key",
        "customer_key",
    }
    assert resume(connection, target, on_wait=NOBODY).problems == ()
    assert read_paused(connection) == ()

    # A key that was never valid: its rows are told, and cannot be told from older ones.
    connection.execute("ALTER TABLE note ADD k int; INSERT INTO note VALUES ('x', 5)")
    connection.execute("ALTER TABLE note ADD CONSTRAINT k FOREIGN KEY (k) REFERENCES customer NOT VALID")
    open_key = plan_of(connection, "note", keys=True)
    assert "rows from before may break it" in "\n".join(plan_lines(open_key))
    pause(connection, target, open_key, by="anna", on_wait=NOBODY)
    assert resume(connection, target, on_wait=NOBODY).problems == (
        "k from public.note to public.customer (NOT VALID): 1 rows break it: (k) = (5)",
    )
    assert read_paused(connection) == ()


def test_what_must_not_be_switched_off_is_refused_and_a_plan_that_is_out_of_date_changes_nothing(
    connection: Connection, target: Target, access: ServerAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable(connection, target, (("public", "customer"),), on_wait=NOBODY)

    for names, word in (
        (("squizzle_log_row",), "writes the change log"),
        (("boss_key",), "is a foreign key"),
    ):
        with pytest.raises(RefusedError, match=word):
            plan_of(connection, "customer", *names)
    with pytest.raises(RefusedError, match="takes a superuser"):
        plan_of(connection, "customer", keys=True, superuser=False)
    for name in ("ALL", "USER"):
        with pytest.raises(InvalidInputError, match=f"has no trigger {name}"):
            plan_of(connection, "customer", name)
    plan = plan_of(connection, "customer", "Audit it", "stays")
    connection.execute("ALTER TABLE customer ENABLE ALWAYS TRIGGER stays")
    before = modes(connection)
    with pytest.raises(RefusedError, match="not what it was when the plan was made"):
        pause(connection, target, plan, by="anna", on_wait=NOBODY)

    monkeypatch.setattr(
        "squizzle.health.triggers.Timeouts", lambda: Timeouts(attempts=2, budget=timedelta(milliseconds=200))
    )
    with connect(access, target.database, purpose="test") as writer, writer.transaction(force_rollback=True):
        writer.execute("UPDATE customer SET boss = NULL WHERE id = 2")
        with pytest.raises(LockTimeoutError, match=f"session {server_pid(writer)}"):
            pause(connection, target, plan_of(connection, "customer", "Audit it"), by="anna", on_wait=NOBODY)
    assert modes(connection) == before
    assert read_paused(connection) == ()
