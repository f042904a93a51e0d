"""Every channel against a server on loopback that speaks its protocol, and what becomes of one that fails."""

from __future__ import annotations

import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from squizzle.errors import CloudError, CloudUnavailableError, InvalidInputError, SquizzleError
from squizzle.notify.channels import (
    ByPagerDuty,
    BySes,
    BySmtp,
    BySns,
    ByWebhook,
    InSlack,
    signature,
)
from squizzle.notify.deliver import deliver, tell_patiently
from squizzle.notify.records import Channel, Moment, Routing
from squizzle.postgres.secret import Secret
from squizzle.settings.notify import (
    MailSecurity,
    PagerDutyChannel,
    SesChannel,
    SlackChannel,
    SmtpChannel,
    SnsChannel,
    WebhookChannel,
)
from squizzle.severity import Severity
from tests.support.ears import HANGS, HttpEar, MailEar, http_ear, mail_ear
from tests.support.moto_server import moto_server
from tests.support.processes import wait_until
from tests.support.slack import BOT_TOKEN, FakeSlack, fake_slack
from tests.support.telling import told


@pytest.fixture
def ear() -> Iterator[HttpEar]:
    with http_ear() as running:
        yield running


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with fake_slack() as running:
        yield running


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with moto_server() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "planted")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
        yield url


def pager(ear: HttpEar, name: str = "pager") -> ByPagerDuty:
    return ByPagerDuty(name, PagerDutyChannel(routing_key=Secret("planted-key"), url=f"{ear.url}/v2/enqueue"))


def hook(ear: HttpEar, name: str = "hook", *, key: str | None = None) -> ByWebhook:
    return ByWebhook(name, WebhookChannel(url=Secret(f"{ear.url}/planted"), key=Secret(key) if key else None))


def chat(slack: FakeSlack, token: str = BOT_TOKEN) -> InSlack:
    api = f"http://127.0.0.1:{slack.port}/api/"
    return InSlack("chat", SlackChannel(channel="C0OPS", token=Secret(token), api_url=api))


# --- each channel --------------------------------------------------------------------------------------------------


def test_slack_puts_what_belongs_together_into_one_thread(slack: FakeSlack) -> None:
    thread = chat(slack).send(told(), thread="")
    assert chat(slack).send(told(moment=Moment.ENDS), thread=thread) == thread
    first, last = slack.messages.values()
    assert "thread_ts" not in first
    assert (last["thread_ts"], last["reply_broadcast"]) == (thread, True)
    assert "RESOLVED" in last["text"]


def test_a_token_that_slack_does_not_take_is_no_reason_to_try_again(slack: FakeSlack) -> None:
    done = tell_patiently(chat(slack, "xoxb-wrong"), told(), "")
    assert done.error == "Slack does not take the bot's token: invalid_auth"
    assert done.tries == 1
    assert "xoxb" not in str(done)


def test_a_webhooks_signature_holds_for_what_was_posted(ear: HttpEar) -> None:
    hook(ear, key="planted-key").send(told(), thread="")
    ((path, headers, body),) = ear.posts
    at_s = int(headers["X-Squizzle-Signature"].partition("t=")[2].partition(",")[0])
    assert headers["X-Squizzle-Signature"] == signature(body, "planted-key", at_s)
    assert abs(at_s - time.time()) < 600
    assert path == "/planted"
    assert json.loads(body)["title"] == "migration 0042 failed on shop"


def test_pagerduty_gets_one_incident_and_its_end(ear: HttpEar) -> None:
    pager(ear).send(told(), thread="")
    pager(ear).send(told(moment=Moment.ENDS), thread="")
    begins, ends = ear.documents()
    assert begins["dedup_key"] == ends["dedup_key"]
    assert (begins["event_action"], ends["event_action"]) == ("trigger", "resolve")
    assert begins["routing_key"] == "planted-key"


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (500, CloudUnavailableError, "PagerDuty answers 500"),
        (429, CloudUnavailableError, "PagerDuty asks to wait"),
        (400, CloudError, "PagerDuty answers 400: event object is invalid"),
        (302, CloudError, "PagerDuty answers 302"),
    ],
)
def test_an_answer_that_is_no_yes_is_told(ear: HttpEar, status: int, kind: type[SquizzleError], text: str) -> None:
    ear.faults, ear.answer = [status], {"message": "event object is invalid"}
    with pytest.raises(kind, match=text) as caught:
        pager(ear).send(told(), thread="")
    assert caught.value.retryable is (kind is CloudUnavailableError)
    assert "planted" not in str(caught.value)
    # Nothing followed the redirect with the key in its body.
    assert len(ear.posts) == 1


