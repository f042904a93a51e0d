"""What machine this is, and what runs on it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from bench import peers
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect


def machine_facts(access: ServerAccess) -> tuple[str, ...]:
    """Where and when this ran, with what; one fact a line."""
    with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
        number = connection.info.server_version
    server = f"PostgreSQL {number // 10000}.{number % 10000}, embedded, on the same machine, over a Unix socket"
    found = (peers.find_squizzle(), peers.find_psql(access), peers.find_dbmate(), peers.find_alembic())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {os.getloadavg()[0]:.1f} before the first run",
        f"{_processor()}, {os.cpu_count()} processors, {psutil.virtual_memory().total / 2**30:.0f} GiB memory",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, psycopg {version('psycopg')}",
        f"{server}; settings as initdb leaves them (fsync on), but max_wal_size 4 GB",
        ", ".join(peer.sentence() for peer in found),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
