"""assess, switch-over and copies: the single steps of a recovery, typed by hand, each as often as you like."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.recovery.fence import is_fenced, session_through_fence
from squizzle.recovery.switch_over import list_kept
from tests.integration.cli.conftest import Squizzle
from tests.integration.migrations.conftest import Folder
from tests.support.names import databases
from tests.support.scratch import drop_databases

pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@pytest.fixture
def shop(access: ServerAccess, control: Connection, database: str) -> Iterator[str]:
    with connect(access, database, purpose="test") as session:
        session.execute("CREATE TABLE account (id serial PRIMARY KEY, owner text)")
        session.execute("INSERT INTO account (owner) SELECT 'o' || n FROM generate_series(1, 100) AS n")
    yield database
    drop_databases(control, f"{database}_")


def rows(access: ServerAccess, name: str) -> int:
    with session_through_fence(access, name, purpose="test") as session:
        found = session.execute("SELECT count(*) FROM account").fetchone()
    assert found is not None
    return int(found[0])


def test_damage_is_assessed_without_changing_anything(
    squizzle: Squizzle, folder: Folder, access: ServerAccess, control: Connection, shop: str
) -> None:
    store = squizzle.place / "store"
    (squizzle.place / "squizzle.toml").write_text(f'[backups]\nstore = "{store}"\n')
    backup = squizzle("backup", "full", "--json").document["id"]
    nothing = squizzle("assess", "--json")
    assert (nothing.code, nothing.document["damage"], nothing.document["result"]) == (0, [], "nothing_to_do")
    folder.write("0001", "DELETE FROM account WHERE id <= 40", down="SELECT 1")
    assert squizzle("apply", "--all").code == 0

    done = squizzle("assess", "--json")

    assert done.code == 0, done.err
    found = done.document
    assert found["damage"] == ["public.account: 40 rows fewer than the 100 of the backup"]
    assert (found["chosen"], found["result"], found["fenced"]) == ("roll_back", "planned", False)
    ways = {one["name"]: one for one in found["ways"]}
    assert (ways["restore_beside"]["uses"], ways["restore_beside"]["possible"]) == (backup, True)
    assert {"name", "rto_ms", "rpo_ms", "proven_at"} <= set(ways["roll_back"])
    assert ways["roll_back"]["rpo_ms"] == 0
    capped = squizzle("assess", "--lose-at-most", "0s", "--take-at-most", "0s", "--damaged-since", "30d", "--json")
    assert (capped.code, capped.error["message"][:40]) == (2, "the store holds no whole backup of this ")
    capped = squizzle("assess", "--lose-at-most", "0s", "--take-at-most", "0s", "--json")
    assert (capped.document["chosen"], capped.document["result"]) == (None, "planned")
    human = squizzle("assess").out
    assert f"# Recovery of {shop}: planned, nothing was changed" in human
    assert "- public.account: 40 rows fewer than the 100 of the backup" in human
    assert not is_fenced(control, shop)
    assert rows(access, shop) == 60
    assert squizzle("fence", "--as", "anna").code == 0
    shut = squizzle("assess", "--json").document
    assert (shut["fenced"], shut["fences"][0]["held_by"], shut["damage"]) == (True, ["anna"], found["damage"])
    assert is_fenced(control, shop)


def test_a_runbook_says_what_is_wrong_how_long_each_way_back_takes_and_whom_to_call(
    squizzle: Squizzle, folder: Folder, shop: str
) -> None:
    store = squizzle.place / "store"
    contacts = '[contacts]\n"On-call" = "+1-555-ONCALL"\n"Escalation" = "CTO"\n'
    (squizzle.place / "squizzle.toml").write_text(f'[backups]\nstore = "{store}"\n{contacts}')
    alone = squizzle("runbook", "--json").document
    assert (alone["complete"], "The ways back could not be looked up" in alone["markdown"]) == (False, True)
    assert alone["problem"]
    backup = squizzle("backup", "full", "--json").document["id"]
    folder.write("0001", "DELETE FROM account WHERE id <= 40", down="SELECT 1")
    assert squizzle("apply", "--all").code == 0

    done = squizzle("runbook", "--output", "runbook.md")

    assert (done.code, done.out) == (0, ""), done.err
    text = (squizzle.place / "runbook.md").read_text(encoding="utf-8")
    titles = ["Symptoms", "Immediate Actions", "Recovery Procedures", "Contacts"]
    assert [text.index(f"## {one}") for one in titles] == sorted(text.index(f"## {one}") for one in titles)
    assert "- public.account: 40 rows fewer than the 100 of the backup" in text
    assert "### Option 1: roll back (`0001`)" in text
    assert f"\nsquizzle restore {backup} --into {shop}_beside\n" in text
    assert "`squizzle status`" in text
    assert "- On-call: +1-555-ONCALL\n- Escalation: CTO" in text
    assert squizzle("runbook", "--output", "no/such/folder.md").code == 2


def test_a_switch_over_and_its_undo_can_be_repeated_and_nothing_is_dropped(
    squizzle: Squizzle, access: ServerAccess, control: Connection, shop: str
) -> None:
    control.execute(f"COMMENT ON DATABASE {shop} IS 'the shop'")
    prepared = squizzle("copies", "prepare", "--json")
    assert prepared.code == 0, prepared.err
    copy = prepared.document["name"]
    with connect(access, shop, purpose="test") as session:
        session.execute("DELETE FROM account WHERE id > 70")
        session.execute("SELECT nextval('account_id_seq')")

    done = squizzle("switch-over", shop, "--to", copy, "--json")

    assert done.code == 0, done.err
    kept = done.document["kept_as"]
    assert kept.startswith(f"{shop}__old_")
    assert done.document == {
        "database": shop,
        "state": "fenced",
        "kept_as": kept,
        "slots": [],
        "sequences": ["public.account_id_seq"],
    }
    again = squizzle("switch-over", shop, "--to", copy, "--json")
    assert again.document == {**done.document, "sequences": []}
    assert (databases(control, shop), rows(access, shop), rows(access, kept)) == ({shop, kept}, 100, 70)
    opened = squizzle("unfence", "--json")
    assert (opened.code, opened.document["state"]) == (0, "open")

    for _ in range(2):
        back = squizzle("switch-over", shop, "--undo", "--json")
        assert (back.code, back.document["kept_as"]) == (0, copy), back.err
        assert (databases(control, shop), rows(access, shop)) == ({shop, copy}, 70)
    assert squizzle("unfence").code == 0
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    assert control.execute(comment, (shop,)).fetchone() == ("the shop",)
    # What was swapped in and out again is no prepared copy any more, and the next one leaves it alone.
    other = squizzle("copies", "prepare", "--json").document["name"]
    listed = squizzle("copies", "list", "--json").document["copies"]
    assert [(one["name"], one["kind"], one["replaced_by"]) for one in listed] == [
        (other, "prepared", None),
        (copy, "kept", kept),
    ]
    assert squizzle("copies", "drop", shop, "--json").error["message"] == f"{shop} is no copy of {shop}"
    assert [squizzle("copies", "drop", name).code for name in (copy, other)] == [0, 0]
    assert databases(control, shop) == {shop}


def test_what_is_no_state_of_the_database_is_never_put_in_its_place(
    squizzle: Squizzle, access: ServerAccess, control: Connection, shop: str
) -> None:
    other = f"{shop}_other"
    control.execute(f"CREATE DATABASE {other}")
    make = "CREATE SCHEMA squizzle; CREATE TABLE squizzle.identity AS"
    values = "SELECT gen_random_uuid() AS id, NULL::text AS environment, NULL::text AS fleet, 'x' AS name"
    for name in (shop, other):
        with connect(access, name, purpose="test") as session:
            session.execute(f"{make} {values}".encode())

    refused = squizzle("switch-over", shop, "--to", other, "--json")

    assert refused.code == 9
    assert f"{other} is no state of {shop}" in refused.error["message"]
    assert (is_fenced(control, shop), list_kept(control, shop)) == (False, ())
    assert squizzle("switch-over", other, "--to", shop, "--json").code == 2
    never = squizzle("switch-over", shop, "--undo", "--json")
    assert never.code == 7
    assert never.error["message"] == f"no switch-over of {shop} put a database aside"
    missing = squizzle("switch-over", shop, "--to", f"{shop}_never", "--json")
    assert (missing.code, missing.error["database_state"]) == (7, "untouched")
    assert (is_fenced(control, shop), databases(control, shop)) == (False, {shop, other})
