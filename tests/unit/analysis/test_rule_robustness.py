"""Whatever becomes of a statement, the linter says something about it or nothing, and never fails."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from squizzle.analysis.lint import Script, lint_scripts
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.analysis.rules.rule import Way
from squizzle.analysis.scanner import scan
from tests.support.rules import TODAY

CORPUS = [text for rule in built_in_rules() for text in (rule.bad, rule.good)]
ODD = [
    "",
    "--é\n",
    "/* ' */",
    "$$",
    "'",
    '"',
    ";",
    "(",
    ")",
    "BEGIN;",
    "CASCADE",
    "NULL",
    "1",
    '"Ü b"',
    "\0",
    "\\",
    ",",
    "ALL",
]


def tokens_of(text: str) -> list[str]:
    encoded = text.encode()
    return [encoded[token.start : token.end].decode() for token in scan(text)]


TOKENS = [tokens_of(text) for text in CORPUS]


def mutate(tokens: list[str], chance: random.Random) -> list[str]:
    """One change: drop, double, swap, cut off, change the case, repeat very often, or put something in."""
    changed = list(tokens)
    place = chance.randrange(len(changed))
    match chance.randrange(7):
        case 0:
            del changed[place]
        case 1:
            changed.insert(place, changed[place])
        case 2:
            other = chance.choice(TOKENS)
            changed[place] = chance.choice(other)
        case 3:
            del changed[place + 1 :]
        case 4:
            changed[place] = changed[place].swapcase()
        case 5:
            # As deep as some functions in Python go, as the parser goes, and deeper than it goes.
            end = place + chance.randint(1, 4)
            changed[place:end] = changed[place:end] * chance.choice([30, 300, 3000])
        case _:
            changed.insert(place, chance.choice(ODD))
    return changed or ["SELECT"]


@given(st.integers(0, len(CORPUS) - 1), st.integers(1, 4), st.randoms(use_true_random=False), st.sampled_from(Way))
def test_no_mutation_of_an_example_makes_it_fail(number: int, changes: int, chance: random.Random, way: Way) -> None:
    tokens = TOKENS[number]
    for _ in range(changes):
        tokens = mutate(tokens, chance)
    script = Script(text=chance.choice([" ", "\n", "/* é */ "]).join(tokens), source="x.sql", way=way)
    for finding in lint_scripts([script], today=TODAY).findings:
        assert finding.line >= 1
        assert finding.column >= 1
        assert finding.message


@given(st.text(max_size=80))
@example('CREATE TABLE "" (a int)')
@example("ALTER TABLE t ADD CHECK (" + "(" * 500 + "a" + ")" * 500 + ")")
@example("DELETE FROM t WHERE " + "NOT (" * 300 + "true" + ")" * 300)
@example("DO $$ BEGIN PERFORM " + "f(" * 400 + ")" * 400 + "; END $$")
@example("ALTER TABLE t ADD CHECK (a > " + "1 + " * 150 + "1)")
@example("BEGIN; COMMIT; 1; users")
@example("DO $$ BEGIN EXECUTE; END $$")
@example("ALTER ROLE ALL SET x = 1")
@example("GRANT SELECT ON ALL TABLES IN SCHEMA s TO PUBLIC")
@example("DROP OPERATOR + (int, int); DROP CAST (int AS text); DROP TRANSFORM FOR int LANGUAGE sql")
@example("ALTER DOMAIN d DROP NOT NULL; ALTER TABLE ONLY t ALTER a SET DEFAULT NULL")
def test_no_other_text_makes_it_fail(text: str) -> None:
    lint_scripts([Script(text=text, source="x.sql")], today=TODAY)
