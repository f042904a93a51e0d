"""Labels of targets: name and value of each, as `tier=gold` on a command line."""

from __future__ import annotations

from collections.abc import Iterable

from squizzle.errors import InvalidInputError

Labels = tuple[tuple[str, str], ...]


def parse_labels(said: Iterable[str]) -> Labels:
    """What `--label NAME=VALUE` says, ordered by name; several are all asked for.

    Raises:
        InvalidInputError: One is not `NAME=VALUE`, or one name is asked for with two values.
    """
    found: dict[str, str] = {}
    for one in said:
        name, equals, value = (part.strip() for part in one.partition("="))
        if not (name and equals and value):
            raise InvalidInputError(f"{one!r} is no label", hint="write NAME=VALUE, such as tier=gold")
        if found.setdefault(name, value) != value:
            raise InvalidInputError(
                f"no target has both {name}={found[name]} and {name}={value}", hint="ask for one of them at a time"
            )
    return tuple(sorted(found.items()))


def label_words(labels: Labels) -> str:
    """As a person writes them."""
    return ", ".join(f"{name}={value}" for name, value in labels)
