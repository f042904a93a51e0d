"""Under which licences what is installed may be used, from its own metadata: no network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

# As authors write them: SPDX expressions, the names of PyPI's classifiers, and free text.
_ALLOWED = re.compile(
    r"\b(?:MIT|BSD|0BSD|Apache|ISC|ISCL|MPL|Mozilla Public|PSF|Python Software Foundation|Zlib|CC0|HPND|CNRI)\b",
    re.IGNORECASE,
)
_GROUP = re.compile(r"\(([^()]*\b(?:AND|OR)\b[^()]*)\)")
_REFUSED = re.compile(r"GPL|GNU|proprietary|commercial", re.IGNORECASE)

EXCEPTIONS: Mapping[str, str] = {
    # Imported as it is and replaceable by whoever installs: what the LGPL asks for (its section 4).
    "psycopg": "LGPL-3.0-only, a library that is used unchanged",
    "psycopg-binary": "LGPL-3.0-only, a library that is used unchanged",
    # Comes with Prefect. Of its two licences the first is chosen.
    "text-unidecode": "Artistic License or GPL-2.0-or-later",
    # A program that reads our text in `make check`; no part of what is installed with Squizzle.
    "codespell": "GPL-2.0-only, a tool",
}
"""What is used under another licence than those, and why it may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Licensed:
    """One installed package.

    Attributes:
        name: As it is required.
        version: Of what is installed.
        licence: In its author's words; empty where they say nothing.
        is_allowed: Whether it may be used.
    """

    name: str
    version: str
    licence: str
    is_allowed: bool


def licences_of(root: str) -> Iterator[Licensed]:
    """Everything that a package needs, with all its extras, as far as it is installed; itself left out.

    Args:
        root: Its name.

    Raises:
        PackageNotFoundError: It is not installed itself.
    """
    seen: set[str] = set()
    waiting = list(_needs(distribution(root), frozenset(distribution(root).metadata.get_all("Provides-Extra", []))))
    while waiting:
        requirement = waiting.pop()
        name = _canonical(requirement.name)
        if name in seen or name == _canonical(root):
            continue
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # of an extra or a platform that is not here
        seen.add(name)
        waiting += _needs(found, frozenset(requirement.extras))
        licence = _licence(found)
        allowed = name in EXCEPTIONS or is_allowed(licence)
        yield Licensed(name=name, version=found.version, licence=licence, is_allowed=allowed)


def is_allowed(licence: str) -> bool:
    """Whether a licence, in its author's words, is one of those that Squizzle's own users can live with.

    Of alternatives (`OR`) one has to be; of parts (`AND`, several classifiers) each.
    """
    while group := _GROUP.search(licence):
        licence = licence.replace(group[0], "MIT" if is_allowed(group[1]) else "GPL")
    alternatives = [re.split(r"\bAND\b|;", one) for one in re.split(r"\bOR\b", licence)]
    return any(all(_ALLOWED.search(part) and not _REFUSED.search(part) for part in parts) for parts in alternatives)


def _needs(found: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for text in found.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _licence(found: Distribution) -> str:
    meta = found.metadata
    if "License-Expression" in meta:
        return meta["License-Expression"]
    classifiers = [
        str(one).rpartition("::")[2].strip() for one in meta.get_all("Classifier", []) if one.startswith("License ::")
    ]
    # Long texts stand whole in the old field; who they are by is told by the classifiers.
    old = meta["License"] if "License" in meta else ""  # noqa: SIM401 - the stubs know no get
    return "; ".join(classifiers) or old.strip().partition("\n")[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
