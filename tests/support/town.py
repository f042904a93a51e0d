"""A few databases of a fleet, `squizzle.toml` beside them, and somebody who is told: what sweeps are tried on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from flows.sweep_health import sweep_health
from squizzle.postgres.access import Connection, ServerAccess, connect
from tests.support.ears import HttpEar, http_ear
from tests.support.scratch import drop_databases

HOOK = "TOWN_HOOK"
"""The variable with the address of whoever is told."""


@dataclass(frozen=True, kw_only=True)
class Town:
    """The fleet, its folder, and somebody who is told."""

    access: ServerAccess
    prefix: str
    folder: Path
    ear: HttpEar

    @property
    def settings(self) -> Path:
        return self.folder / "squizzle.toml"

    @property
    def config(self) -> list[str]:
        return ["--config", str(self.settings)]

    def url(self, number: int) -> list[str]:
        access = self.access
        return ["--url", f"postgresql://{access.user}@/{self.prefix}_{number}?host={access.host}&port={access.port}"]

    def session(self, number: int) -> Connection:
        return connect(self.access, f"{self.prefix}_{number}", purpose="test")

    def sweep(self, **options: Any) -> Any:
        return sweep_health("town", configuration=self.settings, return_state=True, **options)

    def name(self, number: int) -> str:
        return f"one/{self.prefix}_{number}"

    def migration(self, name: str, up: str, down: str = "") -> None:
        place = self.folder / "migrations" / name
        place.mkdir(parents=True)
        for file, text in (("up.sql", up), ("down.sql", down)):
            if text:
                (place / file).write_text(text, encoding="utf-8")

    def heard(self) -> list[dict[str, Any]]:
        """What was said since the last time."""
        said = self.ear.documents()
        self.ear.posts.clear()
        return said


Kind = TypeVar("Kind", bound=Town)


@contextmanager
def a_town(
    kind: type[Kind], access: ServerAccess, folder: Path, settings: str, *, fleet: str = "", databases: int = 3
) -> Iterator[Kind]:
    """A new one, gone behind the block.

    Args:
        kind: Town, or something more of it.
        access: The server.
        folder: Where squizzle.toml will be.
        settings: What else stands in there; PREFIX stands for the databases' prefix.
        fleet: What else stands in the fleet's section.
        databases: How many.
    """
    prefix = f"town_{secrets.token_hex(3)}"
    host = quote(access.host, safe="")
    text = f"""
{settings}
[notify.channels.hook]
kind = "webhook"
url_env = "{HOOK}"
[fleets.town]
{fleet}
[fleets.town.servers.one]
url = "postgresql://{access.user}@/postgres?host={host}&port={access.port}"
# So that it is well, however full the disk of the machine is.
free_bytes_query = "SELECT 10::bigint ^ 12"
[fleets.town.databases]
like = "{prefix}%"
"""
    (folder / "squizzle.toml").write_text(text.replace("PREFIX", prefix), encoding="utf-8")
    with connect(access, "postgres", purpose="test") as control, http_ear() as ear:
        for number in range(databases):
            control.execute(f"CREATE DATABASE {prefix}_{number} TEMPLATE template0 STRATEGY file_copy".encode())
        try:
            yield kind(access=access, prefix=prefix, folder=folder, ear=ear)
        finally:
            drop_databases(control, prefix)
