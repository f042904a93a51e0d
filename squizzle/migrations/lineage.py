"""Which versions come before and after one: by the order of versions, or by what each says that it needs. Pure.

Most layouts have one line, and the order of versions is all there is. Alembic's revisions say what they need, so two of
them may be independent of each other; then `Migration.requires` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from squizzle.errors import VersionConflictError
from squizzle.migrations.records import Migration
from squizzle.migrations.versions import version_key

# A beginning that is shorter may be meant as something else: `1`, `head`. Alembic asks for as much.
_SHORTEST_BEGINNING = 4


def full_version(text: str | None, migrations: Sequence[Migration]) -> str | None:
    """The version that is meant: itself, or the one whose alias is this or begins with it.

    Args:
        text: What somebody typed; None stays None, and what fits nothing stays as it is.
        migrations: What is on disk.

    Raises:
        VersionConflictError: It is the beginning of more than one alias.
    """
    if not text or any(one.version == text for one in migrations):
        return text
    exact = [one.version for one in migrations if one.alias == text]
    beginnings = [one.version for one in migrations if one.alias.startswith(text)]
    found = exact or (beginnings if len(text) >= _SHORTEST_BEGINNING else [])
    if len(found) > 1:
        raise VersionConflictError(
            f"{text} may be more than one version: {', '.join(found)}", hint="write more of it, or all of it"
        )
    return found[0] if found else text


def is_linear(version: str, migrations: Iterable[Migration]) -> bool:
    """Whether the order of versions alone decides what comes before and after this one."""
    return all(one.requires is None for one in migrations if one.version == version)


def needed_by(version: str, migrations: Iterable[Migration]) -> frozenset[str]:
    """Everything that must be there before this version."""
    known = {one.version: one for one in migrations}
    if is_linear(version, known.values()):
        return frozenset(one for one in known if version_key(one) < version_key(version))
    return _closure(version, {one.version: one.requires or () for one in known.values()})


def depend_on(version: str, migrations: Iterable[Migration], there: Iterable[str]) -> frozenset[str]:
    """Those of `there` that cannot be without this version."""
    known = tuple(migrations)
    if is_linear(version, known):
        return frozenset(one for one in there if version_key(one) > version_key(version))
    children: dict[str, tuple[str, ...]] = {}
    for one in known:
        for parent in one.requires or ():
            children[parent] = (*children.get(parent, ()), one.version)
    return _closure(version, children) & frozenset(there)


def _closure(version: str, edges: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found: set[str] = set()
    left = list(edges.get(version, ()))
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += edges.get(one, ())
    return frozenset(found)
