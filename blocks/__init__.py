"""Prefect blocks: typed configuration of one outside system each, and the method that opens its client."""

from blocks.backup_bucket import BackupBucket
from blocks.backup_folder import BackupFolder
from blocks.chaos import Chaos
from blocks.command_fence import CommandFence
from blocks.fleet import Fleet
from blocks.kubernetes_application import KubernetesApplication
from blocks.notification_channels import (
    MailNotifications,
    Notifier,
    PagerDutyNotifications,
    SesNotifications,
    SlackNotifications,
    SnsNotifications,
    WebhookNotifications,
)
from blocks.pg_bouncer import PgBouncer
from blocks.postgres_database import PostgresDatabase
from blocks.rds_instance import RdsInstance
from blocks.slack_approvals import SlackApprovals

__all__ = [
    "BackupBucket",
    "BackupFolder",
    "Chaos",
    "CommandFence",
    "Fleet",
    "KubernetesApplication",
    "MailNotifications",
    "Notifier",
    "PagerDutyNotifications",
    "PgBouncer",
    "PostgresDatabase",
    "RdsInstance",
    "SesNotifications",
    "SlackApprovals",
    "SlackNotifications",
    "SnsNotifications",
    "WebhookNotifications",
]
