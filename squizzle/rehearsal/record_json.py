"""Frozen records as JSON types and back, by their fields, so that a field that is added later needs no code here.

A length of time is a number of milliseconds under its name with `_ms`, a moment is ISO 8601, a relation is its name as
SQL writes it. What a record says more than its fields (a sum, a sentence) is left to the caller.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from squizzle.analysis.locks.records import RelationName

_MS = "_ms"
_MICROSECOND = timedelta(microseconds=1)
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_$]*")
_NAME = re.compile(r'("(?:[^"]|"")*"|[^".]+)')


def encode(value: object, *, with_defaults: bool = True) -> Any:
    """A record as JSON types.

    Args:
        value: A record, or what one may hold.
        with_defaults: Whether fields that have their default value are said, too. Without them the result stays the
            same when a later version of the program adds a field with a default.
    """
    if isinstance(value, RelationName):
        return relation_text(value)
    if is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {
            _key(one.name, hints[one.name]): encode(getattr(value, one.name), with_defaults=with_defaults)
            for one in fields(value)
            if with_defaults or not _is_default(one, getattr(value, one.name))
        }
    if isinstance(value, Mapping):
        return {str(key): encode(one, with_defaults=with_defaults) for key, one in sorted(value.items())}
    if isinstance(value, tuple):
        return [encode(one, with_defaults=with_defaults) for one in value]
    return _encode_plain(value)


def _encode_plain(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return milliseconds(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a document")


def milliseconds(duration: timedelta) -> int | float:
    """Milliseconds, to the microsecond; a whole number where they are whole."""
    microseconds = duration // _MICROSECOND
    return microseconds / 1000 if microseconds % 1000 else microseconds // 1000


def _key(name: str, kind: Any) -> str:
    return f"{name}{_MS}" if kind is timedelta or timedelta in get_args(kind) else name


def _is_default(field: Field[Any], value: object) -> bool:
    if field.default is not MISSING:
        return bool(field.default == value)
    return field.default_factory is not MISSING and bool(field.default_factory() == value)


def decode(kind: Any, value: Any) -> Any:
    """What `encode` made of a value of this type. A field that is missing has its default; other keys are passed over.

    Args:
        kind: The type, as an annotation says it.
        value: JSON types.

    Raises:
        KeyError, TypeError, ValueError: It is nothing that `encode` makes of that type.
    """
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        (wanted,) = (one for one in get_args(kind) if one is not type(None))
        return None if value is None else decode(wanted, value)
    if origin is tuple:
        return tuple(decode(get_args(kind)[0], one) for one in _a(list, value))
    if origin is not None and issubclass(origin, Mapping):
        return {key: decode(get_args(kind)[1], one) for key, one in _a(dict, value).items()}
    if kind is RelationName:
        return relation_of(_a(str, value))
    if is_dataclass(kind):
        return _decode_record(kind, _a(dict, value))
    return _decode_plain(kind, value)


def _decode_record(kind: Any, document: dict[str, Any]) -> Any:
    hints = _hints(kind)
    found: dict[str, Any] = {}
    for one in fields(kind):
        key = _key(one.name, hints[one.name])
        if key in document:
            found[one.name] = decode(hints[one.name], document[key])
        elif one.default is MISSING and one.default_factory is MISSING:
            raise KeyError(one.name)
    return kind(**found)


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _decode_plain(kind: Any, value: Any) -> Any:
    if issubclass(kind, Enum):
        return kind(value)
    if kind is datetime:
        moment = datetime.fromisoformat(_a(str, value))
        if moment.tzinfo is None:
            raise ValueError("a moment without its zone")
        return moment
    if kind is timedelta:
        return timedelta(microseconds=round(_number(value) * 1000))
    if kind is float:
        return float(_number(value))
    if kind is int and isinstance(value, bool):
        raise TypeError("a number is expected, and found is true or false")
    return _a(kind, value)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a number is expected, and found is {type(value).__name__}")
    return value


def _a(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} is expected, and found is {type(value).__name__}")
    return value


def relation_text(relation: RelationName) -> str:
    """A relation as SQL writes it; quoted where it must be, so that `relation_of` can tell the parts apart."""
    name = quoted_name(relation.name)
    return f"{quoted_name(relation.schema)}.{name}" if relation.schema else name


def quoted_name(name: str) -> str:
    """A name as SQL writes it, quoted where it is not plain; words of SQL that are names are not quoted."""
    return name if _PLAIN_NAME.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def relation_of(text: str) -> RelationName:
    """The relation of a text that `relation_text` made; ValueError for any other."""
    match = re.fullmatch(f"(?:{_NAME.pattern}\\.)?{_NAME.pattern}", text)
    if match is None:
        raise ValueError("no name of a relation")
    schema, name = (_unquoted(part or "") for part in match.groups())
    return RelationName(schema=schema, name=name)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
