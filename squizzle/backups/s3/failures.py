"""What boto3 and the service say went wrong, in our words: what failed, what is left, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from squizzle.errors import ToolError

_LOG_IN = "get fresh ones (`aws sso login`, or restart what hands them out), then run the same again"
_KEYS = "check the access key, its secret and, for another server than Amazon's, the endpoint"
_AGAIN = "run the same again; look at the service's health when it stays"

# Codes of the S3 API (Amazon S3 API Reference, "Error responses") in words, and what to do about each.
_CODES = {
    "AccessDenied": ("the account may not do that", "give it the rights that docs/stores.md lists"),
    "403": ("the account may not do that", "give it the rights that docs/stores.md lists"),
    "AllAccessDisabled": ("the bucket is closed to everybody", "ask its owner"),
    "BadDigest": ("what arrived is not what was sent", "the network damages data: check it, then run the same again"),
    "XAmzContentSHA256Mismatch": (
        "what arrived is not what was sent",
        "the network damages data: check it, then run the same again",
    ),
    "ExpiredToken": ("the credentials expired", _LOG_IN),
    "ExpiredTokenException": ("the credentials expired", _LOG_IN),
    "InvalidToken": ("the session token is not valid", _LOG_IN),
    "TokenRefreshRequired": ("the credentials expired", _LOG_IN),
    "InvalidAccessKeyId": ("the service does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("the secret does not fit the access key", _KEYS),
    "RequestTimeTooSkewed": ("the clock of this machine is wrong", "set it (NTP), then run the same again"),
    "NoSuchBucket": ("there is no such bucket", "check its name and region, or make it (docs/stores.md)"),
    "PermanentRedirect": ("the bucket lies in another region", "name it: region=…"),
    "AuthorizationHeaderMalformed": ("the bucket lies in another region", "name it: region=…"),
    "InvalidObjectState": (
        "the file lies in an archive",
        "have S3 restore it (`aws s3api restore-object`)",
    ),
    "SlowDown": ("the service was asked too often and stayed busy", "run the same again later"),
    "KMS.DisabledException": ("the KMS key is switched off", "switch it on, then run the same again"),
}
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})


def code_of(error: ClientError) -> str:
    """The service's own word for an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: ClientError) -> bool:
    """Whether an object is not there; a bucket that is not there is another matter."""
    return code_of(error) in _ABSENT


def is_held_back(error: ClientError) -> bool:
    """Whether a condition on what is there already was not met."""
    return code_of(error) in {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


@contextmanager
def clear_failures(doing: str, *, outcome: str = "nothing was changed") -> Iterator[None]:
    """Turn errors of boto3 into ours. Their own texts are left out: they may quote headers.

    Args:
        doing: Completes "could not …", with the store's address.
        outcome: What is left behind.

    Raises:
        ToolError: With the reason and the next step.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as exc:
        reason, hint = _explain(exc)
        raise ToolError(f"could not {doing}: {reason}; {outcome}", command="s3", hint=hint) from exc


def _explain(exc: ClientError | BotoCoreError) -> tuple[str, str]:
    if isinstance(exc, ClientError):
        code = code_of(exc)
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _CODES.get(code, (f"the service answered {code or 'nothing'} (HTTP {status})", _AGAIN))
    if isinstance(exc, (NoCredentialsError, PartialCredentialsError)):
        return "there are no credentials", "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(exc, (CredentialRetrievalError, TokenRetrievalError)):
        return "the credentials cannot be had", _LOG_IN
    if isinstance(exc, NoRegionError):
        return "no region is named", "name it: region=…, or set AWS_DEFAULT_REGION"
    if isinstance(exc, (BotoConnectionError, HTTPClientError)):
        return f"the service cannot be reached ({type(exc).__name__})", f"check network and endpoint, then {_AGAIN}"
    return f"boto3 failed ({type(exc).__name__})", _AGAIN
