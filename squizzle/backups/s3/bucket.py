"""A place in a bucket, through boto3: objects by their path below the prefix."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, FlexibleChecksumError, HTTPClientError, IncompleteReadError

from squizzle.backups.s3.failures import clear_failures, code_of, is_absent, is_held_back
from squizzle.backups.s3.parts import Part, checksum_of_parts, checksum_text
from squizzle.backups.s3.settings import S3Settings
from squizzle.disturbance import disturb_client
from squizzle.errors import ToolError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOT_PUBLISHED = "nothing was published"
# Damaged on its way: boto3 repeats what was not answered, but takes this answer as final.
_DAMAGED = frozenset({"BadDigest", "XAmzContentSHA256Mismatch"})
_DAMAGED_TRIES = 3
_CHUNK = 1 << 20
_MOST_DELETED_AT_ONCE = 1000  # DeleteObjects, Amazon S3 API Reference
_UNTOLD = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """An object that is there.

    Attributes:
        path: Below the prefix.
        size: In bytes.
        etag: The service's name for this very content.
        age: Since it was written, by the service's own clock.
        modified_at: When it was written; only of a list.
        checksum: SHA-256 as S3 writes it, when it was asked for.
        locked_until: None without Object Lock, or when it was not asked for.
    """

    path: str
    size: int
    etag: str
    age: timedelta = timedelta()
    modified_at: datetime = _UNTOLD
    checksum: str | None = None
    locked_until: datetime | None = None


class Bucket:
    """Objects below a prefix.

    Args:
        settings: Where, and how it is kept.
    """

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self.address = settings.address
        self._root = f"{settings.prefix}/" if settings.prefix else ""
        with clear_failures(f"open {self.address}"):
            self._client = _connect(settings)

    # Writing

    def put(self, path: str, data: bytes, *, is_file: bool = False, instead_of: str | None = None) -> str:
        """Write an object where none is, or instead of one that is known.

        Args:
            path: Below the prefix.
            data: All of it.
            is_file: It belongs to a backup: storage class and lock are for it.
            instead_of: The ETag of what it replaces.

        Returns:
            The new ETag.

        Raises:
            ToolError: The service fails, or another object is there (`FileExistsError` is its cause).
        """
        condition = {"IfMatch": instead_of} if instead_of else {"IfNoneMatch": "*"}
        return self._put(path, data, {**condition, **self._keeping(is_file=is_file)})

    def put_text(self, path: str, text: str) -> None:
        """Write a small object, whatever is there."""
        self.replace(path, text.encode())

    def replace(self, path: str, data: bytes) -> None:
        """The same with bytes: not locked, and in the bucket's own storage class."""
        self._put(path, data, self._encryption())

    def _put(self, path: str, data: bytes, options: dict[str, Any]) -> str:
        digest = hashlib.sha256(data).digest()
        try:
            with clear_failures(f"write {path} to {self.address}", outcome=NOT_PUBLISHED):
                answer = _again_when_damaged(
                    lambda: self._client.put_object(
                        **self._at(path), Body=data, ChecksumSHA256=checksum_text(digest), **options
                    )
                )
        except ToolError as exc:
            # The answer to a first try may have been lost: then what is there is what we wrote.
            if not _was_held_back(exc):
                raise
            return self._adopt(path, len(data), checksum_text(digest))
        self._compare(path, answer.get("ChecksumSHA256"), checksum_text(digest))
        return str(answer["ETag"])

    def begin_parts(self, path: str) -> str:
        """Begin an object in parts; gives the upload's id."""
        with clear_failures(f"write {path} to {self.address}", outcome=NOT_PUBLISHED):
            return self._client.create_multipart_upload(
                **self._at(path), ChecksumAlgorithm="SHA256", **self._keeping(is_file=True)
            )["UploadId"]

    def put_part(
        self, path: str, upload: str, number: int, data: bytearray, there: Part | None = None
    ) -> tuple[str, bytes]:
        """Write one part, unless it is there already; gives its ETag and its SHA-256."""
        digest = hashlib.sha256(data).digest()
        if there is not None and there.holds(data, digest):
            return there.etag, digest
        with clear_failures(f"write part {number} of {path} to {self.address}", outcome=NOT_PUBLISHED):
            answer = _again_when_damaged(
                lambda: self._client.upload_part(
                    **self._at(path),
                    UploadId=upload,
                    PartNumber=number,
                    Body=cast("bytes", data),
                    ChecksumSHA256=checksum_text(digest),
                )
            )
        self._compare(f"part {number} of {path}", answer.get("ChecksumSHA256"), checksum_text(digest))
        return answer["ETag"], digest

    def finish_parts(self, path: str, upload: str, parts: Sequence[tuple[str, bytes]], size: int) -> None:
        """Make the parts, in their order, one object where none is."""
        listed: list[Any] = [
            {"PartNumber": number, "ETag": etag, "ChecksumSHA256": checksum_text(digest)}
            for number, (etag, digest) in enumerate(parts, start=1)
        ]
        expected = checksum_of_parts([digest for _, digest in parts])
        try:
            with clear_failures(f"finish {path} in {self.address}", outcome=NOT_PUBLISHED):
                answer = self._client.complete_multipart_upload(
                    **self._at(path), UploadId=upload, MultipartUpload={"Parts": listed}, IfNoneMatch="*"
                )
        except ToolError as exc:
            if not _was_held_back(exc) and _code_behind(exc) != "NoSuchUpload":
                raise
            self._adopt(path, size, expected)
        else:
            self._compare(path, answer.get("ChecksumSHA256"), expected)

    def drop_parts(self, path: str, upload: str) -> None:
        """Give up an object in parts; what was sent is removed. Nothing happens when there is none."""
        try:
            with clear_failures(f"give up {path} in {self.address}"):
                self._client.abort_multipart_upload(**self._at(path), UploadId=upload)
        except ToolError as exc:
            if _code_behind(exc) != "NoSuchUpload":
                raise

    def _adopt(self, path: str, size: int, checksum: str) -> str:
        """Take an object that is there for ours, if its bytes are."""
        there = self.look(path)
        if there is not None and (there.size, there.checksum) == (size, checksum):
            return there.etag
        raise ToolError(
            f"{path} is in {self.address} with another content than ours; {NOT_PUBLISHED}",
            command="s3",
            hint="run the same again: it takes a new name",
        ) from FileExistsError(path)

    def _compare(self, what: str, answered: str | None, sent: str) -> None:
        if answered != sent:
            found = "no SHA-256" if answered is None else "another SHA-256"
            raise ToolError(
                f"{self.address} answered {found} for {what}; {NOT_PUBLISHED}",
                command="s3",
                hint="run the same again; a server that keeps no SHA-256 checksums cannot hold backups",
            )

    # Reading

    def get(self, path: str) -> tuple[bytes, str] | None:
        """A small object and its ETag; None when it is not there.

        Raises:
            ToolError: The service fails.
        """
        for attempt in range(1, self.settings.attempts + 1):
            answer = self._open(path)
            if answer is None:
                return None
            try:
                with clear_failures(f"read {path} in {self.address}"), closing(answer["Body"]) as body:
                    return body.read(), answer["ETag"]
            except ToolError as exc:
                self._pause_or_raise(exc, attempt)
        raise AssertionError("the last attempt raises")

    def download(self, held: Held, target: IO[bytes], *, on_bytes: Callable[[int], None] = lambda _more: None) -> None:
        """Copy an object; a broken connection is taken up where it broke.

        Args:
            held: What to copy.
            target: Where to.
            on_bytes: Called with the number of bytes of each piece.

        Raises:
            ToolError: The service fails, or what lies there was removed or exchanged meanwhile.
        """
        attempt = 0
        while True:
            done = target.tell()
            answer = self._open(held.path, IfMatch=held.etag, **({"Range": f"bytes={done}-"} if done else {}))
            if answer is None:
                raise _ended(held, self.address, done)
            try:
                with clear_failures(f"read {held.path} in {self.address}"), closing(answer["Body"]) as body:
                    for chunk in body.iter_chunks(_CHUNK):
                        target.write(chunk)
                        on_bytes(len(chunk))
            except ToolError as exc:
                if isinstance(exc.__cause__, FlexibleChecksumError):  # all of it came, but not as it lies there
                    target.seek(0)
                    target.truncate()
                # Only attempts that brought nothing are counted: a large file may meet many broken connections.
                attempt = 1 if target.tell() > done else attempt + 1
                self._pause_or_raise(exc, attempt)
            else:
                if target.tell() != held.size:
                    raise _ended(held, self.address, target.tell())
                return

    def _open(self, path: str, **options: Any) -> Any:
        try:
            with clear_failures(f"read {path} in {self.address}"):
                return self._client.get_object(**self._at(path), **options)
        except ToolError as exc:
            if isinstance(exc.__cause__, ClientError) and is_absent(exc.__cause__):
                return None
            raise

    def look(self, path: str) -> Held | None:
        """What is there; None for nothing."""
        try:
            with clear_failures(f"look at {path} in {self.address}"):
                answer = self._client.head_object(**self._at(path), ChecksumMode="ENABLED")
        except ToolError as exc:
            if isinstance(exc.__cause__, ClientError) and is_absent(exc.__cause__):
                return None
            raise
        until = answer.get("ObjectLockRetainUntilDate")
        if answer.get("ObjectLockLegalHoldStatus") == "ON":
            until = datetime.max.replace(tzinfo=UTC)
        return Held(
            path=path,
            size=answer["ContentLength"],
            etag=answer["ETag"],
            checksum=answer.get("ChecksumSHA256"),
            locked_until=until,
        )

    def list(self, beginning: str) -> Iterator[Held]:
        """Every object whose path begins so."""
        for page in self._pages("list_objects_v2", Prefix=self._root + beginning):
            now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
            for one in page.get("Contents", ()):
                path = one["Key"].removeprefix(self._root)
                modified_at = one["LastModified"]
                yield Held(
                    path=path, size=one["Size"], etag=one["ETag"], age=now - modified_at, modified_at=modified_at
                )

    def folders(self, above: str = "") -> tuple[str, ...]:
        """The names directly below the prefix, or a path below it that ends with `/`, that have something below."""
        root = self._root + above
        pages = self._pages("list_objects_v2", Prefix=root, Delimiter="/")
        found = (one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ()))
        return tuple(name.removeprefix(root).rstrip("/") for name in found)

    def unfinished_parts(self, beginning: str) -> Iterator[tuple[str, str]]:
        """Path and id of every object in parts that was not finished."""
        for page in self._pages("list_multipart_uploads", Prefix=self._root + beginning):
            for one in page.get("Uploads", ()):
                yield one["Key"].removeprefix(self._root), one["UploadId"]

    def parts_of(self, path: str) -> tuple[str, dict[int, Part]] | None:
        """The last unfinished object in parts of exactly this path: its id and its parts by number; None without."""
        uploads = [upload for found, upload in self.unfinished_parts(path) if found == path]
        if not uploads:
            return None
        parts = {
            one["PartNumber"]: Part(etag=one["ETag"], size=one["Size"], checksum=one.get("ChecksumSHA256"))
            for page in self._pages("list_parts", Key=self._root + path, UploadId=uploads[-1])
            for one in page.get("Parts", ())
        }
        return uploads[-1], parts

    # Removing

    def delete(self, paths: Sequence[str]) -> None:
        """Remove objects; nothing happens for those that are not there.

        Raises:
            ToolError: The service fails or refuses some of them.
        """
        for begin in range(0, len(paths), _MOST_DELETED_AT_ONCE):
            some: list[Any] = [{"Key": self._root + path} for path in paths[begin : begin + _MOST_DELETED_AT_ONCE]]
            with clear_failures(f"remove files from {self.address}", outcome="some may be left"):
                answer = self._client.delete_objects(
                    Bucket=self.settings.bucket, Delete={"Objects": some, "Quiet": True}
                )
                for error in answer.get("Errors", ()):
                    raise ClientError({"Error": {"Code": error.get("Code", "")}}, "DeleteObjects")

    # Below

    def _at(self, path: str) -> dict[str, Any]:
        return {"Bucket": self.settings.bucket, "Key": self._root + path}

    def _pages(self, operation: Any, **options: Any) -> Iterator[Any]:
        with clear_failures(f"list {self.address}"):
            yield from self._client.get_paginator(operation).paginate(Bucket=self.settings.bucket, **options)

    def _encryption(self) -> dict[str, Any]:
        options = {"ServerSideEncryption": self.settings.sse, "SSEKMSKeyId": self.settings.kms_key_id}
        return {name: value for name, value in options.items() if value}

    def _keeping(self, *, is_file: bool) -> dict[str, Any]:
        options: dict[str, Any] = self._encryption()
        if is_file and self.settings.storage_class:
            options["StorageClass"] = self.settings.storage_class
        if is_file and self.settings.lock_mode:
            options["ObjectLockMode"] = self.settings.lock_mode
            options["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(days=self.settings.lock_days or 0)
        return options

    def _pause_or_raise(self, error: ToolError, attempt: int) -> None:
        """Wait before a broken answer is asked for again; what boto3 gave up or the service refused is not repeated."""
        is_broken = isinstance(error.__cause__, (HTTPClientError, FlexibleChecksumError, IncompleteReadError))
        if not is_broken or attempt >= self.settings.attempts:
            raise error
        time.sleep(random.uniform(0, min(20, 0.2 * 2**attempt)))  # noqa: S311 - so that not all come back at once


def _connect(settings: S3Settings) -> S3Client:
    client: S3Client = boto3.session.Session().client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        aws_session_token=settings.session_token,
        config=Config(
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": settings.attempts},
            s3=cast("Any", {"addressing_style": settings.addressing}),
            max_pool_connections=16,
            user_agent_extra="squizzle",
        ),
    )
    disturb_client(client, "s3")
    return client


def _ended(held: Held, address: str, done: int) -> ToolError:
    return ToolError(
        f"{held.path} in {address} ended after {done} of {held.size} bytes: it was removed or exchanged meanwhile",
        command="s3",
        hint="list the store; use another backup if this one is gone",
    )


def _again_when_damaged(send: Any) -> Any:
    for attempt in range(1, _DAMAGED_TRIES + 1):
        try:
            return send()
        except ClientError as exc:
            if code_of(exc) not in _DAMAGED or attempt == _DAMAGED_TRIES:
                raise
    raise AssertionError("the last attempt raises")


def _was_held_back(error: ToolError) -> bool:
    return isinstance(error.__cause__, ClientError) and is_held_back(error.__cause__)


def _code_behind(error: ToolError) -> str:
    return code_of(error.__cause__) if isinstance(error.__cause__, ClientError) else ""
