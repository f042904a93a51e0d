"""What a linter adds from the catalogue of a database, here a little one made by hand."""

from __future__ import annotations

from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.lint import LintResult, Script, lint_scripts
from squizzle.analysis.locks.kin import Kin, Relation
from squizzle.analysis.locks.lock_map import lock_map
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.locks.side import Surroundings
from squizzle.reports.findings import as_github, as_sarif, as_text
from tests.support.rules import TODAY


def relation(oid: int, name: str, kind: str, *, is_partition: bool = False) -> Relation:
    return Relation(oid=oid, name=RelationName(schema="public", name=name), kind=kind, is_partition=is_partition)


# Events and two partitions.
KIN = Kin(
    relations=[relation(1, "e", "p"), *(relation(n, f"e{n}", "r", is_partition=True) for n in (2, 3))],
    objects=[],
    links=[],
    parents=[(2, 1), (3, 1)],
    path=["public"],
)


def findings(text: str) -> tuple[Finding, ...]:
    around = Surroundings(kin=KIN, measured=lock_map(18))
    return lint_scripts([Script(text=text, source="x.sql")], today=TODAY, around=around).findings


def side(text: str) -> list[list[str]]:
    return [[one.sentence() for one in found.also_locks] for found in findings(text) if found.also_locks]


BOTH = [f"public.e{n} ACCESS EXCLUSIVE (a partition of public.e)" for n in (2, 3)]


def test_a_statement_that_no_rule_has_a_word_about_is_told_for_its_side_locks() -> None:
    (found,) = [one for one in findings("ALTER TABLE e ADD COLUMN x int;") if one.rule == "L139"]
    assert (found.severity, found.lock, found.line) == (Severity.WARNING, "ACCESS EXCLUSIVE", 1)
    assert [one.sentence() for one in found.also_locks] == BOTH


def test_a_finding_about_the_lock_carries_them_instead() -> None:
    assert side("ALTER TABLE e ADD COLUMN x int CHECK (x > 0);") == [BOTH]
    assert "L139" not in {one.rule for one in findings("ALTER TABLE e ADD COLUMN x int CHECK (x > 0);")}


def test_a_person_and_a_pipeline_read_who_else_has_to_wait() -> None:
    result = LintResult(findings=findings("ALTER TABLE e ADD COLUMN x int;"), files=1, statements=1)
    assert f"  also locks: {BOTH[0]}\n  also locks: {BOTH[1]}\n" in as_text(result, {})
    assert f"Also locks {', '.join(BOTH)}." in as_sarif(result, ())
    assert "Also locks public.e2" in as_github(result)


def test_what_the_script_made_or_dropped_before_holds_nobody_up() -> None:
    assert side("CREATE TABLE e (a int); ALTER TABLE e ADD COLUMN x int;") == []
    assert side("DROP TABLE e2; ALTER TABLE e ADD COLUMN x int;")[-1] == BOTH[1:]


def test_it_can_be_allowed_with_a_reason() -> None:
    (found,) = [
        one
        for one in findings('-- squizzle: allow side-locks reason="at night"\nALTER TABLE e ADD COLUMN x int;')
        if one.rule == "L139"
    ]
    assert found.waiver is not None
