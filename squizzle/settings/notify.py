"""What a project says about notifications, in `squizzle.toml` (`[notify]`) or in blocks: channels, and who gets what.

Imported by every verb, so it imports little itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from squizzle.errors import InvalidInputError
from squizzle.postgres.secret import Secret
from squizzle.settings.approvals import SLACK_API
from squizzle.settings.reader import Reader, variable_of
from squizzle.severity import Severity

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"


class MailSecurity(StrEnum):
    """How a mail server is spoken to: `starttls` turns TLS on before anything is said, `tls` begins with it."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class SlackChannel:
    """Messages in a channel of Slack, those of one incident in one thread.

    Attributes:
        channel: Its id, or its name.
        token: The bot's, with the scope chat:write.
        api_url: Where Slack's Web API is.
    """

    channel: str
    token: Secret = field(default=Secret(""))
    api_url: str = SLACK_API

    def problem(self) -> str:
        """Why it cannot be used; empty where it can."""
        return _wrong_address(self.api_url) if self.channel else "channel is missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class SmtpChannel:
    """E-mail by a server of one's own.

    Attributes:
        host: The server.
        port: 587 with `starttls`, 465 with `tls`, by custom.
        security: How it is spoken to.
        user: Whom to log in as; None for nobody.
        password: Of that user.
        sender: From whom.
        to: To whom.
    """

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 587
    security: MailSecurity = MailSecurity.STARTTLS
    user: str | None = None
    password: Secret | None = None

    def problem(self) -> str:
        """Why it cannot be used; empty where it can."""
        if not self.to:
            return "to is empty, so nobody would get anything"
        if self.user is not None and self.password is None:
            return "a user is named and no password"
        if self.user is not None and self.security is MailSecurity.NONE and self.host not in _HERE:
            return "a password would go over the network in clear: use starttls or tls"
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SesChannel:
    """E-mail by Amazon SES.

    Attributes:
        sender: From whom; SES has to know the address.
        to: To whom.
        region: Such as `eu-central-1`; None for boto3's own search.
        endpoint: Another address than AWS's; None for AWS.
    """

    sender: str
    to: tuple[str, ...]
    region: str | None = None
    endpoint: str | None = None

    def problem(self) -> str:
        """Why it cannot be used; empty where it can."""
        return "" if self.to else "to is empty, so nobody would get anything"


@dataclass(frozen=True, kw_only=True, slots=True)
class SnsChannel:
    """Text messages by Amazon SNS.

    Attributes:
        phones: Numbers as E.164 writes them: `+4915112345678`.
        topic: ARN of a topic instead, whose subscribers get it.
        region: As for `SesChannel`.
        endpoint: As for `SesChannel`.
    """

    phones: tuple[str, ...] = ()
    topic: str | None = None
    region: str | None = None
    endpoint: str | None = None

    def problem(self) -> str:
        """Why it cannot be used; empty where it can."""
        if not self.phones and not self.topic:
            return "give phones, or a topic"
        wrong = next((one for one in self.phones if not _is_phone(one)), "")
        return f"{wrong!r} is no number as E.164 writes them, such as +4915112345678" if wrong else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PagerDutyChannel:
    """Pages and phone calls, as the service's escalation policy says (Events API v2).

    Attributes:
        routing_key: Of an integration "Events API v2".
        url: Where events go.
    """

    routing_key: Secret = field(default=Secret(""))
    url: str = PAGERDUTY

    def problem(self) -> str:
        """Why it cannot be used; empty where it can."""
        return _wrong_address(self.url)


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookChannel:
    """A document posted to any address.

    Attributes:
        url: Where to; it may hold a secret itself, so it is never shown.
        key: What the document is signed with; None for no signature.
    """

    url: Secret = field(default=Secret(""))
    key: Secret | None = None

    def problem(self) -> str:
        """Why it cannot be used; empty where it can."""
        return _wrong_address(self.url.reveal())


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefectChannel:
    """One of Prefect's own notification blocks.

    Attributes:
        block: As Prefect writes it: `slack-webhook/ops`.
    """

    block: str

    def problem(self) -> str:
        """Why it cannot be used; empty where it can."""
        is_one = self.block.count("/") == 1
        return "" if is_one else f"{self.block!r} is no block: write type/name, such as slack-webhook/ops"


