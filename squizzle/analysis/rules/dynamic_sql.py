"""SQL that is put together while it runs."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import DynamicSql
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule


def _check(action: DynamicSql, _context: Context) -> Iterator[Hit]:
    short = " ".join(action.expression.split())
    shown = short if len(short) <= _SHOWN else f"{short[:_SHOWN]} …"
    yield Hit(message=f"what EXECUTE {shown} does, only the run tells")


_SHOWN = 60

RULE = Rule(
    code="U102",
    name="dynamic-sql",
    severity=Severity.WARNING,
    condition="EXECUTE of a text in PL/pgSQL.",
    effect="Which tables it locks, changes or drops depends on data; names that are not quoted by format('%I') run"
    " as SQL.",
    safe_way="Write the statements out; else rehearse it on a copy of the data and look at the locks it took.",
    bad="DO $$ BEGIN EXECUTE format('ANALYZE %I', 'users'); END $$;",
    good="ANALYZE users;",
    source="PostgreSQL manual, PL/pgSQL, Executing Dynamic Commands; Atlas, SA101",
    on=(DynamicSql,),
    check=_check,
    places=EVERYWHERE,
)
