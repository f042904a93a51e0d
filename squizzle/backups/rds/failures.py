"""What boto3 and RDS say went wrong, in our words: what failed, what goes on all the same, what to do."""

from __future__ import annotations

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
from botocore.exceptions import ConnectionError as BotoConnectionError

from squizzle.errors import CloudError, CloudUnavailableError

CLOUD_ERRORS = (ClientError, BotoCoreError)
"""Everything that boto3 raises on purpose."""

_LOG_IN = "get fresh ones (`aws sso login`, or restart what hands them out), then run the same again"
_RIGHTS = "give the account the rights that docs/rds.md lists"
_KEYS = "check the access key and its secret"
_AGAIN = "run the same again; look at https://health.aws.amazon.com when it stays"
# Codes of the RDS API ("Common Error Types" and the actions used) in words, and what to do about each.
_CODES = {
    "AccessDenied": ("the account may not do that", _RIGHTS),
    "AccessDeniedException": ("the account may not do that", _RIGHTS),
    "ExpiredToken": ("the credentials expired", _LOG_IN),
    "ExpiredTokenException": ("the credentials expired", _LOG_IN),
    "RequestExpired": ("the credentials expired, or the clock of this machine is wrong", _LOG_IN),
    "InvalidClientTokenId": ("AWS does not know the access key", _KEYS),
    "UnrecognizedClientException": ("AWS does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("the secret does not fit the access key", _KEYS),
    "DBInstanceNotFound": (
        "there is no such instance in this Region",
        "check identifier, Region and account; the name of an Aurora cluster is not that of an instance",
    ),
    "InvalidParameterCombination": (
        "two of the settings do not go together",
        "`aws cloudtrail lookup-events` shows what RDS said about which",
    ),
    "InvalidParameterValue": (
        "RDS does not take one of the settings",
        "`aws cloudtrail lookup-events` shows what RDS said about which",
    ),
    "DBParameterGroupNotFound": ("the parameter group is gone", "make it again under its old name"),
    "DBSubnetGroupNotFoundFault": ("the subnet group is gone", "make it again under its old name"),
    "OptionGroupNotFoundFault": ("the option group is gone", "make it again under its old name"),
    "DBSnapshotNotFound": ("there is no such snapshot in this Region", "`squizzle backups --verify` finds one that is"),
    "InvalidDBSnapshotState": ("the snapshot is not available", "wait until it is, then run the same again"),
    "InstanceQuotaExceeded": ("the account has as many instances as it may", "have the quota raised, or delete one"),
    "StorageQuotaExceeded": ("the account has as much storage as it may", "have the quota raised"),
    "InsufficientDBInstanceCapacity": (
        "AWS has no such machine free at the moment",
        "run the same again later, or restore to another class",
    ),
    "KMSKeyNotAccessibleFault": ("the KMS key cannot be used", "switch the key on and allow it to the account"),
}
# AWS General Reference, "Common errors" and botocore's own list of throttling codes.
_BUSY = frozenset(
    {
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_SERVER_FAULT = 500
_WITHOUT_ANSWER: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (NoCredentialsError, PartialCredentialsError),
        "there are no credentials",
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    ((CredentialRetrievalError, TokenRetrievalError), "the credentials cannot be had", _LOG_IN),
    ((NoRegionError,), "no Region is named", "name the Region, or set AWS_DEFAULT_REGION"),
    (
        (BotoConnectionError, HTTPClientError),
        "AWS cannot be reached ({})",
        f"check network and endpoint, then {_AGAIN}",
    ),
)


def code_of(exc: Exception) -> str:
    """The service's own word for an error; empty when it did not answer."""
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def is_passing(exc: Exception) -> bool:
    """Whether the same request may go through a little later: throttled, a fault of the service, a lost connection."""
    if isinstance(exc, ClientError):
        status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return code_of(exc) in _BUSY or status >= _SERVER_FAULT
    return isinstance(exc, (BotoConnectionError, HTTPClientError))


def translated(exc: Exception, doing: str, *, outcome: str = "nothing was changed") -> CloudError:
    """The error in our words. Texts of boto3 are left out: they may quote headers.

    Args:
        exc: One of `CLOUD_ERRORS`.
        doing: Completes "could not …".
        outcome: What is left behind.
    """
    reason, hint = _explain(exc)
    kind = CloudUnavailableError if is_passing(exc) else CloudError
    return kind(f"could not {doing}: {reason}; {outcome}", hint=hint)


def _explain(exc: Exception) -> tuple[str, str]:
    if isinstance(exc, ClientError):
        code = code_of(exc)
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _BUSY:
            return f"AWS was asked too often and stayed busy ({code})", "run the same again later"
        return _CODES.get(code, (f"AWS answered {code or 'nothing'} (HTTP {status})", _AGAIN))
    name = type(exc).__name__
    for kinds, reason, hint in _WITHOUT_ANSWER:
        if isinstance(exc, kinds):
            return reason.format(name), hint
    return f"boto3 failed ({name})", _AGAIN
