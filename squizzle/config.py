"""`squizzle.toml`: where migrations are, which environments there are, and how to reach them.

Read without pydantic, whose import would cost a third of `squizzle status` (docs/adr/0005).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar
from uuid import UUID

from squizzle.analysis.batch_mark import LARGEST_SIZE
from squizzle.backups.settings import BackupSettings, read_backups
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError
from squizzle.migrations.batch_records import BatchPolicy
from squizzle.migrations.records import Policy, Timeouts
from squizzle.postgres.access import ServerAccess, parse_url
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.postgres.secret import Secret
from squizzle.settings.approvals import ApprovalSettings, read_approvals
from squizzle.settings.drills import DrillBudget, read_drills
from squizzle.settings.fences import NamedFence, read_fence
from squizzle.settings.notify import NotifySettings, read_notify
from squizzle.settings.reader import variable_of
from squizzle.settings.rehearsal import RehearsalSettings, read_rehearsal

if TYPE_CHECKING:
    from squizzle.settings.fleets import FleetSettings

SEVERITIES = ("error", "warning", "info", "off")
CONFIG_NAME = "squizzle.toml"
PRODUCTION = "production"
LAYOUTS = (
    "auto",
    "native",
    "golang-migrate",
    "diesel",
    "dbmate",
    "goose",
    "sql-migrate",
    "flyway",
    "sqitch",
    "numbered",
    "alembic",
)
# PostgreSQL keeps timeouts as milliseconds in a signed 32-bit number.
_LONGEST_TIMEOUT = timedelta(milliseconds=2**31 - 1)
# More rows than a table can have.
_MOST_ROWS = 10**15
Parsed = TypeVar("Parsed")
_REFERENCE = "see docs/configuration.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """`[environments.NAME]`: one database and who it should be. Passwords are never written here.

    Attributes:
        name: What `--env` calls it.
        url: Connection string without a password; exactly one of `url` and `url_env` is given.
        url_env: Environment variable that holds the connection string.
        password_env: Environment variable that holds the password.
        schema: Instead of the project's schema.
        fleet: The fleet that the database belongs to.
        database_id: The id in `squizzle.identity`, to be sure that it is this one.
        rds_instance: The instance of Amazon RDS that it is on, where the host's name does not say so.
        rds_region: The Region of that instance.
        fences: What is shut before the database itself, in this order; names of `[fences]`.
    """

    name: str
    url: str | None = None
    url_env: str | None = None
    password_env: str | None = None
    schema: str | None = None
    fleet: str | None = None
    database_id: UUID | None = None
    rds_instance: str | None = None
    rds_region: str | None = None
    fences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LintSettings:
    """`[lint]`: what the project wants of the linter.

    Attributes:
        rules: Folder with rules of the project's own; None for none.
        squawk: Whether squawk is asked for a second opinion where it is installed.
        severities: By code or name of a rule: error, warning, info or off.
    """

    rules: Path | None = None
    squawk: bool = True
    severities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The whole file.

    Attributes:
        project: What people call this project (`[project] name`).
        migrations: The folder of versions, seen from where we are (`[project] migrations`).
        layout: How that folder is laid out (`[project] layout`).
        schema: The schema that scripts work in (`[project] schema`).
        keep_in_step: Whether the books of the layout's tool are kept, too (`[project] keep_in_step`).
        policy: What migrations may do (`[timeouts] lock, rows, statement, budget`, `[project] out_of_order`,
            `[project] save_rows`, `[after] analyze`, `[batches]`).
        lint: What the linter looks for (`[lint]`).
        backups: Where backups lie (`[backups]`).
        rehearsal: What must be proven before it is applied, and where that is done (`[rehearsal]`).
        drills: What a recovery may cost in a drill (`[drills]`).
        contacts: Whom to reach, in the order in which it is tried: what they do, and how (`[contacts]`).
        approvals: Where people are asked besides Prefect's page (`[approvals]`).
        notify: Who is told what, and by which channel (`[notify]`).
        programs: Folder of pg_dump and pg_restore; without it they are looked for (`[postgres] programs`).
        environments: By name.
        fences: What can be shut before a database is (`[fences.NAME]`), by name.
        fleets: Many targets that migrate together (`[fleets.NAME]`), by name.
    """

    project: str = ""
    migrations: Path = Path("migrations")
    layout: str = "auto"
    schema: str = "public"
    keep_in_step: bool = False
    policy: Policy = field(default_factory=Policy)
    lint: LintSettings = field(default_factory=LintSettings)
    backups: BackupSettings = field(default_factory=BackupSettings)
    rehearsal: RehearsalSettings = field(default_factory=RehearsalSettings)
    drills: DrillBudget = field(default_factory=DrillBudget)
    contacts: Mapping[str, str] = field(default_factory=dict)
    approvals: ApprovalSettings = field(default_factory=ApprovalSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    programs: Path | None = None
    environments: Mapping[str, Environment] = field(default_factory=dict)
    fences: Mapping[str, NamedFence] = field(default_factory=dict)
    fleets: Mapping[str, FleetSettings] = field(default_factory=dict)


def load_config(path: Path | None = None) -> Config:
    """Read the configuration; an absent default file is an empty one.

    Args:
        path: The file; None looks for `squizzle.toml` here and in the folders above.

    Raises:
        InvalidInputError: The named file is missing, or a file is no TOML, or has an unknown or wrong setting.
    """
    chosen = path or _find(Path.cwd())
    if chosen is None:
        return Config()
    try:
        content = tomllib.loads(chosen.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InvalidInputError(f"{chosen} cannot be read: {exc.strerror}", hint="name it with --config FILE") from exc
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"{chosen} is not UTF-8", hint="save it as UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        raise InvalidInputError(f"{chosen} is not TOML: {exc}", hint=_REFERENCE) from exc
    return _Reader(str(chosen)).config(content, chosen.parent)


def read_one_fleet(source: str, name: str, section: dict[str, object]) -> FleetSettings:
    """A fleet that is not in the file but said elsewhere, by the same rules; complaints begin with `source`."""
    return _Reader(source).fleets({name: section}, Path())[name]


def _find(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    return None


class _Reader:
    """Takes settings out of tables, and complains by file, section and name; never repeats a wrong value."""

    def __init__(self, file: str) -> None:
        self.file = file

    def config(self, content: dict[str, object], folder: Path) -> Config:
        top = dict(content)
        project = self.section(top.pop("project", {}), "project")
        timeouts = self.section(top.pop("timeouts", {}), "timeouts")
        after = self.section(top.pop("after", {}), "after")
        batches = self.section(top.pop("batches", {}), "batches")
        postgres = self.section(top.pop("postgres", {}), "postgres")
        environments = self.section(top.pop("environments", {}), "environments")
        programs = self.text(postgres, "postgres", "programs")
        fences = self.section(top.pop("fences", {}), "fences")
        fleets = self.section(top.pop("fleets", {}), "fleets")
        config = Config(
            project=self.text(project, "project", "name") or "",
            migrations=folder / (self.text(project, "project", "migrations") or "migrations"),
            layout=self.layout(project),
            schema=self.text(project, "project", "schema") or "public",
            keep_in_step=self.yes_or_no(project, "project", "keep_in_step", default=False),
            policy=Policy(
                timeouts=self.timeouts(timeouts),
                out_of_order=self.yes_or_no(project, "project", "out_of_order", default=False),
                analyze=self.yes_or_no(after, "after", "analyze", default=True),
                batches=self.batches(batches),
                save_rows=self.yes_or_no(project, "project", "save_rows", default=False),
            ),
            lint=self.lint(top.pop("lint", {}), folder),
            backups=read_backups(self, top.pop("backups", {}), folder),
            rehearsal=read_rehearsal(self, top.pop("rehearsal", {}), folder),
            drills=read_drills(self, top.pop("drills", {})),
            contacts=self.contacts(top.pop("contacts", {})),
            approvals=read_approvals(self, top.pop("approvals", {})),
            notify=read_notify(self, top.pop("notify", {})),
            programs=Path(programs) if programs else None,
            environments={name: self.environment(name, section) for name, section in environments.items()},
            fences={name: read_fence(self, name, section, folder) for name, section in fences.items()},
            fleets=self.fleets(fleets, folder) if fleets else {},
        )
        for environment in config.environments.values():
            for name in environment.fences:
                if name not in config.fences:
                    self.complain(f"environments.{environment.name}.fences", f"has {name!r}, and no [fences.{name}]")
        of_fleets = {fleet.environment for fleet in config.fleets.values()}
        for name in config.rehearsal.required_for:
            if name not in {PRODUCTION, *config.environments, *of_fleets}:
                self.complain("rehearsal.required_for", f"has {name!r}, and no [environments.{name}]")
        sections = {
            "": top,
            "project": project,
            "timeouts": timeouts,
            "after": after,
            "batches": batches,
            "postgres": postgres,
        }
        for where, rest in sections.items():
            self.nothing_left(rest, where)
        return config

    def fleets(self, sections: dict[str, object], folder: Path) -> dict[str, FleetSettings]:
        from squizzle.settings.fleet_reading import read_fleets  # noqa: PLC0415 - most projects have no fleet, and no verb waits

        return read_fleets(self, sections, folder)

    def contacts(self, value: object) -> dict[str, str]:
        section = self.section(value, "contacts")
        return {name: self.text(section, "contacts", name) or "" for name in list(section)}

    def environment(self, name: str, value: object) -> Environment:
        where = f"environments.{name}"
        section = self.section(value, where)
        identifier = self.text(section, where, "database_id")
        environment = Environment(
            name=name,
            url=self.text(section, where, "url"),
            url_env=self.text(section, where, "url_env"),
            password_env=self.text(section, where, "password_env"),
            schema=self.text(section, where, "schema"),
            fleet=self.text(section, where, "fleet"),
            database_id=self.parsed(identifier, UUID, f"{where}.database_id", "a UUID") if identifier else None,
            rds_instance=self.text(section, where, "rds_instance"),
            rds_region=self.text(section, where, "rds_region"),
            fences=self.texts(section, where, "fences"),
        )
        self.nothing_left(section, where)
        if (environment.url is None) == (environment.url_env is None):
            self.complain(where, "give either url or url_env")
        return environment

    def lint(self, value: object, folder: Path) -> LintSettings:
        section = self.section(value, "lint")
        severities = self.section(section.pop("severity", {}), "lint.severity")
        for rule, severity in severities.items():
            if severity not in SEVERITIES:
                self.complain(f"lint.severity.{rule}", f"must be one of {', '.join(SEVERITIES)}")
        rules = self.text(section, "lint", "rules")
        settings = LintSettings(
            rules=folder / rules if rules else None,
            squawk=self.yes_or_no(section, "lint", "squawk", default=True),
            severities={rule: str(severity) for rule, severity in severities.items()},
        )
        self.nothing_left(section, "lint")
        return settings

    def layout(self, project: dict[str, object]) -> str:
        layout = self.text(project, "project", "layout") or "auto"
        if layout not in LAYOUTS:
            self.complain("project.layout", f"must be one of {', '.join(LAYOUTS)}")
        return layout

    def timeouts(self, section: dict[str, object]) -> Timeouts:
        default = Timeouts()
        timeouts = Timeouts(
            lock=self.duration(section, "timeouts", "lock", default.lock),
            rows=self.duration(section, "timeouts", "rows", default.rows),
            statement=self.duration(section, "timeouts", "statement", default.statement),
            budget=self.duration(section, "timeouts", "budget", default.budget),
        )
        for name, wait in (("lock", timeouts.lock), ("rows", timeouts.rows)):
            if not timedelta() < wait < timeouts.statement:
                self.complain(f"timeouts {name}", "must be above zero and shorter than statement")
        if timeouts.statement > _LONGEST_TIMEOUT:
            self.complain("timeouts.statement", f"must not be longer than {_LONGEST_TIMEOUT.days} days")
        return timeouts

    def batches(self, section: dict[str, object]) -> BatchPolicy:
        default = BatchPolicy()
        policy = BatchPolicy(
            size=self.number(section, "batches", "size", most=LARGEST_SIZE) or default.size,
            pause=self.duration(section, "batches", "pause", default.pause),
            target=self.duration(section, "batches", "target", default.target),
            max_replication_lag=self.duration(section, "batches", "max_replication_lag", default.max_replication_lag),
            automatic_rows=self.number(section, "batches", "automatic_rows", most=_MOST_ROWS),
        )
        for name in ("target", "max_replication_lag"):
            if getattr(policy, name) <= timedelta():
                self.complain(f"batches.{name}", "must be above zero")
        return policy

    def duration(self, section: dict[str, object], where: str, name: str, default: timedelta) -> timedelta:
        text = self.text(section, where, name)
        wanted = "a whole number and a unit (500ms, 5s, 30m, 2h, 1d)"
        return default if text is None else self.parsed(text, parse_duration, f"{where}.{name}", wanted)

    def number(self, section: dict[str, object], where: str, name: str, *, most: int) -> int | None:
        value = section.pop(name, None)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most):
            self.complain(f"{where}.{name}", f"must be a whole number from 1 to {most}")
        return value

    def parsed(self, text: str, parse: Callable[[str], Parsed], where: str, wanted: str) -> Parsed:
        try:
            return parse(text)
        except ValueError:
            self.complain(where, f"must be {wanted}")

    def section(self, value: object, where: str) -> dict[str, object]:
        if not isinstance(value, dict):
            self.complain(where, "must be a section")
        return dict(value)

    def text(self, section: dict[str, object], where: str, name: str) -> str | None:
        value = section.pop(name, None)
        if value is not None and (not isinstance(value, str) or not value):
            self.complain(f"{where}.{name}", "must be a text that is not empty")
        return value

    def texts(self, section: dict[str, object], where: str, name: str) -> tuple[str, ...]:
        value = section.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            self.complain(f"{where}.{name}", "must be a list of texts that are not empty")
        return tuple(value)

    def yes_or_no(self, section: dict[str, object], where: str, name: str, *, default: bool) -> bool:
        value = section.pop(name, default)
        if not isinstance(value, bool):
            self.complain(f"{where}.{name}", "must be true or false")
        return value

    def nothing_left(self, section: dict[str, object], where: str) -> None:
        if section:
            names = ", ".join(sorted(section))
            self.complain(where or "the file", f"has unknown settings: {names}")

    def complain(self, where: str, what: str) -> NoReturn:
        raise InvalidInputError(f"{self.file}: {where} {what}", hint=_REFERENCE)


def resolve_environment(
    config: Config, name: str, *, schema: str | None, environ: Mapping[str, str] = os.environ
) -> tuple[ServerAccess, Target]:
    """The server and the database of one environment, and who it should be. Nothing is connected.

    Raises:
        InvalidInputError: No such environment, a variable is not set, or the URL holds a password in the file.
    """
    environment = config.environments.get(name)
    if environment is None:
        known = ", ".join(sorted(config.environments)) or "none"
        raise InvalidInputError(
            f"there is no environment {name!r}; known: {known}", hint=f"add [environments.{name}] to {CONFIG_NAME}"
        )
    url = environment.url or variable_of(environment.url_env or "", f"environment {name!r}", environ)
    access, database = parse_url(url)
    if environment.url is not None and access.password is not None:
        raise InvalidInputError(
            f"the url of environment {name!r} holds a password", hint="remove it and name password_env instead"
        )
    if environment.password_env is not None:
        needs = f"environment {name!r}"
        access = replace(access, password=Secret(variable_of(environment.password_env, needs, environ)))
    expected = ExpectedIdentity(environment=name, fleet=environment.fleet, id=environment.database_id)
    chosen = schema or environment.schema or config.schema
    return access, Target(database=database, schema=chosen, expected=expected)


def resolve_url(config: Config, url: str, *, schema: str | None) -> tuple[ServerAccess, Target]:
    """The server and the database of a connection string; who it is, is not said."""
    access, database = parse_url(url)
    return access, Target(database=database, schema=schema or config.schema)
