"""From a failed migration on one of twenty databases to well again, with everybody who is told: all of it real, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sns import sns_backends

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import write_proof
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import BackupKind
from squizzle.cli.main import run
from squizzle.incidents.ledger import read_incident, read_incidents
from squizzle.incidents.records import EventKind
from squizzle.postgres.access import ServerAccess
from squizzle.sweep.records import Sweep
from tests.support.ears import HttpEar, MailEar, http_ear, mail_ear
from tests.support.moto_server import moto_server
from tests.support.slack import BOT_TOKEN, CHANNEL, FakeSlack, fake_slack
from tests.support.town import HOOK, Town, a_town

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
TARGETS = 20
# Of twenty: it comes back, its down script fails.
BACK, BAD = 7, 13
REGION = "eu-central-1"
UP = "CREATE TABLE new (i int);\nCREATE INDEX CONCURRENTLY new_i ON new (i);\nSELECT 1 / 0;\n"
DOWN = "SELECT 1 / count(*) FROM goods WHERE id = 2;\nDROP TABLE new;\n"


@dataclass
class Heard:
    """Whoever is told, by four ways."""

    slack: FakeSlack
    mail: MailEar
    pager: HttpEar

    def new(self) -> dict[str, list[str]]:
        """What was said since the last time, by channel."""
        texts = sns_backends[DEFAULT_ACCOUNT_ID][REGION].sms_messages
        said = {
            "chat": [str(one["text"]) for one in self.slack.messages.values()],
            "mail": [str(message["Subject"]).strip() for _, message in self.mail.mails],
            "sms": [text for _, text, *_ in texts.values()],
            "pager": [f"{one['event_action']} {one['dedup_key']}" for one in self.pager.documents()],
        }
        for kept in (self.slack.messages, self.mail.mails, texts, self.pager.posts):
            kept.clear()
        return said


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Heard, str]]:
    """And how squizzle.toml names them."""
    planted = {"AWS_ACCESS_KEY_ID": "planted", "AWS_SECRET_ACCESS_KEY": "planted", "SLACK_BOT_TOKEN": BOT_TOKEN}
    for name, value in {**planted, "PAGERDUTY_ROUTING_KEY": "planted"}.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        slack, mail, pager, aws = map(stack.enter_context, (fake_slack(), mail_ear(), http_ear(), moto_server()))
        yield (
            Heard(slack=slack, mail=mail, pager=pager),
            f"""
