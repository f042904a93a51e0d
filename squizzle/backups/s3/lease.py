"""Who is writing a backup, said in the bucket itself: a small object that its writer renews while it lives.

Nobody can lock an object as the kernel locks a folder. So the writer replaces its object again and again, each time on
the condition that it still is its own; who finds one that is too old replaces it on the same condition and may clean.
The service decides which of the two was first. Ages are measured by the service's clock alone.
"""

from __future__ import annotations

import json
import secrets
import threading
from datetime import timedelta
from typing import Any

from squizzle.backups.s3.bucket import NOT_PUBLISHED, Bucket, Held
from squizzle.errors import ToolError

UNFINISHED = ".unfinished-"
REMOVED = ".removed-"

LEASE = timedelta(minutes=20)
"""Longer than every try of one request with its pauses (5 of at most 70 s), so that publishing ends within it."""

_RENEWALS = 10  # within one lease: nine may fail


class Lease:
    """The right to write one backup, from now until `end`.

    Args:
        bucket: Where.
        backup_id: Which.
        inherited: The token of a writer that is known to be dead; its right goes on.

    Raises:
        ToolError: Somebody else writes a backup of that id, or has cleaned it away (`FileExistsError` is its cause); or
            the service fails.
    """

    def __init__(self, bucket: Bucket, backup_id: str, *, inherited: str | None = None) -> None:
        self._bucket = bucket
        self._path = UNFINISHED + backup_id
        self.token = inherited or secrets.token_hex(8)
        self._renewed = 0
        self._turn = threading.Lock()
        self._ended = threading.Event()
        etag = None if inherited is None else self._etag_of_inherited()
        self._etag = bucket.put(self._path, self._text(), instead_of=etag)
        self._thread = threading.Thread(target=self._keep, name=f"squizzle lease {backup_id}", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """Make it last the full time again.

        Raises:
            ToolError: It was taken away, because it had not been renewed for too long; or the service fails.
        """
        with self._turn:
            self._renewed += 1
            try:
                self._etag = self._bucket.put(self._path, self._text(), instead_of=self._etag)
            except ToolError as exc:
                if isinstance(exc.__cause__, FileExistsError):
                    raise ToolError(
                        f"the backup was cleaned away from {self._bucket.address} while it was written: the bucket"
                        f" had not been reached for {LEASE}; {NOT_PUBLISHED}",
                        command="s3",
                        hint="run the same again",
                    ) from exc
                raise

    def stop(self) -> None:
        """Renew it no more. The object stays until `remove`."""
        self._ended.set()
        self._thread.join()

    def remove(self) -> None:
        """Say that nothing is left to clean."""
        self._bucket.delete([self._path])

    def _etag_of_inherited(self) -> str:
        found = self._bucket.get(self._path)
        if found is None or _document(found[0]).get("token") != self.token:
            raise ToolError(
                f"what a killed run had begun in {self._bucket.address} was cleaned away or taken over",
                command="s3",
                hint="take a new backup",
            ) from FileExistsError(self._path)
        return found[1]

    def _keep(self) -> None:
        while not self._ended.wait(LEASE.total_seconds() / _RENEWALS):
            try:
                self.renew()
            except ToolError:  # tried again at the next beat; `publish` renews it itself and says what is wrong
                continue

    def _text(self) -> bytes:
        text = {"token": self.token, "renewed": self._renewed, "lease_s": round(LEASE.total_seconds())}
        return json.dumps(text).encode()


def take_over(bucket: Bucket, held: Held) -> bool:
    """Whether a mark's writer is dead; if so it is ours from now on.

    Raises:
        ToolError: The service fails.
    """
    found = bucket.get(held.path)
    if found is None or found[1] != held.etag:
        return False
    lease_s = _lease_s(found[0])
    if lease_s is None or held.age.total_seconds() < lease_s:
        return False
    try:
        bucket.put(held.path, mark(), instead_of=held.etag)
    except ToolError as exc:
        if isinstance(exc.__cause__, FileExistsError):  # it lives after all
            return False
        raise
    return True


def mark() -> bytes:
    """The content of a mark that says: what it names is being removed."""
    return json.dumps({"token": secrets.token_hex(8), "lease_s": round(LEASE.total_seconds())}).encode()


def _lease_s(text: bytes) -> float | None:
    """How long a mark holds, by its own account; None when it is none of ours."""
    try:
        return float(_document(text)["lease_s"])
    except (ValueError, KeyError, TypeError):
        return None


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
