"""What a rollout is asked for, given by a form or by a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.open_store import open_store
from squizzle.config import Config, load_config
from squizzle.migrations.layouts import detect_layout
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.migrations.records import Migration, Policy
from squizzle.postgres.decisions import ANYBODY, ApprovalRules
from squizzle.rehearsal.gate import Override, override_of
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.checks import CheckRow
from squizzle.rollout.ledger import FleetLock, RolloutRow
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import Fleet, FleetTarget, RolloutPlan, Stage, StagePlan, TargetReport
from squizzle.rollout.unwinding import Recovers
from squizzle.settings.fleet_labels import parse_labels
from squizzle.settings.fleets import FleetSettings, fleet_named
from squizzle.settings.rehearsal import RehearsalSettings
from tasks.folders import MigrationsFolder
from tasks.sources import DatabaseSource, NamedStore, StoreSource


class Secured(StrEnum):
    """Which targets of a stage are backed up before it: each one, the first one, none."""

    ALL = "all"
    FIRST = "first"
    NONE = "none"


class TakenBack(StrEnum):
    """What a failure takes back: the stage that failed, or everything that the rollout brought."""

    STAGE = "stage"
    ALL = "all"


class Spread(StrEnum):
    """Where a stage's targets are worked on: in the process of the run, or on the workers of a Dask cluster."""

    HERE = "here"
    DASK = "dask"


