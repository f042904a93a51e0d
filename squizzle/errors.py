"""Every error Squizzle raises on purpose.

The tree::

    SquizzleError                       1  general
    ├── InvalidInputError               2  configuration, usage, unreadable migrations
    │   ├── KeyNotUsableError           2  the key of an encrypted backup is missing or cannot be used
    │   └── ProgramNotUsableError       2  a PostgreSQL client program is missing or too old
    ├── VersionConflictError            5  versions out of order, twice, or unknown
    ├── ChecksumMismatchError           6  a file of an applied version was changed
    ├── RefusedError                    9  policy or a missing approval
    │   ├── UndecidedError              9  a person was asked, and nobody answered in time
    │   └── IdentityMismatchError       9  this is not the database that was meant
    ├── CouldNotVerifyError            10  a check did not run, so nothing may be concluded from it
    ├── ChaosError                      1  a failure that was asked for
    ├── DatabaseError(sqlstate)         1  the server said no
    │   ├── ConnectionFailedError       3  not reachable, or no such database
    │   │   └── AuthenticationFailedError  4
    │   ├── LockTimeoutError            8  somebody else holds what is needed
    │   │   └── BeingMigratedError      8  somebody else migrates the database
    │   ├── StandbyBehindError          8  a standby is too far behind to send it more
    │   └── MigrationFailedError        1  a statement of an up script failed
    ├── ToolError(command, exit_code)   1  a program that we started failed
    │   └── EmbeddedServerError         1  the embedded PostgreSQL does not start or stop
    ├── CloudError                      1  an outside service failed
    │   └── CloudUnavailableError       1  it is busy or out of reach; worth another try
    │       └── CloudBusyError          1  it asks to wait
    └── RecoveryError                   7  a way back failed
        ├── RollbackFailedError         7  a down script is missing or failed
        ├── FencingFailedError          7  something could not be shut, or not be opened again
        │   └── FencingUnavailableError 7  it is busy or out of reach; worth another try
        └── BackupDamagedError          7  a backup is not what its manifest says

The number is the exit code of the command (CLI contract). Every constructor argument has a default, so that every
error survives pickling: an exception that cannot be unpickled replaces the real failure by a TypeError in a process
pool.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class DatabaseState(StrEnum):
    """What a failed action left behind in the database it worked on."""

    UNTOUCHED = "untouched"
    CHANGED = "changed"
    UNKNOWN = "unknown"


class SquizzleError(Exception):
    """Base of all our errors: what failed, what state the database is in, what to do next.

    Args:
        message: What failed, on which object, what was found and what was expected. Never a secret.
        hint: The next command to run or the thing to change; empty when the message says it all.
        database_state: What the action left behind.
    """

    code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        database_state: DatabaseState = DatabaseState.UNTOUCHED,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.database_state = database_state

    @property
    def message(self) -> str:
        """The text without the hint."""
        return str(self.args[0]) if self.args else ""

    @property
    def next_step(self) -> str:
        """What to do next: what the error says itself, else what always helps where the database is left like that."""
        if self.hint:
            return self.hint
        if self.retryable:
            return "run the same again in a moment"
        if self.database_state is DatabaseState.UNTOUCHED:
            return "what it says is the reason; correct it, then run the same again"
        return "look at `squizzle status`: it says what was finished; then run the same again"

    @property
    def in_one_line(self) -> str:
        """All of it, for the state of a run and a field of a report: message, state of the database, next step."""
        is_untouched = self.database_state is DatabaseState.UNTOUCHED
        left = "" if is_untouched else f" (database: {self.database_state.value})"
        return f"{self.message}{left}. Next: {self.next_step}"


class InvalidInputError(SquizzleError):
    """A setting, an argument, a file or a folder cannot be used. Nothing was changed."""

    code = 2


class KeyNotUsableError(InvalidInputError):
    """The key that backups are encrypted with is missing, another one, or cannot be used. Nothing was changed."""


class ProgramNotUsableError(InvalidInputError):
    """A PostgreSQL program is missing, or older than the server it should talk to. Nothing was changed."""


class VersionConflictError(SquizzleError):
    """The asked-for version does not fit the history: out of order, twice, or unknown. Nothing was changed."""

    code = 5


class ChecksumMismatchError(SquizzleError):
    """The up script of an applied version is not the one that was applied. Nothing was changed."""

    code = 6


class RefusedError(SquizzleError):
    """Squizzle could, but must not: policy, identity, or an approval that is missing. Nothing was changed."""

    code = 9


class UndecidedError(RefusedError):
    """A person was asked, and nobody decided in time. Nothing was changed."""


class IdentityMismatchError(RefusedError):
    """The database says it is another one than the caller meant. Nothing was changed."""


class CouldNotVerifyError(SquizzleError):
    """A check could not be carried out, so neither success nor failure may be claimed."""

    code = 10


class ChaosError(SquizzleError):
    """A step was made to fail on purpose (`SQUIZZLE_CHAOS`); nothing of it was done, so another try may help."""

    retryable = True


class DatabaseError(SquizzleError):
    """The server refused or failed a command.

    Args:
        message: As for SquizzleError.
        sqlstate: The five characters of the server's error code; empty when the server gave none.
        hint: As for SquizzleError.
        database_state: As for SquizzleError.
    """

    def __init__(
        self,
        message: str = "",
        *,
        sqlstate: str = "",
        hint: str = "",
        database_state: DatabaseState = DatabaseState.UNTOUCHED,
    ) -> None:
        super().__init__(message, hint=hint, database_state=database_state)
        self.sqlstate = sqlstate


class ConnectionFailedError(DatabaseError):
    """No connection to the server, or it has no such database. Worth another try; nothing was changed."""

    code = 3
    retryable = True


class AuthenticationFailedError(ConnectionFailedError):
    """The server does not accept the user or the password. Nothing was changed."""

    code = 4
    retryable = False


class LockTimeoutError(DatabaseError):
    """Another session holds a lock that is needed. Worth another try."""

    code = 8
    retryable = True


class BeingMigratedError(LockTimeoutError):
    """Somebody else migrates the database; nothing was changed. Worth another try."""


class StandbyBehindError(DatabaseError):
    """A standby stayed too far behind for the whole time that we may wait; the next run goes on where this one was."""

    code = 8
    retryable = True


class MigrationFailedError(DatabaseError):
    """A statement of an up script, or its verify script, failed; `database_state` says what is left of it."""


class ToolError(SquizzleError):
    """A program that we started failed.

    Args:
        message: As for SquizzleError.
        command: The program's name; never its arguments, they may hold names that a log should not.
        exit_code: What the program returned; negative for a signal.
        stderr_tail: The last lines it wrote to standard error.
        hint: As for SquizzleError.
        database_state: As for SquizzleError.
    """

    def __init__(
        self,
        message: str = "",
        *,
        command: str = "",
        exit_code: int = 0,
        stderr_tail: str = "",
        hint: str = "",
        database_state: DatabaseState = DatabaseState.UNTOUCHED,
    ) -> None:
        super().__init__(message, hint=hint, database_state=database_state)
        self.command = command
        self.exit_code = exit_code
        self.stderr_tail = stderr_tail


class EmbeddedServerError(ToolError):
    """The embedded PostgreSQL could not be made, started or stopped."""


class CloudError(SquizzleError):
    """An outside service refused or failed a request."""


class CloudUnavailableError(CloudError):
    """An outside service is busy, out of reach, or not done within the time given. Worth another try."""

    retryable = True


class CloudBusyError(CloudUnavailableError):
    """An outside service asks to wait.

    Args:
        message: As for SquizzleError.
        wait_s: So many seconds; 0 where it does not say.
        hint: As for SquizzleError.
    """

    def __init__(self, message: str = "", *, wait_s: float = 0.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.wait_s = wait_s


class RecoveryError(SquizzleError):
    """A way back failed; `database_state` and the message say how the database was left."""

    code = 7


class RollbackFailedError(RecoveryError):
    """A down script is missing, or a statement of it failed; a failed one was rolled back as a whole."""


class FencingFailedError(RecoveryError):
    """A fence could not be put up or taken down; the message says how it was left."""


class FencingUnavailableError(FencingFailedError):
    """What should be fenced is busy or out of reach. Worth another try; the message says how it was left."""

    retryable = True


class BackupDamagedError(RecoveryError):
    """A backup is not what its manifest says it is. Nothing was restored from it."""