[notify]
low = ["chat", "mail"]
critical = ["chat", "mail", "sms", "pager"]
[notify.channels]
chat = {{ kind = "slack", channel = "{CHANNEL}", api_url = "http://127.0.0.1:{slack.port}/api/" }}
sms = {{ kind = "sns", phones = ["+4915112345678"], region = "{REGION}", endpoint = "{aws}" }}
pager = {{ kind = "pagerduty", url = "{pager.url}/v2/enqueue" }}
[notify.channels.mail]
kind = "smtp"
host = "127.0.0.1"
port = {mail.port}
security = "none"
sender = "squizzle@example.org"
to = ["dba@example.org"]
""",
        )


@pytest.fixture
def town(
    access: ServerAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: tuple[Heard, str]
) -> Iterator[Town]:
    """Twenty; all have a backup that was proven, and in two of them 0002 has just failed."""
    settings = f'[backups]\nstore = "{tmp_path}/backups"\n{heard[1]}'
    fleet = 'auto_recover = "safe"\npinned = ["one/PREFIX_0"]'
    with a_town(Town, access, tmp_path, settings, fleet=fleet, databases=TARGETS) as made:
        monkeypatch.setenv(HOOK, made.ear.url)
        made.migration("0001_a", "CREATE TABLE a (i int)", "DROP TABLE a")
        made.migration("0002_new", UP, DOWN)
        for number in (BACK, BAD):
            with made.session(number) as session:
                session.execute("CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n WHERE n <> 2")
                session.execute("INSERT INTO goods SELECT 2 WHERE %s", (number == BACK,))
            where = [*made.config, *made.url(number)]
            assert run(["apply", "0001", *where]) == 0
            assert run(["backup", "full", *where]) == 0
            assert run(["apply", "0002", *where]) != 0
        a_cluster_backup(FolderStore(tmp_path / "backups"))
        yield made


def a_cluster_backup(store: FolderStore) -> None:
    """One of all databases from an hour ago, as if it had been restored and found equal."""
    at = datetime.now(UTC) - timedelta(hours=1)
    one = store.read(store.list_ids()[0])
    whole = replace(
        one, id=f"{at:%Y%m%dT%H%M%SZ}-cluster-1", kind=BackupKind.PHYSICAL, started_at=at, files=(), digest=None
    )
    with store.receive(whole.id) as incoming:
        incoming.publish(replace(whole, location=whole.id))
    for backup_id in store.list_ids():
        write_proof(
            store,
            Proof(
                backup_id=backup_id,
                kind=ProofKind.RESTORE,
                verdict=Verdict.PASS,
                at=at,
                duration=timedelta(),
                by="test",
            ),
        )


def newest_rows(town: Town) -> list[tuple[bool, str]]:
    """Whether the new table is there, and the newest row of the history, at each of the two."""
    found = []
    for number in (BACK, BAD):
        with town.session(number) as session:
            found += session.execute(
                "SELECT to_regclass('new') IS NOT NULL, direction || ' ' || success FROM squizzle_history"
                " ORDER BY id DESC LIMIT 1"
            ).fetchall()
    return found


def test_one_sweep_takes_back_what_failed_on_one_of_twenty_and_pages_once_where_that_fails(
    town: Town, heard: tuple[Heard, str]
) -> None:
    people, _ = heard
    assert newest_rows(town) == [(True, "apply false")] * 2
    assert town.sweep().is_completed()
    assert newest_rows(town) == [(False, "rollback true"), (True, "rollback false")]
    with town.session(0) as control:
        back, bad = sorted(read_incidents(control, "town"), key=lambda one: one.closed_at is None)
        _, events = read_incident(control, "town", back.id)
    assert [(one.target, one.closed_at is None) for one in (back, bad)] == [
        (town.name(BACK), False),
        (town.name(BAD), True),
    ]
    assert "schema and rows are as in backup" in (back.closed_by or "")
    kinds = [EventKind.OPENED, EventKind.ALERT_BEGINS, EventKind.ACTION, EventKind.VERDICT, EventKind.TOLD]
    assert [one.kind for one in events] == [*kinds, EventKind.CLOSED]
    told = people.new()
    well = f"[LOW] {town.name(BACK)}: 0002 failed, and was taken back by itself"
    page = f"[CRITICAL] {town.name(BAD)}: 0002 failed, and a person has to look: failed"
    assert sorted(told["chat"]) == sorted(told["mail"]) == [page, well]
    assert [one.startswith(page) for one in told["sms"]] == [True]
    assert told["pager"] == [f"trigger {bad.id}"]

    again = town.sweep()
    assert again.is_completed()
    assert not any(people.new().values()), "what is known is not said again"
    found: Sweep = again.result()
    assert [one.target.name for one in found.targets if not one.is_ok] == [town.name(BAD)]

    with town.session(BAD) as person:
        person.execute("DROP TABLE new; UPDATE squizzle_history SET success = true WHERE direction = 'rollback'")
    green: Sweep = town.sweep().result()
    assert green.is_ok, [one for one in green.targets if not one.is_ok]
    told = people.new()
    over = f"[RESOLVED] {town.name(BAD)} is well again"
    assert told["chat"] == told["mail"] == [over]
    assert told["pager"] == [f"resolve {bad.id}"]
    assert len(told["sms"]) == 1
    with town.session(0) as control:
        assert all(one.closed_at for one in read_incidents(control, "town"))
