"""The channels: Slack, e-mail, text messages, pagers, any address. Each sends once; patience is the caller's."""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from squizzle.errors import CloudError, CloudUnavailableError, InvalidInputError, SquizzleError
from squizzle.notify.records import Channel, Moment, Notification
from squizzle.notify.wording import document, pager_event, plain_text, short_text, slack_message
from squizzle.settings.notify import (
    ChannelSettings,
    MailSecurity,
    NamedChannel,
    PagerDutyChannel,
    PrefectChannel,
    SesChannel,
    SlackChannel,
    SmtpChannel,
    SnsChannel,
    WebhookChannel,
    resolve_channel,
)

_TIMEOUT_S = 15
_SIGNATURE = "X-Squizzle-Signature"
_SUBJECT = 200
# SNS's reference of Publish: fewer than 100 characters of ASCII.
_TOPIC_SUBJECT = 99
# RFC 5321: replies of 4xx are for now, of 5xx for good.
_FOR_GOOD = 500


def open_channels(
    channels: Mapping[str, NamedChannel],
    environ: Mapping[str, str],
    prefect: Callable[[str, PrefectChannel], Channel] | None = None,
) -> dict[str, Channel]:
    """Every channel, by name; nothing is connected. One whose secrets are missing is there, and fails when it is used.

    Args:
        channels: As they are set up.
        environ: Where secrets are.
        prefect: Opens blocks of Prefect's; None where there is no Prefect.
    """
    opened: dict[str, Channel] = {}
    for name, one in channels.items():
        try:
            opened[name] = open_channel(name, resolve_channel(one, environ), prefect)
        except SquizzleError as exc:
            opened[name] = BrokenChannel(name, exc)
    return opened


def open_channel(
    name: str, settings: ChannelSettings, prefect: Callable[[str, PrefectChannel], Channel] | None = None
) -> Channel:
    """One channel; nothing is connected.

    Raises:
        InvalidInputError: It is one of Prefect's blocks, and there is no Prefect.
    """
    if isinstance(settings, PrefectChannel):
        if prefect is None:
            raise InvalidInputError(f"channel {name!r} is a block of Prefect's", hint="only flows can use it")
        return prefect(name, settings)
    kinds: dict[type[Any], Callable[[str, Any], Channel]] = {
        SlackChannel: InSlack,
        SmtpChannel: BySmtp,
        SesChannel: BySes,
        SnsChannel: BySns,
        PagerDutyChannel: ByPagerDuty,
        WebhookChannel: ByWebhook,
    }
    return kinds[type(settings)](name, settings)


@dataclass(frozen=True, slots=True)
class BrokenChannel:
    """One that cannot be used as it is set up. It fails when it is used, so that the others are used all the same."""

    name: str
    error: SquizzleError

    def send(self, notification: Notification, *, thread: str) -> str:  # noqa: D102 - as Channel
        del notification, thread
        raise type(self.error)(self.error.message, hint=self.error.hint)


@dataclass(frozen=True, slots=True)
class InSlack:
    """A channel of Slack; what belongs together stands in one thread, and its end is shown to the whole channel."""

    name: str
    settings: SlackChannel

    def send(self, notification: Notification, *, thread: str) -> str:  # noqa: D102 - as Channel
        from squizzle.slack.web import MessageGoneError, SlackWeb  # noqa: PLC0415 - slack-sdk

        text, blocks = slack_message(notification)
        asked: dict[str, Any] = {
            "channel": self.settings.channel,
            "text": text,
            "blocks": blocks,
            "unfurl_links": False,
        }
        web = SlackWeb(self.settings.token, self.settings.api_url)
        if not thread:
            return str(web.call("chat.postMessage", asked)["ts"])
        is_end = notification.moment is Moment.ENDS
        try:
            web.call("chat.postMessage", asked | {"thread_ts": thread, "reply_broadcast": is_end})
        except MessageGoneError:
            # Somebody deleted the first one; what is new is said all the same.
            return str(web.call("chat.postMessage", asked)["ts"])
        return thread


@dataclass(frozen=True, slots=True)
class BySmtp:
    """E-mail by a server of one's own; what belongs together is one thread, by the key alone."""

    name: str
    settings: SmtpChannel

    def send(self, notification: Notification, *, thread: str) -> str:  # noqa: D102 - as Channel
        settings = self.settings
        message = _mail(notification, settings.sender, settings.to)
        del thread
        try:
            with self._connected() as server:
                if settings.user is not None and settings.password is not None:
                    server.login(settings.user, settings.password.reveal())
                refused = server.send_message(message)
        except smtplib.SMTPAuthenticationError as exc:
            raise CloudError(
                f"the mail server does not take the password of {settings.user} ({exc.smtp_code})",
                hint="check user and password",
            ) from None
        except smtplib.SMTPRecipientsRefused as exc:
            codes = {code for code, _ in exc.recipients.values()}
            raise _refused(f"the mail server takes mail for nobody of {', '.join(exc.recipients)}", codes) from None
        except smtplib.SMTPResponseException as exc:
            raise _refused("the mail server refuses", {exc.smtp_code}) from None
        except ssl.SSLError as exc:
            raise CloudError(
                f"no TLS with the mail server {settings.host}: {exc.reason}", hint="check port, security, certificate"
            ) from None
        except (smtplib.SMTPException, OSError) as exc:
            where = f"{settings.host}:{settings.port}"
            raise CloudUnavailableError(
                f"the mail server {where} does not answer ({type(exc).__name__})",
                hint="check host and port, and whether this machine may reach it",
            ) from None
        if refused:
            raise CloudError(f"the mail server takes no mail for {', '.join(refused)}", hint="check the addresses")
        return ""

    def _connected(self) -> smtplib.SMTP:
        settings = self.settings
        context = ssl.create_default_context()
        if settings.security is MailSecurity.TLS:
            return smtplib.SMTP_SSL(settings.host, settings.port, timeout=_TIMEOUT_S, context=context)
        server = smtplib.SMTP(settings.host, settings.port, timeout=_TIMEOUT_S)
        if settings.security is MailSecurity.STARTTLS:
            try:
                server.starttls(context=context)
            except BaseException:
                server.close()
                raise
        return server


