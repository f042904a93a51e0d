"""The store of backups: whether it can be listed and written, how much fits, and whether the keys are here."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.open_store import open_store
from squizzle.backups.settings import BackupSettings
from squizzle.backups.space import size_words
from squizzle.doctor.findings import Finding, State
from squizzle.errors import KeyNotUsableError
from squizzle.numbers import number_of

_NAME = "store"


def look_at_store(settings: BackupSettings) -> Iterator[Finding]:
    """List it, write a word into it, take that away again; a backup is not touched.

    Raises:
        SquizzleError: It cannot be read or written, or the newest backup's manifest is damaged or of another key.
    """
    if not settings.store:
        yield Finding(
            name=_NAME,
            state=State.WARNING,
            detail="none is configured: nothing is backed up, rehearsed or recovered from a backup",
            hint='[backups] store = "s3://…" or "file:///…" in squizzle.toml',
        )
        return
    keys = open_keys(settings.keys)
    store = open_store(settings.store, keys)
    ids = store.list_ids()
    free = store.free_bytes()
    room = "" if free is None else f", {size_words(free)} free"
    yield Finding(name=_NAME, detail=f"{store.address}: {number_of(len(ids), 'backup')}{room}")
    word = f"doctor/{secrets.token_hex(8)}"
    store.put_text(word, "whether this store can be written\n")
    store.remove_text(word)
    yield Finding(name=f"{_NAME}: can be written", detail="a word was written, and taken away again")
    if ids:
        try:
            newest = store.read(ids[0])
        except KeyNotUsableError as exc:
            yield Finding(name=f"{_NAME}: newest backup", state=State.PROBLEM, detail=exc.message, hint=exc.hint)
        else:
            yield Finding(
                name=f"{_NAME}: newest backup",
                detail=f"{newest.id}, {newest.kind.value}, its manifest can be read here",
            )
