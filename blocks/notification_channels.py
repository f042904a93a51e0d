"""The blocks for telling people: one for each kind of channel, and who gets what."""

from __future__ import annotations

from typing import Literal, cast

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from squizzle.errors import InvalidInputError
from squizzle.postgres.secret import Secret
from squizzle.settings.approvals import SLACK_API
from squizzle.settings.notify import (
    PAGERDUTY,
    ChannelSettings,
    MailSecurity,
    NamedChannel,
    NotifySettings,
    PagerDutyChannel,
    PrefectChannel,
    SesChannel,
    SlackChannel,
    SmtpChannel,
    SnsChannel,
    WebhookChannel,
    default_routes,
)
from squizzle.severity import Severity

_REGION = Field(default=None, title="Region", description="Such as eu-central-1. Empty: what the worker's AWS says.")
_ENDPOINT = Field(default=None, title="Endpoint", description="Another address than AWS's.")


def _secret(value: SecretStr | None) -> Secret | None:
    return Secret(value.get_secret_value()) if value is not None else None


class SlackNotifications(Block):
    """Messages in a channel of Slack, those of one incident in one thread."""

    _block_type_name = "Slack Notifications"
    _block_type_slug = "slack-notifications"
    _description = "Messages in a channel of Slack, those of one incident in one thread."

    channel: str = Field(title="Channel", description="Its id, such as C0123456789, or its name.")
    bot_token: SecretStr = Field(title="Bot token", description="xoxb-…, with the scope chat:write.")
    api_url: str = Field(default=SLACK_API, title="Address of the API", description="Another one for GovSlack.")

    def settings(self) -> SlackChannel:
        """The same without Prefect."""
        token = Secret(self.bot_token.get_secret_value())
        return SlackChannel(channel=self.channel, token=token, api_url=self.api_url)


class MailNotifications(Block):
    """E-mail by a server of one's own."""

    _block_type_name = "Mail Notifications"
    _block_type_slug = "mail-notifications"
    _description = "E-mail by a server of one's own (SMTP)."

    host: str = Field(title="Server")
    port: int = Field(default=587, ge=1, le=65535, title="Port", description="587 with STARTTLS, 465 with TLS.")
    security: Literal["starttls", "tls", "none"] = Field(default="starttls", title="Security")
    user: str | None = Field(default=None, title="User", description="Empty: nobody logs in.")
    password: SecretStr | None = Field(default=None, title="Password")
    sender: str = Field(title="Sender", description="From whom.")
    to: list[str] = Field(title="To", description="To whom.")

    def settings(self) -> SmtpChannel:
        """The same without Prefect."""
        return SmtpChannel(
            host=self.host,
            port=self.port,
            security=MailSecurity(self.security),
            user=self.user or None,
            password=_secret(self.password),
            sender=self.sender,
            to=tuple(self.to),
        )


class SesNotifications(Block):
    """E-mail by Amazon SES."""

    _block_type_name = "SES Notifications"
    _block_type_slug = "ses-notifications"
    _description = "E-mail by Amazon SES; the worker's AWS account sends it."

    sender: str = Field(title="Sender", description="An address that SES knows.")
    to: list[str] = Field(title="To", description="To whom.")
    region: str | None = _REGION
    endpoint: str | None = _ENDPOINT

    def settings(self) -> SesChannel:
        """The same without Prefect."""
        return SesChannel(sender=self.sender, to=tuple(self.to), region=self.region, endpoint=self.endpoint)


class SnsNotifications(Block):
    """Text messages by Amazon SNS."""

    _block_type_name = "SNS Notifications"
    _block_type_slug = "sns-notifications"
    _description = "Text messages by Amazon SNS; the worker's AWS account sends them."

    phones: list[str] = Field(default_factory=list, title="Telephones", description="Such as +4915112345678.")
    topic: str | None = Field(default=None, title="Topic", description="ARN of a topic instead.")
    region: str | None = _REGION
    endpoint: str | None = _ENDPOINT

    def settings(self) -> SnsChannel:
        """The same without Prefect."""
        return SnsChannel(phones=tuple(self.phones), topic=self.topic, region=self.region, endpoint=self.endpoint)


