"""What is kept of alerts and silences in the control database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.alerts.ledger import (
    add_silence,
    end_silence,
    note_told,
    prepare,
    read_silences,
    read_states,
    write_states,
)
from squizzle.alerts.states import AlertState
from squizzle.errors import InvalidInputError, LockTimeoutError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.severity import Severity

pytestmark = pytest.mark.one_server


def test_states_are_what_they_were_and_only_one_looks_at_a_fleet(
    connection: Connection, access: ServerAccess, database: str
) -> None:
    assert read_states(connection, "shops") == ()
    now = prepare(connection, "shops")
    one = AlertState(
        target="a'; DROP TABLE squizzle.alert; --",
        rule="migration_failed",
        severity=Severity.CRITICAL,
        notify=("pager", "chat"),
        since=now,
        last_not_false=now,
        fires_since=now,
        key="alert-1",
    )
    other = replace(one, target="b", key="", fires_since=None, severity=Severity.LOW, unknown=2, detail="timeout")
    write_states(connection, "shops", (), (one, other))
    write_states(connection, "tenants", (), (replace(one, target="c"),))
    assert read_states(connection, "shops") == (one, other)

    note_told(connection, "shops", "alert-1", {"chat": "17.2"})
    told = replace(one, is_told=True, threads={"chat": "17.2"})
    assert read_states(connection, "shops") == (told, other)
    write_states(connection, "shops", (told, other), (replace(told, detail="x"),))
    assert read_states(connection, "shops") == (replace(told, detail="x"),)
    assert [one.is_told for one in read_states(connection, "tenants")] == [False]

    with connect(access, database, purpose="another sweep") as session:
        prepare(session, "tenants")
        with pytest.raises(LockTimeoutError, match="somebody else looks at shops"):
            prepare(session, "shops")


def test_a_silence_has_an_end_a_reason_and_a_name(connection: Connection) -> None:
    assert read_silences(connection, "shops") == ()
    now = prepare(connection, "shops")
    hour = timedelta(hours=1)
    made = add_silence(connection, "shops", rule="slow*", target="*", length=hour, reason="move", by="ada")
    assert read_silences(connection, "shops") == (made,)
    assert hour <= made.until - now < hour + timedelta(minutes=5)
    assert read_silences(connection, "tenants") == ()
    with pytest.raises(InvalidInputError, match="needs a reason and a name"):
        add_silence(connection, "shops", rule="*", target="*", length=hour, reason=" ", by="ada")
    with pytest.raises(InvalidInputError, match="end later than it begins"):
        add_silence(connection, "shops", rule="*", target="*", length=timedelta(), reason="move", by="ada")
    with pytest.raises(InvalidInputError, match="there is no silence"):
        end_silence(connection, "tenants", made.id, by="ada")
    end_silence(connection, "shops", made.id, by="ben")
    assert read_silences(connection, "shops") == ()
    assert connection.execute("SELECT ended_by FROM squizzle.silence").fetchall() == [("ben",)]