class Unapproved(StrEnum):
    """What becomes of what was brought before when a stage is not approved: it stays, or is taken back."""

    STOP = "stop"
    TAKE_BACK = "take-back"


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutCase:
    """What is asked for.

    Attributes:
        fleet: `[fleets.NAME]`.
        stages: As `read_stages` gives them.
        folder: The migrations.
        version: The last version to roll out; empty for all.
        default_schema: The project's, of targets that say nothing else.
        policy: What the project allows its migrations.
        keep_in_step: Whether the books of the folder's tool are kept, too.
        rehearsal: Which environments ask for certificates, and which count.
        override: A person's word instead of certificates; None for none.
        store: Where backups and certificates are; None for nowhere.
        control: Where decisions and the rollout itself are written down; None for one of the fleet's own.
        backups: Which targets of a stage are backed up before it, where its environment asks for certificates.
        takes_back: What a failure takes back, where the stage says that it does.
        recovers: When a target that could not be taken back is recovered.
        on_timeout: What becomes of what is migrated when nobody decides about a stage in time.
        on_rejection: The same when somebody says no.
        checks: A file of SQL that must hold while targets are watched; None for none.
        alerts: Files of alert rules that must not fire meanwhile; `guide` for those that come with Squizzle.
        watch_every: How often targets are looked at while they are watched.
        approval_timeout: How long a person may take to decide.
        rules: Whose yes counts, and how many it takes.
        spread: Where targets are worked on.
        dry_run: Look, check and plan only.
        go_back: Take back what the rollout that is under way brought, instead of going on with it.
        environ: Where secrets are.
    """

    fleet: FleetSettings
    stages: tuple[Stage, ...]
    folder: MigrationsFolder
    version: str = ""
    default_schema: str = "public"
    policy: Policy = field(default_factory=Policy)
    keep_in_step: bool = False
    rehearsal: RehearsalSettings = field(default_factory=RehearsalSettings)
    override: Override | None = None
    store: StoreSource | None = None
    control: DatabaseSource | None = None
    backups: Secured = Secured.ALL
    takes_back: TakenBack = TakenBack.STAGE
    recovers: Recovers = Recovers.SAFE
    on_timeout: Unapproved = Unapproved.STOP
    on_rejection: Unapproved = Unapproved.STOP
    checks: Path | None = None
    alerts: tuple[str, ...] = ()
    watch_every: timedelta = timedelta(seconds=30)
    approval_timeout: timedelta = timedelta(hours=8)
    rules: ApprovalRules = ANYBODY
    spread: Spread = Spread.HERE
    dry_run: bool = False
    go_back: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def asks_for_proof(self) -> bool:
        """Whether the fleet's environment takes only what is proven and secured."""
        return (self.fleet.environment or "") in self.rehearsal.required_for

    def only(self, labels: Sequence[str]) -> RolloutCase:
        """The same for targets that have all of some labels, `NAME=VALUE` each; for all where none is given.

        Raises:
            InvalidInputError: One is no label.
        """
        return replace(self, fleet=replace(self.fleet, only=parse_labels(labels)))

    @property
    def name_to_type(self) -> str:
        """What an approval has to have typed by hand; empty where a click is enough."""
        return self.fleet.name if self.asks_for_proof else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """The fleet as it is now.

    Attributes:
        fleet: Its targets.
        reports: On each of them that takes part.
        migrations: What is on disk.
    """

    fleet: Fleet
    reports: tuple[TargetReport, ...]
    migrations: tuple[Migration, ...]

    @property
    def targets(self) -> tuple[FleetTarget, ...]:
        """Those that take part."""
        return tuple(report.target for report in self.reports)


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A rollout that may go on.

    Attributes:
        row: As it is written down; of a dry run it is not.
        plan: Who is migrated when.
        order: What is applied, and how.
        certificates: What proves it, by version.
        remarks: What a person should know before they say yes.
    """

    row: RolloutRow
    plan: RolloutPlan
    order: RolloutOrder
    certificates: Mapping[str, Certificate]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """What the stages of one run have in common.

    Attributes:
        case: What was asked for.
        control: Where decisions are written down.
        lock: Of the fleet.
        started: The rollout.
        survey: The fleet as it was before.
        checks: What was looked at before.
    """

    case: RolloutCase
    control: DatabaseSource
    lock: FleetLock
    started: Started
    survey: Survey
    checks: tuple[CheckRow, ...]

    def lacking(self, stage: StagePlan, order: RolloutOrder) -> tuple[FleetTarget, ...]:
        """Those of a stage that lacked something of an order when the run began."""
        whole = [one for one in order.versions if order.share is None or one != order.share.version]
        lacks = {report.target.name for report in self.survey.reports if report.lacks(whole, order.share)}
        return tuple(one for one in stage.targets if one.name in lacks)

    def targets_after(self, position: int) -> tuple[FleetTarget, ...]:
        """Those of the stages behind one that are in no stage before: the only target of a fleet is in all."""
        mine = set(self.targets_until(position))
        later = (one for stage in self.started.plan.stages[position + 1 :] for one in stage.targets)
        return tuple(one for one in later if one not in mine)

    def targets_until(self, position: int) -> tuple[FleetTarget, ...]:
        """Those of a stage and of the ones before it, newest stage first, each once."""
        stages = reversed(self.started.plan.stages[: position + 1])
        return tuple(dict.fromkeys(one for stage in stages for one in stage.targets))


def case_of(
    fleet: str | FleetSettings,
    stages: Path,
    *,
    section: str | None,
    configuration: Path,
    store: StoreSource | None,
    without_certificates: str,
    approver: str,
    environ: Mapping[str, str],
) -> RolloutCase:
    """What `squizzle.toml` and a stages file ask for.

    Args:
        fleet: A section `[fleets.NAME]`; or a fleet that is described elsewhere.
        stages: The stages file.
        section: Which section of it, where it has several.
        configuration: The file `squizzle.toml`.
        store: Where backups and certificates are; None for `[backups] store`.
        without_certificates: Why nothing has to be proven; empty: it has.
        approver: Who answers for that.
        environ: Where secrets are.

    Raises:
        InvalidInputError: A file or a setting is wrong, or there is no such fleet.
        RefusedError: The project does not allow to go without certificates.
    """
    from squizzle.rollout.stages import read_stages  # noqa: PLC0415 - YAML, which `squizzle --help` need not load

    config = load_config(configuration)
    settings = (
        fleet if isinstance(fleet, FleetSettings) else fleet_named(config.fleets, fleet, source=str(configuration))
    )
    layout = detect_layout(config.migrations) if config.layout == "auto" else config.layout
    placeholders = tuple(placeholders_of(environ).items())
    return RolloutCase(
        fleet=settings,
        stages=read_stages(stages, section=section),
        folder=MigrationsFolder(path=config.migrations, layout=layout, placeholders=placeholders),
        default_schema=config.schema,
        policy=config.policy,
        keep_in_step=config.keep_in_step,
        rehearsal=config.rehearsal,
        override=override_of(without_certificates or None, approver or None, config.rehearsal),
        store=store or configured_store(config),
        alerts=settings.watch.alerts,
        environ=environ,
    )


def configured_store(config: Config) -> StoreSource | None:
    """What `[backups] store` names; None where it names nothing."""
    address = config.backups.store
    return NamedStore(opens=lambda: open_store(address, open_keys(config.backups.keys))) if address else None
