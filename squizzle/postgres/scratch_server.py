"""Servers to try things on: one of our own that goes away again, or one that the user named for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from squizzle.errors import CouldNotVerifyError, InvalidInputError
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect
from squizzle.postgres.embedded import (
    FIRST_WITH_WAL_SUMMARIES,
    Runtime,
    drill_settings,
    find_runtime,
    throwaway_cluster,
)
from squizzle.postgres.programs import ClientPrograms, find_programs, system_folders


@dataclass(frozen=True, kw_only=True, slots=True)
class ScratchServer:
    """Where scratch databases may be made.

    Attributes:
        access: Server and account; a superuser, or somebody who may do what the script does.
        programs: Client programs that fit it.
        throwaway: Whether the whole server goes away afterwards, so that roles may be made on it.
        where: What messages call it.
    """

    access: ServerAccess
    programs: ClientPrograms
    throwaway: bool
    where: str


@contextmanager
def scratch_server(major: int, *, prefix: str, programs: Path | None = None) -> Iterator[ScratchServer]:
    """A server of our own of the same major version, for the length of the block.

    Args:
        major: Of the server that it stands in for.
        prefix: What the cluster's name begins with.
        programs: Folder of client programs that the user named.

    Raises:
        CouldNotVerifyError: There are no server programs of this version on this machine. Nothing was started.
        EmbeddedServerError: It does not start.
    """
    runtime = runtime_of(major)
    settings = drill_settings(major, throwaway=True) | _settings(major)
    with throwaway_cluster(prefix, settings=settings, runtime=runtime) as address:
        yield ScratchServer(
            access=ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user),
            programs=find_programs(explicit=programs, server_major=major),
            throwaway=True,
            where=f"an embedded PostgreSQL {runtime.version}",
        )


def _settings(major: int) -> dict[str, str]:
    """Nothing is recovered from it, so its log is worth no second copy, and nobody looks it through.

    Autovacuum would read what was just restored, write to the log that is measured, and hold locks; what needs ANALYZE
    is analysed by whoever restores or migrates. The log of a restore should not force one checkpoint after the other.
    """
    summaries = {"summarize_wal": "off"} if major >= FIRST_WITH_WAL_SUMMARIES else {}
    return {
        "archive_mode": "off",
        "autovacuum": "off",
        "max_wal_size": "2GB",
        # Its log has no old files to use again, so each one would be written twice.
        "wal_init_zero": "off",
        # A tenth of a middling database is worked on at once; what is not used is not taken from the machine.
        "shared_buffers": "256MB",
        **summaries,
    }


def runtime_of(major: int) -> Runtime:
    """Server programs of this machine of one major version.

    Raises:
        CouldNotVerifyError: There are none.
    """
    seen = []
    for folder in (None, *system_folders()):
        try:
            runtime = find_runtime(bin_folder=folder)
        except InvalidInputError as exc:
            seen.append(exc.message)
            continue
        if runtime.major == major:
            return runtime
        seen.append(runtime.version)
    raise CouldNotVerifyError(
        f"there is no PostgreSQL {major} on this machine to try it on (found: {', '.join(seen) or 'none'})",
        hint=f"install the server programs of PostgreSQL {major}, or name a server for it",
    )


def named_server(access: ServerAccess, *, programs: Path | None = None) -> ScratchServer:
    """A server that the user named for scratch databases.

    Raises:
        ConnectionFailedError: It cannot be reached.
    """
    with connect(access, CONTROL_DATABASE, purpose="scratch") as control:
        major = control.info.server_version // 10000
    found = find_programs(explicit=programs, server_major=major)
    return ScratchServer(access=access, programs=found, throwaway=False, where=f"{access.where} (PostgreSQL {major})")
