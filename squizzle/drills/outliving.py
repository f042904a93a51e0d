"""A folder that outlives the server that writes into it: where the store of a server lies that a drill loses."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from squizzle.backups.locked_folder import make_locked, remove_abandoned
from squizzle.postgres.embedded import Runtime

# No cluster may have a name with a dot.
_PREFIX = "drill.store-"


@contextmanager
def outliving_folder(runtime: Runtime) -> Iterator[Path]:
    """A folder that the servers' account may write, gone after the block; after a kill, with `sweep_outliving`.

    It lies where that account reaches it, beside the servers' folders.
    """
    folder = runtime.base / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(3)}"
    lock = make_locked(folder)
    try:
        runtime.hand_over(folder)
        yield folder
    finally:
        # A server that was killed may have left an archive command that still writes.
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep_outliving(runtime: Runtime) -> None:
    """Remove those of drills that were killed; whose drill lives is not touched."""
    for folder in sorted(runtime.base.glob(f"{_PREFIX}*")):
        with suppress(PermissionError):  # another account's
            remove_abandoned(folder)
