"""Telling a bad migration from a scratch server that cannot run it: the one fails, the other decides nothing."""

from __future__ import annotations

import psycopg

from squizzle.errors import (
    ConnectionFailedError,
    CouldNotVerifyError,
    DatabaseError,
    InvalidInputError,
    LockTimeoutError,
    SquizzleError,
    ToolError,
)

# Manual, "PostgreSQL Error Codes".
_STATES = {
    "42501": "the account on the scratch server may not do that",
    "53100": "the scratch server has no room left",
    "53200": "the scratch server has no memory left",
    "53300": "the scratch server lets no more sessions in",
    "55P03": "a lock was not granted there",
    "57014": "it was cut off",
    "57P01": "the scratch server was shut down",
    "57P02": "the scratch server crashed",
    "58P01": "the scratch server lacks a file that it needs",
}
_WORDS = (
    "is not available",
    "does not have the extensions",
    "must be superuser",
    "must be owner",
    "permission denied",
    "must be loaded via shared_preload_libraries",
    "could not access file",
    "could not open extension control file",
    "No space left on device",
    "not supported by this build",
)


def why_it_says_nothing(error: SquizzleError) -> str:
    """Why an error says nothing about the migration: what the scratch server could not do; empty when it does.

    Args:
        error: What applying or rolling back raised.
    """
    state = sqlstate_of(error)
    if state in _STATES:
        return f"{_STATES[state]}: {error.message}"
    if isinstance(error, (ConnectionFailedError, LockTimeoutError, CouldNotVerifyError, ToolError, InvalidInputError)):
        return error.message
    if any(words in error.message for words in _WORDS):
        return f"the scratch server cannot do that: {error.message}"
    return ""


def sqlstate_of(error: SquizzleError) -> str:
    """The server's error code behind an error of ours; empty when there is none."""
    if isinstance(error, DatabaseError) and error.sqlstate:
        return error.sqlstate
    cause = error.__cause__
    return (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""
