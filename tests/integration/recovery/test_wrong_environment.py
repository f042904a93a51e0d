"""Versions in the wrong database: found, taken back to the letter, and applied where they belong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from psycopg import sql

from squizzle.errors import IdentityMismatchError, InvalidInputError, RefusedError, VersionConflictError
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions
from squizzle.migrations.project import Project
from squizzle.migrations.reversal.requests import Live
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.project import read_project
from squizzle.proof.digests import digest_database
from squizzle.recovery.wrong_environment import (
    Mishap,
    WayBack,
    apply_to_right,
    find_ways_back,
    preview_right,
    see_mishap,
    take_back,
)
from squizzle.reports.wrong_environment import MishapReport, forward_question, mishap_markdown, way_back_question
from tests.integration.migrations.conftest import Folder
from tests.support.scratch import new_database


@dataclass(frozen=True, kw_only=True)
class Both:
    """Staging, where 0003 and 0004 should not be, and production, where they should."""

    access: ServerAccess
    wrong: Connection
    wrong_target: Target
    right: Connection
    right_target: Target
    folder: Folder

    def project(self) -> Project:
        return read_project(self.folder.path.parent)

    def see(self, *versions: str) -> Mishap:
        return see_mishap(self.wrong, self.wrong_target, self.right, self.right_target, self.project(), versions)

    def ways(self, versions: Sequence[str], *, accept_loss: bool = False) -> tuple[WayBack, ...]:
        live = Live(connection=self.wrong, access=self.access, target=self.wrong_target)
        return find_ways_back(live, self.project(), versions, accept_loss=accept_loss, say=lambda _text: None)


@pytest.fixture
def both(access: ServerAccess, control: Connection, tmp_path: Path) -> Iterator[Both]:
    (tmp_path / "squizzle.toml").touch()
    folder = Folder(tmp_path / "migrations")
    folder.write("0001", "CREATE TABLE t (a int)", down="DROP TABLE t")
    folder.write("0002", "INSERT INTO t VALUES (1)", down="DELETE FROM t")
    template = sql.SQL("TEMPLATE template0")
    with (
        new_database(control, template, prefix="wrong") as wrong,
        new_database(control, template, prefix="right") as right,
    ):
        targets = [
            Target(database=name, expected=ExpectedIdentity(environment=environment))
            for name, environment in ((wrong, "staging"), (right, "production"))
        ]
        with (
            connect(access, wrong, purpose="test") as there,
            connect(access, right, purpose="test") as here,
        ):
            for connection, target in ((there, targets[0]), (here, targets[1])):
                apply_versions(connection, target, folder.read())
            folder.write("0003", "ALTER TABLE t ADD COLUMN b int", down=None)
            folder.write("0004", "CREATE TABLE u (a int)", down="-- by hand\nDROP TABLE u")
            yield Both(
                access=access, wrong=there, wrong_target=targets[0], right=here, right_target=targets[1], folder=folder
            )


def test_versions_are_found_taken_back_as_shown_and_applied_where_they_belong(both: Both) -> None:
    before = digest_database(both.wrong)
    apply_versions(both.wrong, both.wrong_target, both.folder.read())

    found = both.see()
    assert ([row.version for row in found.only_in_wrong], found.versions) == (["0004", "0003"], ())
    assert "No version was named, so nothing was done" in mishap_markdown(MishapReport(mishap=found))
    mishap = both.see("0003", "0004")
    ways = both.ways(mishap.versions)

    assert [(way.version, way.source) for way in ways] == [
        ("0004", "0004_change/down.sql"),
        ("0003", "0003_change/up.sql (generated way back)"),
    ]
    assert "DROP COLUMN b" in ways[1].sql
    question = way_back_question(mishap, ways)
    assert "-- by hand\nDROP TABLE u" in question.plan
    assert "| wrong |" in question.plan
    assert "staging" in question.plan
    # Made anew, the same is asked; and other SQL is another question.
    assert way_back_question(both.see("0004", "0003"), both.ways(mishap.versions)).digest == question.digest
    changed = (replace(ways[0], sql="DROP TABLE u CASCADE"), ways[1])
    assert way_back_question(mishap, changed).digest != question.digest

    both.folder.write("0004", "CREATE TABLE u (a int)", down="SELECT 1 / 0")
    first = take_back(both.wrong, both.wrong_target, both.project(), ways[:1], listener=Listener())
    done = take_back(both.wrong, both.wrong_target, both.project(), ways, listener=Listener())

    assert (first.versions, first.schema_is_as_before) == (("0004",), None)
    assert (done.versions, done.schema_is_as_before) == (("0003",), True)
    assert digest_database(both.wrong) == before
    forward = preview_right(both.right, both.right_target, both.project(), to="0004")
    assert [one.version for one in forward] == ["0003", "0004"]
    assert "ALTER TABLE t ADD COLUMN b int" in forward_question(mishap, forward).plan
    both.folder.write("0004", "DROP TABLE t")
    with pytest.raises(RefusedError, match="not what was approved any more: 0004"):
        apply_to_right(both.right, both.right_target, both.project(), forward, listener=Listener())
    both.folder.write("0004", "CREATE TABLE u (a int)")
    report = apply_to_right(both.right, both.right_target, both.project(), forward, listener=Listener())
    assert [outcome.version for outcome in report.outcomes] == ["0003", "0004"]


def test_what_would_lose_data_or_hit_the_wrong_thing_is_refused_and_nothing_is_changed(both: Both) -> None:
    both.folder.write("0003", "DELETE FROM t")
    apply_versions(both.wrong, both.wrong_target, both.folder.read())
    before = digest_database(both.wrong, bookkeeping=True)

    with pytest.raises(VersionConflictError, match=r"0004 came after"):
        both.see("0003")
    with pytest.raises(VersionConflictError, match=r"not applied in .*: 0099"):
        both.see("0099")
    with pytest.raises(RefusedError, match="the same one"):
        see_mishap(both.wrong, both.wrong_target, both.wrong, both.wrong_target, both.project(), ())
    with pytest.raises(IdentityMismatchError):
        see_mishap(both.right, both.wrong_target, both.wrong, both.right_target, both.project(), ())
    with pytest.raises(Exception, match="0003"):
        both.ways(["0004", "0003"])
    with pytest.raises(InvalidInputError, match=r"there is no squizzle\.toml"):
        read_project(both.folder.path)

    assert digest_database(both.wrong, bookkeeping=True) == before
    # Somebody's DDL beside ours: it is taken back, and the difference is not hidden.
    both.wrong.execute("CREATE TABLE by_hand (a int)")
    ways = (
        WayBack(version="0004", sql="DROP TABLE u", source="a test"),
        WayBack(version="0003", sql="INSERT INTO t VALUES (1)", source="a test"),
    )
    done = take_back(both.wrong, both.wrong_target, both.project(), ways, listener=Listener())
    assert done.schema_is_as_before is False
    assert "**The schema is not as the run before them left it**" in mishap_markdown(
        MishapReport(mishap=both.see(), taken_back=done)
    )
