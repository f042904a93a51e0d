"""A function with its owner's rights trusts its caller's search path."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Routine
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: Routine, _context: Context) -> Iterator[Hit]:
    if action.security_definer and not action.sets_search_path and action.name is not None:
        yield Hit(
            message=f"{action.name} runs with its owner's rights and its caller's search_path",
            hint=f"ALTER FUNCTION {qualified(action.name)} SET search_path = pg_catalog, pg_temp;",
        )


RULE = Rule(
    code="S107",
    name="definer-without-search-path",
    severity=Severity.WARNING,
    condition="SECURITY DEFINER without SET search_path.",
    effect="A caller who makes a function or table of the same name in a schema of his runs it with the owner's"
    " rights.",
    safe_way="SET search_path = pg_catalog, pg_temp at the function, and schemas at every name in it.",
    bad="CREATE FUNCTION user_count() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM users';",
    good="CREATE FUNCTION user_count() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
    " SET search_path = pg_catalog, pg_temp AS 'SELECT count(*) FROM public.users';",
    source="PostgreSQL manual, CREATE FUNCTION, “Writing SECURITY DEFINER Functions Safely”",
    on=(Routine,),
    check=_check,
)
