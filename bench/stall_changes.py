"""Changes of a table that many use: as most people write them, and as those who know the locks do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.histories import Step

TABLES = (
    "CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL)",
    "INSERT INTO person SELECT g, 'person ' || g FROM generate_series(1, 10000) g",
    "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, person_id int, total bigint, note text)",
    "INSERT INTO account SELECT g, 0, 1 + g % 10000, NULL, repeat('x', 40) FROM generate_series(1, {rows}) g",
)
PLAIN, CAREFUL = "plain", "careful"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change.

    Attributes:
        name: What it is.
        plain: In one step.
        careful: In steps that hold nobody up longer than they must; the same for a change that has no better way.
        ours: What of that Squizzle is given, where it has a way of its own.
    """

    name: str
    plain: tuple[Step, ...]
    careful: tuple[Step, ...]
    ours: tuple[Step, ...] = ()

    @property
    def is_one_way(self) -> bool:
        """Whether nobody can write it better."""
        return self.plain == self.careful

    def steps(self, manner: str, *, for_squizzle: bool) -> tuple[Step, ...]:
        """What a tool is given."""
        if manner == PLAIN:
            return self.plain
        return self.ours if for_squizzle and self.ours else self.careful


def _steps(*scripts: Sequence[str], alone: bool = False) -> tuple[Step, ...]:
    return tuple(
        Step(number=number, name="change", up=tuple(script), down=(), alone=alone)
        for number, script in enumerate(scripts, start=1)
    )


_COLUMN = _steps(["ALTER TABLE account ADD COLUMN colour text"])
_KEY = "ALTER TABLE account ADD CONSTRAINT account_person FOREIGN KEY (person_id) REFERENCES person (id)"
_CHECK = "ALTER TABLE account ADD CONSTRAINT account_person_set CHECK (person_id IS NOT NULL) NOT VALID"
_SET = "ALTER TABLE account ALTER COLUMN person_id SET NOT NULL"
_FILL = "UPDATE account SET total = balance * 2 + 1"
# As it is done by hand: a block that commits every ten thousand rows.
_FILL_IN_PARTS = f"""DO $fill$
DECLARE
    top int := (SELECT max(id) FROM account);
BEGIN
    FOR low IN 1 .. top BY 10000 LOOP
        {_FILL} WHERE id >= low AND id < low + 10000;
        COMMIT;
    END LOOP;
END
$fill$"""  # noqa: S608 - ours

CHANGES = (
    Change(name="ADD COLUMN", plain=_COLUMN, careful=_COLUMN),
    Change(
        name="CREATE INDEX",
        plain=_steps(["CREATE INDEX account_person_id ON account (person_id)"]),
        careful=_steps(["CREATE INDEX CONCURRENTLY account_person_id ON account (person_id)"], alone=True),
    ),
    Change(
        name="ADD FOREIGN KEY",
        plain=_steps([_KEY]),
        careful=_steps([f"{_KEY} NOT VALID"], ["ALTER TABLE account VALIDATE CONSTRAINT account_person"]),
    ),
    Change(
        name="SET NOT NULL",
        plain=_steps([_SET]),
        careful=_steps(
            [_CHECK],
            ["ALTER TABLE account VALIDATE CONSTRAINT account_person_set"],
            [_SET, "ALTER TABLE account DROP CONSTRAINT account_person_set"],
        ),
    ),
    Change(
        name="a backfill",
        plain=_steps([_FILL]),
        careful=_steps([_FILL_IN_PARTS], alone=True),
        ours=(replace(_steps([f"-- squizzle: batch key=id\n{_FILL}"])[0], alone=True),),
    ),
)