def _refused(what: str, codes: set[int]) -> CloudError:
    told = f"{what} ({', '.join(map(str, sorted(codes)))})"
    if any(code < _FOR_GOOD for code in codes):
        return CloudUnavailableError(told, hint="the same is tried again; look at the mail server where it stays so")
    return CloudError(told, hint="check sender and addresses")


def _mail(notification: Notification, sender: str, to: tuple[str, ...]) -> EmailMessage:
    message = EmailMessage()
    line = notification.line()
    message["Subject"] = line if len(line) <= _SUBJECT else f"{line[:_SUBJECT]}…"
    message["From"] = sender
    message["To"] = ", ".join(to)
    first = f"<{hashlib.sha256(notification.key.encode()).hexdigest()[:32]}@squizzle>"
    if notification.moment is Moment.BEGINS:
        message["Message-ID"] = first
    else:
        message["References"] = message["In-Reply-To"] = first
    # Asks mailing lists and absent people's mailboxes not to answer (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(plain_text(notification))
    return message


@dataclass(frozen=True, slots=True)
class BySes:
    """E-mail by Amazon SES."""

    name: str
    settings: SesChannel

    def send(self, notification: Notification, *, thread: str) -> str:  # noqa: D102 - as Channel
        from squizzle.notify.aws import call_aws  # noqa: PLC0415 - boto3 costs 200 ms

        del thread
        raw = _mail(notification, self.settings.sender, self.settings.to).as_bytes()
        call_aws(
            "sesv2",
            "send_email",
            {
                "FromEmailAddress": self.settings.sender,
                "Destination": {"ToAddresses": list(self.settings.to)},
                "Content": {"Raw": {"Data": raw}},
            },
            region=self.settings.region,
            endpoint=self.settings.endpoint,
        )
        return ""


@dataclass(frozen=True, slots=True)
class BySns:
    """Text messages by Amazon SNS: to numbers, or to a topic's subscribers."""

    name: str
    settings: SnsChannel

    def send(self, notification: Notification, *, thread: str) -> str:  # noqa: D102 - as Channel
        from squizzle.notify.aws import call_aws  # noqa: PLC0415 - boto3 costs 200 ms

        del thread
        settings = self.settings
        places: list[dict[str, Any]] = [{"PhoneNumber": phone} for phone in settings.phones]
        # Without it a number gets advertisements' priority, which a carrier may drop.
        kind = {"AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"}}
        if settings.topic:
            places.append(
                {"TopicArn": settings.topic, "Subject": notification.line().encode("ascii", "replace").decode()[:99]}
            )
        problems = []
        for place in places:
            asked = place | {"Message": short_text(notification), "MessageAttributes": kind}
            try:
                call_aws("sns", "publish", asked, region=settings.region, endpoint=settings.endpoint)
            except CloudError as exc:
                problems.append(exc)
        if len(problems) == len(places):
            raise problems[0]
        if problems:
            # Another try would send it twice to those that have it.
            raise CloudError(
                f"{len(problems)} of {len(places)} got no text message: {problems[0].message}",
                hint="correct those numbers; the others have it",
            )
        return ""


@dataclass(frozen=True, slots=True)
class ByPagerDuty:
    """A page or a call, as PagerDuty's escalation policy says; what has one key is one incident there."""

    name: str
    settings: PagerDutyChannel

    def send(self, notification: Notification, *, thread: str) -> str:  # noqa: D102 - as Channel
        from squizzle.notify.http import post  # noqa: PLC0415 - httpx

        del thread
        event = pager_event(notification, self.settings.routing_key.reveal())
        post("PagerDuty", self.settings.url, json.dumps(event).encode())
        return ""


@dataclass(frozen=True, slots=True)
class ByWebhook:
    """A document posted to an address; where there is a key, signed by HMAC-SHA256 over time, full stop and body."""

    name: str
    settings: WebhookChannel

    def send(self, notification: Notification, *, thread: str) -> str:  # noqa: D102 - as Channel
        from squizzle.notify.http import post  # noqa: PLC0415 - httpx

        del thread
        body = json.dumps(document(notification)).encode()
        headers = {}
        if self.settings.key is not None:
            headers[_SIGNATURE] = signature(body, self.settings.key.reveal(), int(time.time()))
        post(f"the webhook {self.name}", self.settings.url.reveal(), body, headers)
        return ""


def signature(body: bytes, key: str, at_s: int) -> str:
    """What the header of a signed document says: `t=SECONDS,v1=HEX`."""
    mac = hmac.new(key.encode(), f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={mac.hexdigest()}"
