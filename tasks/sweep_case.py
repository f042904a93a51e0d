"""What a sweep looks at, and how people are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from squizzle.alerts.records import AlertRule
from squizzle.alerts.rules import read_alert_rules
from squizzle.backups.open_store import configured_store
from squizzle.backups.store import BackupStore
from squizzle.config import Config, load_config
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.notify.records import Delivery
from squizzle.rollout.records import Fleet
from squizzle.settings.fleets import FleetSettings, fleet_named
from squizzle.settings.notify import NotifySettings
from squizzle.sweep.control import default_control
from tasks.folders import Folder, MigrationsFolder
from tasks.sources import DatabaseSource, NamedDatabase


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepCase:
    """What is looked at, and how people are told.

    Attributes:
        settings: The fleet.
        default_schema: The project's, of targets that say nothing else.
        rules: Alert rules, besides those that come with every sweep.
        notify: Channels and routes.
        folder: Migrations, to count what targets lack; None where there are none.
        control: Where alerts are kept; None for the first canary.
        drift: Whether schemas are compared with what the last run left.
        tell: Whether people are told.
        store: Opens the store of the targets' backups; None where backups are not looked at.
        fleets: The names of all fleets of squizzle.toml, of which sweeps are kept.
        environ: Where secrets are.
        given_up: Channels that failed in this run.
    """

    settings: FleetSettings
    default_schema: str
    rules: tuple[AlertRule, ...]
    notify: NotifySettings
    folder: Folder | None = None
    control: DatabaseSource | None = None
    drift: bool = False
    tell: bool = True
    store: Callable[[], BackupStore] | None = None
    fleets: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    given_up: dict[str, Delivery] = field(default_factory=dict, repr=False)

    def control_of(self, fleet: Fleet) -> DatabaseSource:
        """Where alerts and incidents are kept: what was named, else the first canary.

        Raises:
            InvalidInputError: A variable is not set.
        """
        if self.control is not None:
            return self.control
        access, meant = default_control(fleet, environ=self.environ)
        return NamedDatabase(meant=meant, opens=lambda: access)


def sweep_case(
    fleet: str | FleetSettings,
    configuration: Path,
    *,
    alerts: tuple[str, ...],
    notify: NotifySettings | None,
    environ: Mapping[str, str],
) -> SweepCase:
    """What `squizzle.toml` and files of alert rules say.

    Args:
        fleet: A section `[fleets.NAME]`, or the settings of a block.
        configuration: The file `squizzle.toml`.
        alerts: Files of alert rules, besides those of the fleet; seen from the worker's folder.
        notify: Channels; None for `[notify]`.
        environ: Where secrets are.

    Raises:
        InvalidInputError: A file or a setting is wrong, or there is no such fleet.
    """
    config = load_config(configuration)
    source = str(configuration)
    settings = fleet_named(config.fleets, fleet, source=source) if isinstance(fleet, str) else fleet
    return SweepCase(
        settings=settings,
        default_schema=config.schema,
        rules=read_alert_rules([*settings.watch.alerts, *alerts]),
        notify=notify or config.notify,
        store=configured_store(config.backups),
        folder=_folder(config, environ) if config.migrations.is_dir() else None,
        fleets=(*config.fleets, settings.name),
        environ=environ,
    )


def _folder(config: Config, environ: Mapping[str, str]) -> Folder:
    if config.layout == "auto":
        return config.migrations
    placeholders = tuple(placeholders_of(environ).items())
    return MigrationsFolder(path=config.migrations, layout=config.layout, placeholders=placeholders)
