"""Server settings: what drills and throwaway servers want, and how settings are written down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from squizzle.errors import InvalidInputError

ARCHIVE_FOLDER = "archive"
"""Name of the archive folder, beside the data folder."""

_ARCHIVE_COMMAND = (
    # PostgreSQL runs it with the data folder as the current one, so that a path from there needs no quoting, and a
    # data folder that was restored into another cluster cannot write into this one's archive.
    # A segment that is there already is success when it is the same one: after a crash PostgreSQL archives again what
    # it cannot know was archived (manual, 25.3.1). A different one is an error and is never overwritten.
    f'if test -e "../{ARCHIVE_FOLDER}/%f"; then cmp -s "%p" "../{ARCHIVE_FOLDER}/%f"; '
    # Under its own name only when it is whole: a reader of the archive must never meet half a segment.
    f'else cp "%p" "../{ARCHIVE_FOLDER}/.%f.part" && '
    f'mv "../{ARCHIVE_FOLDER}/.%f.part" "../{ARCHIVE_FOLDER}/%f"; fi'
)

DRILL_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_command": _ARCHIVE_COMMAND,
        "max_wal_senders": "10",  # base backups and pg_receivewal, two each at a time, and room
    },
)
"""What taking backups and recovering to a point in time need, on every supported version."""

THROWAWAY_SETTINGS: Mapping[str, str] = MappingProxyType(
    {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"},
)
"""Faster, and worthless after a crash of the machine: only for a server whose data nobody will miss."""

FIRST_WITH_WAL_SUMMARIES = 17
"""The major version that knows `summarize_wal`."""

_BASE_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "timezone": "UTC",
        "log_timezone": "UTC",
        # In files below the data folder, so that they go away with it when a killed server is not started again. The
        # default, /dev/shm, would keep them until the machine is restarted, and has 64 MB in a container.
        "dynamic_shared_memory_type": "mmap",
    },
)

_SET_BY_THE_CLUSTER = frozenset(
    {
        "port",
        "listen_addresses",
        "unix_socket_directories",
        "unix_socket_permissions",
        "data_directory",
        "logging_collector",
        "log_destination",
    },
)
"""The cluster gives these on the command line, which wins over files: a value here would silently do nothing."""

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def drill_settings(major: int, *, throwaway: bool = False) -> dict[str, str]:
    """Returns the settings for a server that drills back up and recover.

    Args:
        major: The server's major version; from 17 on WAL is summarised, which incremental backups need.
        throwaway: Whether the data may be lost when the machine crashes; fsync stays on otherwise.
    """
    settings = dict(DRILL_SETTINGS)
    if major >= FIRST_WITH_WAL_SUMMARIES:
        settings["summarize_wal"] = "on"
    if throwaway:
        settings |= THROWAWAY_SETTINGS
    return settings


def render_settings(settings: Mapping[str, str]) -> str:
    """Renders settings as lines for the end of postgresql.conf, where the last line about a setting wins.

    Args:
        settings: Values by name, unquoted.

    Raises:
        InvalidInputError: A name is none, a value has control characters, or the cluster itself sets it. Nothing was
            changed.
    """
    for name, value in settings.items():
        _refuse_unusable(name, value)
    return render_lines({**_BASE_SETTINGS, **settings})


def render_lines(settings: Mapping[str, str]) -> str:
    """Renders settings as lines of postgresql.conf, whatever they are and for whatever server.

    Args:
        settings: Values by name, unquoted.

    Raises:
        InvalidInputError: A value has control characters.
    """
    for name, value in settings.items():
        _refuse_control_characters(name, value)
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())


def _refuse_unusable(name: str, value: str) -> None:
    if _SETTING_NAME.fullmatch(name) is None:
        raise InvalidInputError(
            f"{name!r} is not the name of a PostgreSQL setting", hint="write it as postgresql.conf has it"
        )
    if name.lower() in _SET_BY_THE_CLUSTER:
        raise InvalidInputError(
            f"the setting {name} is chosen by the embedded cluster and cannot be given", hint="leave it out"
        )
    _refuse_control_characters(name, value)


def _refuse_control_characters(name: str, value: str) -> None:
    if not value.isprintable():
        raise InvalidInputError(
            f"the value of the setting {name} has control characters", hint="write it on one line of plain text"
        )


def _quoted(value: str) -> str:
    # Unlike SQL, the file reads backslash escapes inside quotes (manual, 19.1.2).
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
