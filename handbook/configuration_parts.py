"""The sections of squizzle.toml, in the order of the page, and where what they mean is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from squizzle.backups.settings import BackupSettings, KeySettings, Retention
from squizzle.config import Config, Environment, LintSettings
from squizzle.migrations.batch_records import BatchPolicy
from squizzle.migrations.records import Policy, Timeouts
from squizzle.settings.approvals import SlackSection
from squizzle.settings.drills import DrillBudget
from squizzle.settings.fences import CommandSettings, KubernetesSettings, NamedFence, PgBouncerSettings
from squizzle.settings.fleets import (
    DatabasesByName,
    Exclusion,
    FleetQuery,
    FleetServer,
    FleetSettings,
    Freeze,
    ListedTarget,
    SchemasByName,
)
from squizzle.settings.health import HealthLimits
from squizzle.settings.notify import (
    NotifySettings,
    PagerDutyChannel,
    PrefectChannel,
    SesChannel,
    SlackChannel,
    SmtpChannel,
    SnsChannel,
    WebhookChannel,
)
from squizzle.settings.rehearsal import RehearsalSettings
from squizzle.settings.watch import SoakLimits, WatchSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One section of the file, as it is documented.

    Attributes:
        title: How it is written.
        example: The section of the example that it is asked of.
        records: Where its settings are kept; what they mean is said there.
        called: The field of a record, where that is not the setting's name.
        meanings: Of settings that are no field of a record.
        about: What else there is to say, with a link.
    """

    title: str
    example: str
    records: tuple[type[Any], ...] = ()
    called: Mapping[str, str] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    about: str = ""


_KIND = "Of which kind it is."
_ROUTE = "The channels that are told of what is {}, by name; without it, by their kinds."

