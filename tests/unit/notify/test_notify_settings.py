"""`[notify]`: channels, routes, and everything that may be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from squizzle.config import load_config
from squizzle.errors import InvalidInputError
from squizzle.notify.channels import open_channels
from squizzle.postgres.secret import Secret
from squizzle.settings.notify import (
    MailSecurity,
    NotifySettings,
    PagerDutyChannel,
    SlackChannel,
    SmtpChannel,
    SnsChannel,
    channels_meant,
    resolve_channel,
)
from squizzle.severity import Severity
from tests.support.telling import told

FULL = """
[notify]
runbook = "https://wiki/runbook"
high = ["mail", "pager"]
[notify.channels.chat]
kind = "slack"
channel = "C0OPS"
[notify.channels.mail]
kind = "smtp"
host = "mail.example.org"
user = "squizzle"
password_env = "MAIL_PASSWORD"
sender = "squizzle@example.org"
to = ["dba@example.org"]
[notify.channels.sms]
kind = "sns"
phones = ["+4915112345678"]
[notify.channels.pager]
kind = "pagerduty"
"""


def read(tmp_path: Path, text: str) -> NotifySettings:
    file = tmp_path / "squizzle.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file).notify


def test_who_gets_what_goes_by_kind_as_the_guide_has_it_unless_it_is_said(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL)
    assert settings.runbook == "https://wiki/runbook"
    assert settings.routes == {
        Severity.LOW: ("chat",),
        Severity.MEDIUM: ("chat", "mail"),
        Severity.HIGH: ("mail", "pager"),
        Severity.CRITICAL: ("chat", "mail", "sms", "pager"),
    }


def test_secrets_come_from_the_environment(tmp_path: Path) -> None:
    channels = read(tmp_path, FULL).channels
    environ = {"MAIL_PASSWORD": "planted-1", "SLACK_BOT_TOKEN": "planted-2", "PAGERDUTY_ROUTING_KEY": "planted-3"}
    mail, chat, pager = (resolve_channel(channels[one], environ) for one in ("mail", "chat", "pager"))
    assert mail == SmtpChannel(
        host="mail.example.org",
        user="squizzle",
        password=Secret("planted-1"),
        sender="squizzle@example.org",
        to=("dba@example.org",),
    )
    assert chat == SlackChannel(channel="C0OPS", token=Secret("planted-2"))
    assert pager == PagerDutyChannel(routing_key=Secret("planted-3"))
    assert "planted" not in repr((mail, chat, pager))


def test_a_channel_without_its_secret_fails_alone(tmp_path: Path) -> None:
    opened = open_channels(read(tmp_path, FULL).channels, {"SLACK_BOT_TOKEN": "planted"})
    assert set(opened) == {"chat", "mail", "sms", "pager"}
    with pytest.raises(InvalidInputError, match=r"\[notify.channels.pager\] needs the variable PAGERDUTY_ROUTING_KEY"):
        opened["pager"].send(told(), thread="")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('kind = "pagerduty"', 'kind = "pigeon"', "notify.channels.pager.kind must be one of slack, smtp"),
        ('high = ["mail", "pager"]', 'high = ["fax"]', r"notify.high names 'fax', which is no \[notify.channels.fax\]"),
        ('channel = "C0OPS"', "", "notify.channels.chat.channel is missing"),
        ('host = "mail.example.org"', 'host = "h"\nport = 0', "notify.channels.mail.port must be a port"),
        ('host = "mail.example.org"', 'host = "h"\nsecurity = "ssl"', "must be one of starttls, tls, none"),
        ('kind = "pagerduty"', 'kind = "pagerduty"\nrouting_key = "k"', "routing_key"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in FULL
    with pytest.raises(InvalidInputError, match=complaint):
        read(tmp_path, FULL.replace(old, new))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (SlackChannel(channel=""), "channel is missing"),
        (SlackChannel(channel="C", api_url="http://slack.example.org"), "must begin with https://"),
        (SmtpChannel(host="h", sender="s", to=()), "nobody would get anything"),
        (SmtpChannel(host="h", sender="s", to=("t",), user="u"), "no password"),
        (
            SmtpChannel(host="h", sender="s", to=("t",), user="u", password=Secret("p"), security=MailSecurity.NONE),
            "in clear",
        ),
        (SnsChannel(), "give phones, or a topic"),
        (SnsChannel(phones=("0151 1234",)), "no number as E.164"),
        (PagerDutyChannel(url="ftp://x"), "must begin with https://"),
    ],
)
def test_what_cannot_be_used_is_told_before_it_is_used(
    settings: SlackChannel | SmtpChannel | SnsChannel | PagerDutyChannel, complaint: str
) -> None:
    assert complaint in settings.problem()


def test_an_alert_may_name_channels_by_their_kind_as_the_guides_do(tmp_path: Path) -> None:
    channels = read(tmp_path, FULL).channels
    assert channels_meant(channels, ["pagerduty", "slack", "mail", "fax"]) == ("pager", "chat", "mail", "fax")
