"""What a recovery on its own works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from squizzle.config import load_config
from squizzle.migrations.layouts import detect_layout
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.identity import Target
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import FleetSettings, resolve_server
from squizzle.sweep.control import default_control
from squizzle.sweep.sweeping import expected_of
from tasks.folders import MigrationsFolder
from tasks.rollout_case import configured_store
from tasks.sources import DatabaseSource, NamedDatabase, StoreSource
from tasks.sweep_case import SweepCase

WINDOW = timedelta(minutes=30)
"""What failed longer ago is a person's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoRecoveryCase:
    """What may be taken back, with what, and how people are told.

    Attributes:
        sweep: The fleet, how people are told, and where incidents are kept.
        folder: The migrations, for the down scripts.
        store: Where backups and certificates are; None for nowhere.
        window: What failed longer ago is a person's.
        fence_otherwise: Whether the database of a failure that was not taken back is shut.
    """

    sweep: SweepCase
    folder: MigrationsFolder
    store: StoreSource | None = None
    window: timedelta = WINDOW
    fence_otherwise: bool = False

    @property
    def settings(self) -> FleetSettings:
        """The fleet's."""
        return self.sweep.settings

    def database(self, fleet: Fleet, target: FleetTarget) -> NamedDatabase:
        """One target, and who it must be."""
        access, _ = resolve_server(fleet.servers[target.server], environ=self.sweep.environ)
        meant = Target(database=target.database, schema=target.schema, expected=expected_of(fleet))
        return NamedDatabase(meant=meant, opens=lambda: access)

    def rollouts(self, fleet: Fleet) -> tuple[ServerAccess, str]:
        """Where the fleet's rollouts are written down, and hold their lock."""
        access, meant = default_control(fleet, environ=self.sweep.environ)
        return access, meant.database

    def control(self, fleet: Fleet) -> DatabaseSource:
        """Where incidents are kept: what was named, else the first canary."""
        return self.sweep.control_of(fleet)


def auto_recovery_case(
    sweep: SweepCase, configuration: Path, *, store: StoreSource | None, environ: Mapping[str, str]
) -> AutoRecoveryCase:
    """What `squizzle.toml` says.

    Args:
        sweep: The fleet, and how people are told.
        configuration: The file `squizzle.toml`.
        store: Where backups are; None for `[backups] store`.
        environ: Where secrets are.

    Raises:
        InvalidInputError: A file or a setting is wrong.
    """
    config = load_config(configuration)
    layout = detect_layout(config.migrations) if config.layout == "auto" else config.layout
    placeholders = tuple(placeholders_of(environ).items())
    return AutoRecoveryCase(
        sweep=sweep,
        folder=MigrationsFolder(path=config.migrations, layout=layout, placeholders=placeholders),
        store=store or configured_store(config),
    )