PARTS = (
    Part(
        title="[project]",
        example="project",
        records=(Config, Policy),
        called={"name": "project"},
        about="[layouts](layouts.md), [rows that are saved](rollback.md#rows),"
        " [two books](layouts.md#keeping-both-in-use-keep_in_step)",
    ),
    Part(title="[timeouts]", example="timeouts", records=(Timeouts,)),
    Part(title="[after]", example="after", records=(Policy,)),
    Part(title="[batches]", example="batches", records=(BatchPolicy,), about="[batches](batches.md)"),
    Part(title="[lint]", example="lint", records=(LintSettings,), about="[lint](lint.md)"),
    Part(
        title="[lint.severity]",
        example="lint.severity",
        meanings={"RULE": "Of a rule, by code or name: `error`, `warning`, `info` or `off`."},
    ),
    Part(
        title="[backups]",
        example="backups",
        records=(BackupSettings, KeySettings, Retention),
        called={"keep_daily": "daily", "keep_weekly": "weekly", "keep_monthly": "monthly"},
        about="[stores](stores.md), [encryption](stores.md#encryption), [retention](backup-catalogue.md#retention)",
    ),
    Part(
        title="[rehearsal]",
        example="rehearsal",
        records=(RehearsalSettings,),
        about="[rehearsals](rehearsal.md), [what a certificate is bound to]"
        "(certificates.md#what-a-certificate-is-bound-to)",
    ),
    Part(title="[drills]", example="drills", records=(DrillBudget,), about="[what it costs](drill.md#what-it-costs)"),
    Part(title="[postgres]", example="postgres", records=(Config,), about="[client programs](#client-programs)"),
    Part(
        title="[environments.NAME]",
        example="environments.staging",
        records=(Environment,),
        about="[which database](#which-database), [RDS](rds.md)",
    ),
    Part(
        title="[contacts]",
        example="contacts",
        meanings={"WHO": "How they are reached, in the order in which it is tried."},
        about="[the runbook](runbook.md)",
    ),
    Part(
        title="[approvals.slack]",
        example="approvals.slack",
        records=(SlackSection,),
        about="[Slack](approvals.md#slack)",
    ),
    Part(
        title="[approvals.slack.people]",
        example="approvals.slack.people",
        meanings={"ID": "Whose answers are taken: Slack's id of the person, and the name that approvals know."},
    ),
    Part(
        title="[notify]",
        example="notify",
        records=(NotifySettings,),
        meanings={name: _ROUTE.format(name) for name in ("low", "medium", "high", "critical")},
        about="[who is told](notifications.md)",
    ),
    *(
        Part(
            title=f'[notify.channels.NAME], kind = "{kind}"',
            example=f"notify.channels.{kind}",
            records=(record,),
            called=called,
            meanings={"kind": _KIND},
            about="[channels](notifications.md#channels)",
        )
        for kind, record, called in (
            ("slack", SlackChannel, {"bot_token_env": "token"}),
            ("smtp", SmtpChannel, {"password_env": "password"}),
            ("ses", SesChannel, {}),
            ("sns", SnsChannel, {}),
            ("pagerduty", PagerDutyChannel, {"routing_key_env": "routing_key"}),
            ("webhook", WebhookChannel, {"url_env": "url", "key_env": "key"}),
            ("prefect", PrefectChannel, {}),
        )
    ),
    Part(
        title='[fences.NAME], kind = "kubernetes"',
        example="fences.web",
        records=(KubernetesSettings,),
        meanings={
            "kind": _KIND,
            "deployment": "The Deployment that is scaled to 0; exactly one of it and `statefulset` is given.",
            "statefulset": "The StatefulSet that is scaled to 0.",
        },
        about="[fences](fences.md#which-fences)",
    ),
    Part(
        title='[fences.NAME], kind = "pgbouncer"',
        example="fences.pool",
        records=(PgBouncerSettings, NamedFence),
        meanings={"kind": _KIND, "url": "Connection string of its console, without a password."},
        about="[fences](fences.md#which-fences)",
    ),
    Part(
        title='[fences.NAME], kind = "command"',
        example="fences.jobs",
        records=(CommandSettings, NamedFence),
        meanings={"kind": _KIND},
        about="[fences](fences.md#which-fences)",
    ),
    Part(
        title="[fleets.NAME]",
        example="fleets.shops",
        records=(FleetSettings,),
        meanings={
            "unreachable": "`stop`: a rollout does not begin while a target cannot be reached; `exclude`: it is left"
            " out.",
            "auto_recover": "`safe`: sweeps take back what failed where that loses nothing; `never`: nothing is.",
        },
        about="[fleets](fleets.md#who-is-in-it), [recoveries on their own](auto-recovery.md)",
    ),
    Part(title="[fleets.NAME.servers.SERVER]", example="fleets.shops.servers.eu1", records=(FleetServer,)),
    Part(title="[[fleets.NAME.targets]]", example="fleets.shops.targets", records=(ListedTarget,)),
    *(
        Part(
            title=f"[fleets.NAME.{name}]",
            example=f"fleets.shops.{name}",
            records=(record,),
            meanings={
                "like": "What their names look like, for SQL's LIKE; exactly one of it and `regex` is given.",
                "regex": "The same as a regular expression of PostgreSQL's.",
            },
        )
        for name, record in (("databases", DatabasesByName), ("schemas", SchemasByName))
    ),
    Part(title="[fleets.NAME.query]", example="fleets.shops.query", records=(FleetQuery,)),
    Part(title="[[fleets.NAME.exclude]]", example="fleets.shops.exclude", records=(Exclusion,)),
    Part(title="[[fleets.NAME.freezes]]", example="fleets.shops.freezes", records=(Freeze,), called={"from": "begin"}),
    Part(
        title="[fleets.NAME.watch]",
        example="fleets.shops.watch",
        records=(WatchSettings, SoakLimits),
        about="[watching](watching.md)",
    ),
    Part(
        title="[fleets.NAME.health]",
        example="fleets.shops.health",
        records=(HealthLimits,),
        about="[limits](health.md#limits)",
    ),
)