class PagerDutyNotifications(Block):
    """Pages and calls by PagerDuty."""

    _block_type_name = "PagerDuty Notifications"
    _block_type_slug = "pagerduty-notifications"
    _description = "Pages and calls, as a service of PagerDuty says (Events API v2)."

    routing_key: SecretStr = Field(title="Routing key", description="Of an integration Events API v2.")
    url: str = Field(default=PAGERDUTY, title="Address", description="Another one for the European service region.")

    def settings(self) -> PagerDutyChannel:
        """The same without Prefect."""
        return PagerDutyChannel(routing_key=Secret(self.routing_key.get_secret_value()), url=self.url)


class WebhookNotifications(Block):
    """A document posted to any address."""

    _block_type_name = "Webhook Notifications"
    _block_type_slug = "webhook-notifications"
    _description = "A JSON document posted to any address, signed where there is a key."

    url: SecretStr = Field(title="Address")
    key: SecretStr | None = Field(default=None, title="Key", description="What documents are signed with.")

    def settings(self) -> WebhookChannel:
        """The same without Prefect."""
        return WebhookChannel(url=Secret(self.url.get_secret_value()), key=_secret(self.key))


ChannelBlock = (
    SlackNotifications
    | MailNotifications
    | SesNotifications
    | SnsNotifications
    | PagerDutyNotifications
    | WebhookNotifications
)
_OURS: tuple[type[Block], ...] = (
    SlackNotifications,
    MailNotifications,
    SesNotifications,
    SnsNotifications,
    PagerDutyNotifications,
    WebhookNotifications,
)


class Notifier(Block):
    """Who is told what: channels, and which of them a severity goes to."""

    _block_type_name = "Notifier"
    _block_type_slug = "notifier"
    _description = "Who is told what, and by which channels."

    channels: dict[str, str] = Field(
        title="Channels",
        description="A name for each, and its block: slack-notifications/ops. Prefect's own notification blocks, too.",
    )
    low: list[str] | None = Field(default=None, title="Low", description="Channels of the mildest. Empty: by kind.")
    medium: list[str] | None = Field(default=None, title="Medium")
    high: list[str] | None = Field(default=None, title="High")
    critical: list[str] | None = Field(default=None, title="Critical", description="Whoever is woken.")
    runbook: str = Field(default="", title="Runbook", description="Address of what to do.")

    def settings(self) -> NotifySettings:
        """The same without Prefect; blocks of channels are loaded.

        Raises:
            InvalidInputError: A block is none of these, is not there, or a severity names no channel.
        """
        opened = {name: NamedChannel(name=name, settings=_load(name, block)) for name, block in self.channels.items()}
        routes = default_routes({name: one.settings for name, one in opened.items()})
        said = {
            Severity.LOW: self.low,
            Severity.MEDIUM: self.medium,
            Severity.HIGH: self.high,
            Severity.CRITICAL: self.critical,
        }
        for severity, names in said.items():
            if names is None:
                continue
            if missing := [one for one in names if one not in opened]:
                raise InvalidInputError(
                    f"the notifier's {severity} names {missing[0]!r}, which is none of its channels",
                    hint="correct the block",
                )
            routes[severity] = tuple(names)
        return NotifySettings(channels=opened, routes=routes, runbook=self.runbook)


def _load(name: str, block: str) -> ChannelSettings:
    kinds = {kind._block_type_slug: kind for kind in _OURS}  # noqa: SLF001 - Prefect has no public name for it
    slug, _, document = block.partition("/")
    if slug not in kinds:
        return PrefectChannel(block=block)
    try:
        loaded = cast("ChannelBlock", kinds[slug].load(document))
    except ValueError as exc:
        raise InvalidInputError(f"channel {name!r}: there is no block {block}", hint="make it, or correct it") from exc
    return loaded.settings()
