"""The example company's database, with data."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.client_run import run_client
from squizzle.postgres.identity import Target

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"


def load_shop(
    access: ServerAccess, database: str, *, scale: float = 0.02, timeout: timedelta = timedelta(minutes=1)
) -> None:
    """Apply every migration of the example, and generate its rows."""
    with connect(access, database, purpose="test") as session:
        apply_versions(session, Target(database=database), read_migrations(SHOP / "migrations"))
    run_client(
        Path(sys.executable),
        [str(SHOP / "generate.py"), "--scale", str(scale)],
        access=access,
        database=database,
        doing="load the example's data",
        timeout=timeout,
    )
