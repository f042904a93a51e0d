"""Where a bucket is and how backups are kept in it. Knows nothing of boto3, so that it costs nothing to import."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from squizzle.errors import InvalidInputError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/-]*")
_ADDRESSING = ("auto", "path", "virtual")
_SSE = ("AES256", "aws:kms")
_LOCK_MODES = ("GOVERNANCE", "COMPLIANCE")
# What an address may say behind `?`. No credentials: addresses are written into manifests, logs and shell histories.
_IN_ADDRESSES = (
    "region",
    "endpoint",
    "addressing",
    "storage_class",
    "sse",
    "kms_key_id",
    "lock_mode",
    "lock_days",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Settings:
    """A bucket, a place in it, and what S3 shall do with what is written there.

    Attributes:
        bucket: Its name.
        prefix: Begins every key, without a `/` at its ends; empty for the whole bucket.
        region: None for the default of boto3 (environment, profile).
        endpoint: URL of a server that is not Amazon's; None for the default of boto3.
        addressing: `path` where the bucket's name cannot be part of the host's name.
        storage_class: Of files and manifests; None for the bucket's default.
        sse: Encryption by the service, `AES256` or `aws:kms`; None for the bucket's default.
        kms_key_id: The key for `aws:kms`; None for the account's default key.
        lock_mode: Object Lock of what is published, `GOVERNANCE` or `COMPLIANCE`; None for the bucket's default.
        lock_days: How long the lock holds.
        access_key: With `secret_key`, instead of boto3's own search (environment, profile, role of the machine).
        secret_key: Never shown.
        session_token: Of temporary credentials; never shown.
        connect_timeout_s: For one connection.
        read_timeout_s: Without a byte from the service.
        attempts: Of every request, with growing random pauses of at most 20 s between them.

    Raises:
        InvalidInputError: A value cannot be used.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    addressing: str = "auto"
    storage_class: str | None = None
    sse: str | None = None
    kms_key_id: str | None = None
    lock_mode: str | None = None
    lock_days: int | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    attempts: int = 5

    def __post_init__(self) -> None:
        for problem, hint in self._problems():
            raise InvalidInputError(problem, hint=hint)

    def _problems(self) -> list[tuple[str, str]]:
        endpoint = urlsplit(self.endpoint or "https://default")
        is_url = endpoint.scheme in {"http", "https"} and endpoint.hostname and not endpoint.username
        folders = self.prefix.split("/") if self.prefix else []
        checks = (
            (
                _BUCKET.fullmatch(self.bucket),
                f"{self.bucket!r} cannot be the name of a bucket",
                "use 3 to 63 of a-z 0-9 . -",
            ),
            (
                _PREFIX.fullmatch(self.prefix) and not {"", ".", ".."}.intersection(folders),
                f"{self.prefix!r} cannot be the prefix of a store",
                "letters, digits and !_.*'()- between single slashes",
            ),
            # The endpoint itself is not repeated: somebody may have written a password into it.
            (is_url, "the endpoint is no http:// or https:// address without a user", "write https://host:port"),
            (self.addressing in _ADDRESSING, f"unknown addressing {self.addressing!r}", f"use {_any(_ADDRESSING)}"),
            (self.sse in {None, *_SSE}, f"unknown sse {self.sse!r}", f"use {_any(_SSE)}"),
            (not self.kms_key_id or self.sse == "aws:kms", "a KMS key is named, but not used", "add sse=aws:kms"),
            (self.lock_mode in {None, *_LOCK_MODES}, f"unknown lock {self.lock_mode!r}", f"use {_any(_LOCK_MODES)}"),
            (
                bool(self.lock_mode) == bool(self.lock_days) and (self.lock_days or 1) > 0,
                "a lock needs a mode and a number of days",
                "give both lock_mode and lock_days, or neither",
            ),
            (bool(self.access_key) == bool(self.secret_key), "half of the credentials are missing", "give both keys"),
        )
        return [(problem, hint) for is_fine, problem, hint in checks if not is_fine]

    @property
    def address(self) -> str:
        """The place as a URL, without options and secrets."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def settings_of(address: str) -> S3Settings:
    """Read `s3://bucket/prefix?region=…&endpoint=…`. Pure.

    Raises:
        InvalidInputError: It says something that cannot be used; a value that may be a secret is not repeated.
    """
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.fragment:
        raise InvalidInputError(
            "the address of a bucket holds neither credentials nor `#`",
            hint="write s3://bucket/prefix; boto3 finds credentials in the environment or a profile",
        )
    values: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _IN_ADDRESSES:
            raise InvalidInputError(
                f"the address of a bucket cannot say {name!r}", hint=f"it can say {', '.join(_IN_ADDRESSES)}"
            )
        values[name] = value
    if "lock_days" in values:
        if not values["lock_days"].isdecimal():
            raise InvalidInputError("lock_days is not a number", hint="write lock_days=30")
        values["lock_days"] = int(values["lock_days"])
    return S3Settings(bucket=parts.netloc, prefix=unquote(parts.path).strip("/"), **values)


def _any(values: tuple[str, ...]) -> str:
    return " or ".join(values)
