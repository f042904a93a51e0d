"""What sqitch calls the changes and tags of a plan: SHA-1 over what the plan says of them. Pure.

Facts from sqitch 1.3.1's sources (`App/Sqitch/Plan/Change.pm`, `Tag.pm`, `Depend.pm`, `ChangeList.pm`): a change's id
covers the id of the change before it, so that ids stay the same only while everything before stays the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from squizzle.migrations.layouts.sqitch_plan import Change, Plan, Planned, Tag

_SHA1 = re.compile(r"[0-9a-f]{40}")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentifiedTag:
    """A tag and its id."""

    tag: Tag
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentifiedChange:
    """A change, its id, and those of its tags."""

    change: Change
    id: str
    tags: tuple[IdentifiedTag, ...]


def identify(plan: Plan) -> tuple[IdentifiedChange, ...]:
    """The changes of a plan with their ids, in its order."""
    found: list[IdentifiedChange] = []
    for change in plan.changes:
        parent = found[-1].id if found else None
        identity = _sha1("change", _change_info(plan, change, parent))
        tags = tuple(IdentifiedTag(tag=tag, id=_sha1("tag", _tag_info(plan, tag, identity))) for tag in change.tags)
        found.append(IdentifiedChange(change=change, id=identity, tags=tags))
    return tuple(found)


def local_name(plan: Plan, dependency: str) -> str:
    """A dependency as sqitch writes it: without the name of the plan's own project."""
    return dependency.removeprefix(f"{plan.project}:")


def find_dependency(changes: Sequence[IdentifiedChange], name: str) -> str | None:
    """The id of the change of this plan that a dependency names (`local_name`); None when it is another project's.

    `users@v1` is the last `users` up to the tag, `users` the first of all, `@v1` the change with the tag.
    """
    if _SHA1.fullmatch(name):
        return next((one.id for one in changes if one.id == name), None)
    wanted, _, tag = name.partition("@")
    upto = len(changes)
    if tag:
        upto = next((place for place, one in enumerate(changes, 1) if tag in {t.tag.name for t in one.tags}), 0)
        if not wanted:
            return changes[upto - 1].id if upto else None
    named = [one.id for one in changes[:upto] if one.change.name == wanted]
    if not named:
        return None
    return named[-1] if tag else named[0]


def canonical_uri(uri: str) -> str:
    """A URI as Perl's `URI->canonical` writes it (RFC 3986, section 6.2.2)."""

    def escape(match: re.Match[str]) -> str:
        character = chr(int(match[0][1:], 16))
        return character if _UNRESERVED.fullmatch(character) else match[0].upper()

    parts = urlsplit(_ESCAPE.sub(escape, uri))
    user, at, place = parts.netloc.rpartition("@")
    host, colon, port = place.lower().partition(":")
    if not port or port == str(_PORTS.get(parts.scheme)):
        colon = port = ""
    path = parts.path or ("/" if parts.scheme in _PORTS else "")
    return urlunsplit((parts.scheme, f"{user}{at}{host}{colon}{port}", path, parts.query, parts.fragment))


def _sha1(kind: str, info: str) -> str:
    content = info.encode()
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _change_info(plan: Plan, change: Change, parent: str | None) -> str:
    return "\n".join(
        [
            *_head(plan),
            f"change {change.name}",
            *([f"parent {parent}"] if parent else []),
            *_signature(change.planned),
            *_list(plan, "requires", "+", change.requires),
            *_list(plan, "conflicts", "-", change.conflicts),
            *_note(change.planned),
        ]
    )


def _tag_info(plan: Plan, tag: Tag, change_id: str) -> str:
    lines = [*_head(plan), f"tag @{tag.name}", f"change {change_id}", *_signature(tag.planned), *_note(tag.planned)]
    return "\n".join(lines)


def _head(plan: Plan) -> Iterator[str]:
    yield f"project {plan.project}"
    if plan.uri:
        yield f"uri {canonical_uri(plan.uri)}"


def _signature(planned: Planned) -> Iterator[str]:
    yield f"planner {planned.planner} <{planned.email}>"
    yield f"date {planned.at}"


def _list(plan: Plan, word: str, sign: str, dependencies: Sequence[str]) -> Iterator[str]:
    if dependencies:
        yield word
        yield from (f"  {sign} {local_name(plan, one)}" for one in dependencies)


def _note(planned: Planned) -> Iterator[str]:
    if planned.note:
        yield ""
        yield planned.note
