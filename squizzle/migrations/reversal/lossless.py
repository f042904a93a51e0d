"""Which change of a column's type keeps every value, so that changing it back gives the same values. Pure."""

from __future__ import annotations

import re

_SYNONYMS = {
    "int": "integer",
    "int4": "integer",
    "int2": "smallint",
    "int8": "bigint",
    "varchar": "character varying",
    "float8": "double precision",
    "float4": "real",
    "bool": "boolean",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "decimal": "numeric",
}
_TYPE = re.compile(r"(?P<base>[^(\[]+?)\s*(?:\((?P<args>[\d, ]+)\))?(?P<array>(\[\d*\])*)")
# Into these every value of the first fits, and comes back the same.
_WIDER: dict[str, frozenset[str]] = {
    "smallint": frozenset({"integer", "bigint", "numeric", "text", "character varying"}),
    "integer": frozenset({"bigint", "numeric", "double precision", "text", "character varying"}),
    "bigint": frozenset({"numeric", "text", "character varying"}),
    "real": frozenset({"double precision"}),
    "character varying": frozenset({"text"}),
    "uuid": frozenset({"text", "character varying"}),
    "boolean": frozenset({"text", "character varying"}),
    "json": frozenset({"text"}),
    "inet": frozenset({"text"}),
}


def keeps_every_value(old: str, new: str) -> bool:
    """Whether every value of the old type has one of the new type that leads back to it.

    Args:
        old: A type as PostgreSQL prints it.
        new: A type as somebody wrote it.
    """
    one, two = _parse(old), _parse(new)
    if one is None or two is None or one[2] != two[2]:
        return False
    (old_base, old_args, _), (new_base, new_args, _) = one, two
    if old_base == new_base:
        return _is_wider(old_base, old_args, new_args)
    if new_base in _WIDER.get(old_base, frozenset()):
        return not new_args
    return False


_WHOLE_NUMBERS = frozenset({"smallint", "integer", "bigint"})


def back_from_wider(name: str, old: str, new: str) -> str:
    """The expression that makes an old value of a column from one of a wider type; empty for a plain assignment.

    It fails where a value that came since does not fit: an explicit cast cuts texts and rounds numbers in silence, an
    assignment only rounds (manual, "Type Casts" and "Character Types").

    Args:
        name: The column, quoted.
        old: Its old type, as PostgreSQL prints it.
        new: The wider one, as somebody wrote it.
    """
    one, two = _parse(old), _parse(new)
    if one is None or two is None or one == two:
        return f"{name}::{old}"
    if one[0] == "character varying":
        return ""
    if {one[0], two[0]} <= _WHOLE_NUMBERS:
        return f"{name}::{old}"
    fits = f"{name}::{old}::{new} IS NOT DISTINCT FROM {name}"
    return f"CASE WHEN {fits} THEN {name}::{old} ELSE ('does not fit: ' || {name}::text)::{old} END"


def _parse(text: str) -> tuple[str, tuple[int, ...], str] | None:
    match = _TYPE.fullmatch(text.strip().lower().removeprefix("pg_catalog."))
    if match is None:
        return None
    base = match["base"].strip()
    args = tuple(int(one) for one in match["args"].split(",")) if match["args"] else ()
    return _SYNONYMS.get(base, base), args, "[]" if match["array"] else ""


def _is_wider(base: str, old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    if old == new or not new:
        return True
    if not old or base not in {"character varying", "numeric"}:
        return False
    if base == "character varying":
        return new >= old
    digits, scale = old[0], old[1] if len(old) > 1 else 0
    more, other = new[0], new[1] if len(new) > 1 else 0
    return other == scale and more >= digits
