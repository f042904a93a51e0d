"""A body that is not looked into."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Routine
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule

_READ = frozenset({"sql", "plpgsql"})
_BUILT_IN = frozenset({"internal"})


def _check(action: Routine, _context: Context) -> Iterator[Hit]:
    if action.language and action.language not in _READ | _BUILT_IN:
        yield Hit(message=f"{action.name or 'the DO block'} is written in {action.language}, which is not looked into")


RULE = Rule(
    code="U103",
    name="body-in-another-language",
    severity=Severity.WARNING,
    condition="DO, CREATE FUNCTION or CREATE PROCEDURE in another language than SQL and PL/pgSQL.",
    effect="What it does with tables, files and other servers is not known before it runs.",
    safe_way="SQL or PL/pgSQL in migrations; else rehearse it on a copy.",
    bad="CREATE FUNCTION version_of_zlib() RETURNS text LANGUAGE plpython3u AS 'import zlib; return"
    " zlib.ZLIB_VERSION';",
    good="CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1';",
    source="What is not understood is reported, never passed over",
    on=(Routine,),
    check=_check,
    places=EVERYWHERE,
    not_run="the servers of the tests have no other language installed",
)
