"""A table goes with its rows."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Drop
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule
from squizzle.analysis.rules.words import alter, beside, name_for


def _check(action: Drop, context: Context) -> Iterator[Hit]:
    for table in action.names if action.kind in {"TABLE", "FOREIGN TABLE"} else ():
        if not context.is_new(table):
            keys = context.known(table).constraints.values()
            others = sorted({str(one.references) for one in keys if one.references not in {None, table}})
            locks = f"; {', '.join(others)} cannot be read or written meanwhile" if others else ""
            yield Hit(
                message=f"drops {table} and all its rows{locks}",
                hint=f"{alter(table)} RENAME TO {name_for(table, 'gone')};\n-- some releases later:\n"
                f"DROP TABLE {beside(table, name_for(table, 'gone'))};",
                relation=table,
                mode=LockMode.ACCESS_EXCLUSIVE,
                location=action.location,
            )


RULE = Rule(
    code="D103",
    name="drop-table",
    severity=Severity.ERROR,
    condition="DROP TABLE of a table that was there before.",
    effect="Its rows are gone, code that still uses it fails, and the tables that it refers to are locked, too.",
    safe_way="Stop using it, rename it in one release so that what still uses it shows, drop it in a later one.",
    bad="DROP TABLE payments;",
    good="COMMENT ON TABLE payments IS 'unused, to be dropped';",
    source="PostgreSQL manual, DROP TABLE; measured on 15 and 18",
    on=(Drop,),
    check=_check,
    places=EVERYWHERE,
    severity_down=Severity.INFO,
)
