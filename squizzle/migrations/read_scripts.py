"""Scripts as statements, read once however many databases get them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from squizzle.analysis.records import Statement
from squizzle.analysis.statements import split_statements


# A preview and the run that follows read the same files: enough for a long history, and a run forgets them at its end.
@lru_cache(maxsize=2048)
def script_statements(text: str, source: str) -> tuple[Statement, ...]:
    """The statements of a script.

    Args:
        text: The script.
        source: What messages call it.

    Raises:
        InvalidInputError: It cannot be read as SQL.
    """
    return split_statements(text, source=source)


def forget_scripts() -> None:
    """Let go of what was read of scripts: a worker that lives long must not keep every large file it ever ran."""
    with _guard:
        if not _keepers:
            script_statements.cache_clear()


@contextmanager
def kept_scripts() -> Iterator[None]:
    """Keep what is read of scripts until the end of the block: many databases get the same ones."""
    keeper = object()
    with _guard:
        _keepers.append(keeper)
    try:
        yield
    finally:
        with _guard:
            _keepers.remove(keeper)
        forget_scripts()


_guard = threading.Lock()
_keepers: list[object] = []