def test_a_channel_that_asks_to_wait_is_waited_for_and_not_for_longer_than_there_is_patience(ear: HttpEar) -> None:
    ear.faults = [429, 503]
    assert tell_patiently(pager(ear), told(), "").tries == 3
    ear.faults, ear.retry_after = [429], "3600"
    begun = time.monotonic()
    done = tell_patiently(pager(ear), told(), "", patience=timedelta(seconds=5))
    assert not done.is_delivered
    assert done.tries == 1
    assert time.monotonic() - begun < 5


def test_aws_sends_mail_and_text_messages(aws: str) -> None:
    ses = boto3.client("sesv2", region_name="eu-central-1", endpoint_url=aws)
    ses.create_email_identity(EmailIdentity="squizzle@example.org")
    mail = SesChannel(sender="squizzle@example.org", to=("dba@example.org",), region="eu-central-1", endpoint=aws)
    BySes("mail", mail).send(told(), thread="")
    unknown = replace(mail, sender="nobody@example.org")
    with pytest.raises(CloudError, match=r"could not send by Amazon SES: AWS answered .*; it was not sent") as caught:
        BySes("mail", unknown).send(told(), thread="")
    assert "planted" not in caught.value.message

    sns = boto3.client("sns", region_name="eu-central-1", endpoint_url=aws)
    topic = sns.create_topic(Name="ops")["TopicArn"]
    settings = SnsChannel(phones=("+4915112345678",), topic=topic, region="eu-central-1", endpoint=aws)
    BySns("sms", settings).send(told(title="ä" * 300), thread="")
    with pytest.raises(CloudError, match="1 of 2 got no text message"):
        BySns("sms", replace(settings, topic=f"{topic}-gone")).send(told(), thread="")


# --- mail ----------------------------------------------------------------------------------------------------------