ChannelSettings = (
    SlackChannel | SmtpChannel | SesChannel | SnsChannel | PagerDutyChannel | WebhookChannel | PrefectChannel
)
# What the guide calls them, in the order in which a severity reaches one kind more.
_FROM: dict[type[ChannelSettings], Severity] = {
    SlackChannel: Severity.LOW,
    WebhookChannel: Severity.LOW,
    PrefectChannel: Severity.LOW,
    SmtpChannel: Severity.MEDIUM,
    SesChannel: Severity.MEDIUM,
    SnsChannel: Severity.HIGH,
    PagerDutyChannel: Severity.CRITICAL,
}


_KIND: dict[type[ChannelSettings], str] = {
    SlackChannel: "slack",
    SmtpChannel: "smtp",
    SesChannel: "ses",
    SnsChannel: "sns",
    PagerDutyChannel: "pagerduty",
    WebhookChannel: "webhook",
    PrefectChannel: "prefect",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedChannel:
    """`[notify.channels.NAME]`, with the names of variables where secrets will come from.

    Attributes:
        name: What alerts and routes call it.
        settings: Without secrets.
        secrets: Field of the settings, and the variable that holds it.
    """

    name: str
    settings: ChannelSettings
    secrets: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class NotifySettings:
    """`[notify]`.

    Attributes:
        channels: By name.
        routes: Which channels a severity goes to, by name.
        runbook: Where whoever is woken finds what to do; empty for nowhere.
    """

    channels: Mapping[str, NamedChannel] = field(default_factory=dict)
    routes: Mapping[Severity, tuple[str, ...]] = field(default_factory=dict)
    runbook: str = ""


def default_routes(channels: Mapping[str, ChannelSettings]) -> dict[Severity, tuple[str, ...]]:
    """Who gets what where nobody says: the guide's four steps (chat; and e-mail; and text message; and a call)."""
    if not channels:
        return {}
    return {
        severity: tuple(name for name, one in channels.items() if _FROM[type(one)].rank <= severity.rank)
        for severity in Severity
    }


def channels_meant(channels: Mapping[str, NamedChannel], names: Iterable[str]) -> tuple[str, ...]:
    """What an alert means that names channels: one of that name, else all of that kind (`pagerduty`, `slack`).

    A name that is neither stays as it is.
    """
    meant: list[str] = []
    for name in names:
        of_kind = [] if name in channels else [one for one, it in channels.items() if _KIND[type(it.settings)] == name]
        meant += of_kind or [name]
    return tuple(dict.fromkeys(meant))


def read_notify(reader: Reader, value: object) -> NotifySettings:
    """The section; nothing is connected, and no variable is read.

    Args:
        reader: Of the file.
        value: The section.

    Raises:
        InvalidInputError: A setting is missing, unknown or wrong.
    """
    where = "notify"
    section = reader.section(value, where)
    tables = reader.section(section.pop("channels", {}), f"{where}.channels")
    channels = {name: _channel(reader, name, one) for name, one in tables.items()}
    routes = default_routes({name: one.settings for name, one in channels.items()})
    for severity in Severity:
        if severity.value in section:
            routes[severity] = reader.texts(section, where, severity.value)
            for name in routes[severity]:
                if name not in channels:
                    reader.complain(f"{where}.{severity}", f"names {name!r}, which is no [notify.channels.{name}]")
    settings = NotifySettings(channels=channels, routes=routes, runbook=reader.text(section, where, "runbook") or "")
    reader.nothing_left(section, where)
    return settings


def resolve_channel(channel: NamedChannel, environ: Mapping[str, str]) -> ChannelSettings:
    """The settings with their secrets; InvalidInputError where a variable is not set, or an address is none."""
    needs = f"[notify.channels.{channel.name}]"
    settings: Any = channel.settings
    for name, variable in channel.secrets:
        settings = replace(settings, **{name: Secret(variable_of(variable, needs, environ))})
    resolved: ChannelSettings = settings
    if wrong := resolved.problem():
        raise InvalidInputError(f"{needs}: {wrong}", hint="correct it; see docs/notifications.md")
    return resolved


_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


def _is_phone(text: str) -> bool:
    # E.164: a plus sign, and up to fifteen digits of which the first is not 0.
    return text[:1] == "+" and text[1:].isascii() and text[1:].isdigit() and 7 <= len(text) - 1 <= 15 and text[1] != "0"  # noqa: PLR2004


def _wrong_address(url: str) -> str:
    """Why an address cannot be used; it may hold a secret, so it is not repeated."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "the address cannot be read"
    if parts.scheme == "https" and host:
        return ""
    if parts.scheme == "http" and host in _HERE:
        return ""
    return "the address must begin with https://"


def _channel(reader: Reader, name: str, value: object) -> NamedChannel:
    where = f"notify.channels.{name}"
    section = reader.section(value, where)
    kind = reader.text(section, where, "kind")
    read = _KINDS.get(kind or "")
    if read is None:
        reader.complain(f"{where}.kind", f"must be one of {', '.join(_KINDS)}")
    channel = read(_Section(reader, section, where, name))
    reader.nothing_left(section, where)
    return channel


@dataclass(frozen=True, slots=True)
class _Section:
    """One channel's settings while they are read."""

    reader: Reader
    values: dict[str, object]
    where: str
    name: str

    def text(self, key: str) -> str | None:
        return self.reader.text(self.values, self.where, key)

    def needed(self, key: str) -> str:
        return self.text(key) or self.reader.complain(f"{self.where}.{key}", "is missing")

    def texts(self, key: str) -> tuple[str, ...]:
        return self.reader.texts(self.values, self.where, key)

    def made(self, settings: ChannelSettings, **variables: str | None) -> NamedChannel:
        secrets = tuple((key, variable) for key, variable in variables.items() if variable)
        return NamedChannel(name=self.name, settings=settings, secrets=secrets)


def _slack(section: _Section) -> NamedChannel:
    settings = SlackChannel(channel=section.needed("channel"), api_url=section.text("api_url") or SLACK_API)
    return section.made(settings, token=section.text("bot_token_env") or "SLACK_BOT_TOKEN")


def _smtp(section: _Section) -> NamedChannel:
    security = section.text("security") or MailSecurity.STARTTLS.value
    if security not in set(MailSecurity):
        section.reader.complain(f"{section.where}.security", "must be one of starttls, tls, none")
    port = section.values.pop("port", 465 if security == MailSecurity.TLS else 587)
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:  # noqa: PLR2004 - ports
        section.reader.complain(f"{section.where}.port", "must be a port")
    settings = SmtpChannel(
        host=section.needed("host"),
        port=port,
        security=MailSecurity(security),
        user=section.text("user"),
        sender=section.needed("sender"),
        to=section.texts("to"),
    )
    return section.made(settings, password=section.text("password_env"))


def _ses(section: _Section) -> NamedChannel:
    return section.made(
        SesChannel(
            sender=section.needed("sender"),
            to=section.texts("to"),
            region=section.text("region"),
            endpoint=section.text("endpoint"),
        )
    )


def _sns(section: _Section) -> NamedChannel:
    return section.made(
        SnsChannel(
            phones=section.texts("phones"),
            topic=section.text("topic"),
            region=section.text("region"),
            endpoint=section.text("endpoint"),
        )
    )


def _pagerduty(section: _Section) -> NamedChannel:
    settings = PagerDutyChannel(url=section.text("url") or PAGERDUTY)
    return section.made(settings, routing_key=section.text("routing_key_env") or "PAGERDUTY_ROUTING_KEY")


def _webhook(section: _Section) -> NamedChannel:
    return section.made(WebhookChannel(), url=section.needed("url_env"), key=section.text("key_env"))


def _prefect(section: _Section) -> NamedChannel:
    return section.made(PrefectChannel(block=section.needed("block")))


_KINDS: dict[str, Callable[[_Section], NamedChannel]] = {
    "slack": _slack,
    "smtp": _smtp,
    "ses": _ses,
    "sns": _sns,
    "pagerduty": _pagerduty,
    "webhook": _webhook,
    "prefect": _prefect,
}
