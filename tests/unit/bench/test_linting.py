"""Lint beside squawk: the same files for both, and examples that say what each finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import peers
from bench.linting import look_at_examples, write_history
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.analysis.statements import split_statements


@pytest.mark.parametrize("count", [1, 40, 41])
def test_a_history_has_so_many_statements(tmp_path: Path, count: int) -> None:
    files = write_history(tmp_path, count)
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert sum(len(split_statements(text, source="file")) for text in texts) == count
    assert files == sorted(files)


def test_what_squawk_says_stands_with_the_rule_whose_example_it_is(tmp_path: Path) -> None:
    squawk = peers.find_squawk()
    assert not squawk.missing, "squizzle[squawk] is a part of what make setup installs"
    rules = [rule for rule in built_in_rules() if rule.code in {"L101", "L112", "D101", "D102"}]
    looks = {one.rule.name: one for one in look_at_examples(squawk, tmp_path, rules)}
    assert all(one.ours_of_bad for one in looks.values())
    index = looks["index-not-concurrent"]
    assert (index.theirs_of_bad, index.theirs_of_good) == (("require-concurrent-index-creation",), ())
    assert not index.ours_of_good
    assert looks["truncate"].theirs_of_bad == ("ban-truncate-cascade",)
    assert looks["rows-without-where"].theirs_of_bad == ()