def post_office(ear: MailEar, **changes: object) -> BySmtp:
    settings = SmtpChannel(
        host="127.0.0.1",
        port=ear.port,
        security=MailSecurity.NONE,
        sender="squizzle@example.org",
        to=("dba@example.org", "ops@example.org"),
    )
    return BySmtp("mail", replace(settings, **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ear")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path_factory.mktemp("certificate") / "ear.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


def test_mail_goes_to_everybody_and_what_belongs_together_is_one_thread() -> None:
    with mail_ear() as ear:
        channel = post_office(ear)
        channel.send(told(title="Größe\nBcc: x@example.org"), thread="")
        channel.send(told(moment=Moment.ENDS), thread="")
    (to, first), (_, last) = ear.mails
    assert to == ["dba@example.org", "ops@example.org"]
    assert first["Subject"] == "[CRITICAL] Größe Bcc: x@example.org"
    assert first["Bcc"] is None
    assert last["References"] == first["Message-ID"]
    assert "version: 0042" in first.get_content()


def test_a_password_is_given_behind_tls_only_and_only_to_the_right_server(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    known = {"user": "squizzle", "password": Secret("planted"), "security": MailSecurity.STARTTLS}
    with mail_ear(password="planted", tls=context) as ear:
        with pytest.raises(CloudError, match="no TLS with the mail server"):
            post_office(ear, **known).send(told(), thread="")
        assert ear.logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        post_office(ear, **known).send(told(), thread="")
        wrong = post_office(ear, **known | {"password": Secret("wrong-planted")})
        with pytest.raises(CloudError, match=r"does not take the password of squizzle \(535\)") as caught:
            wrong.send(told(), thread="")
    assert len(ear.mails) == 1
    assert "planted" not in caught.value.message
    with mail_ear(password="planted") as bare, pytest.raises(CloudUnavailableError, match="does not answer"):
        post_office(bare, **known).send(told(), thread="")
    assert bare.logins == []


def test_a_mail_server_that_is_busy_is_asked_again_and_one_that_says_no_is_not() -> None:
    with mail_ear() as ear:
        ear.faults = ["451 later"]
        assert tell_patiently(post_office(ear), told(), "").tries == 2
        ear.faults = ["554 no"]
        refused = tell_patiently(post_office(ear), told(), "")
        assert (refused.tries, refused.error) == (1, "the mail server refuses (554)")
        half = tell_patiently(post_office(ear, to=("nobody@example.org", "dba@example.org")), told(), "")
        assert half.error == "the mail server takes no mail for nobody@example.org"
        gone = tell_patiently(post_office(ear, to=("nobody@example.org",)), told(), "")
        assert "takes mail for nobody of nobody@example.org (550)" in gone.error
    assert tell_patiently(post_office(ear), told(), "", tries=1).error.endswith(
        "does not answer (ConnectionRefusedError)"
    )


# --- all together --------------------------------------------------------------------------------------------------


def routing(**routes: tuple[str, ...]) -> Routing:
    return Routing(routes={Severity(name): names for name, names in routes.items()})


def by_name(*channels: Channel) -> Mapping[str, Channel]:
    return {one.name: one for one in channels}


def test_a_channel_that_fails_is_told_by_the_next_one_that_was_not_meant_to_be_woken(
    slack: FakeSlack, ear: HttpEar
) -> None:
    channels = by_name(chat(slack, "xoxb-wrong"), hook(ear), pager(ear))
    done = deliver(
        told(severity=Severity.LOW), channels, routing(low=("chat",), high=("chat", "hook"), critical=("pager",))
    )
    assert [(one.channel, one.is_delivered, one.instead_of) for one in done.tried] == [
        ("chat", False, ()),
        ("hook", True, ("chat",)),
    ]
    (posted,) = ear.documents()
    assert posted["facts"][-1] == {
        "name": "could not be told by chat",
        "value": "Slack does not take the bot's token: invalid_auth",
    }
    assert done.is_heard


def test_where_no_channel_is_left_the_ones_that_work_are_told_which_do_not(slack: FakeSlack, ear: HttpEar) -> None:
    channels = by_name(chat(slack, "xoxb-wrong"), pager(ear))
    done = deliver(told(), channels, routing(critical=("chat", "pager")))
    assert [one.channel for one in done.tried] == ["chat", "pager", "pager"]
    assert ear.documents()[1]["payload"]["summary"].startswith("[CRITICAL] nobody was told by chat: ")


def test_a_channel_that_hangs_keeps_nobody_else_waiting(ear: HttpEar) -> None:
    with http_ear() as deaf:
        deaf.faults = [HANGS]
        heard_by_the_deaf_one: list[int] = []

        def let_go() -> None:
            wait_until(lambda: bool(ear.posts), "the other channel was told")
            heard_by_the_deaf_one.append(len(deaf.posts))
            deaf.released.set()

        watcher = threading.Thread(target=let_go)
        watcher.start()
        done = deliver(told(), by_name(hook(deaf, "deaf"), hook(ear)), routing(critical=("deaf", "hook")))
        watcher.join()
    assert heard_by_the_deaf_one == [0]
    assert [one.is_delivered for one in done.tried] == [True, True]


def test_a_channel_that_answers_too_late_is_told_by_the_next_one(ear: HttpEar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squizzle.notify.http._TIMEOUT", 0.2)
    with http_ear() as deaf:
        deaf.faults = [HANGS] * 3
        channels = by_name(hook(deaf, "deaf"), pager(ear))
        done = deliver(told(severity=Severity.LOW), channels, routing(low=("deaf",), critical=("pager",)))
    assert [(one.channel, one.tries, one.instead_of) for one in done.tried] == [
        ("deaf", 3, ()),
        ("pager", 1, ("deaf",)),
    ]
    assert done.tried[0].error == "the webhook deaf does not answer in time (ReadTimeout)"
    (page,) = ear.documents()
    assert page["payload"]["custom_details"]["could not be told by deaf"] == done.tried[0].error


def test_a_name_that_is_no_channel_silences_nobody(ear: HttpEar) -> None:
    channels = by_name(hook(ear), pager(ear))
    done = deliver(told(), channels, routing(critical=("pager",)), only=("hook", "slak"))
    assert [one.channel for one in done.tried] == ["hook", "pager"]
    assert done.unknown == ("slak",)
    alone = deliver(told(), channels, routing(critical=("pager",)), only=("hook",))
    assert [one.channel for one in alone.tried] == ["hook"]


def test_nobody_at_all_is_told_as_such() -> None:
    done = deliver(told(), {}, routing())
    assert not done.is_heard
    assert done.tried == ()


def test_an_address_that_is_none_is_a_setting() -> None:
    broken = ByWebhook("hook", WebhookChannel(url=Secret("https://exa mple.org/planted")))
    with pytest.raises((InvalidInputError, CloudError)) as caught:
        broken.send(told(), thread="")
    assert "planted" not in str(caught.value)
