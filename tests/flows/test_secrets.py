"""A rollout with everything around it: whatever is secret is found nowhere but where it was given."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from pydantic import SecretStr

from blocks import (
    BackupBucket,
    BackupFolder,
    MailNotifications,
    Notifier,
    PagerDutyNotifications,
    PostgresDatabase,
    SlackNotifications,
    WebhookNotifications,
)
from flows.rehearse import rehearse
from flows.roll_out import roll_out
from flows.run_drill import run_drill
from flows.try_channels import try_channels
from squizzle.cli.main import run
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress, find_runtime, throwaway_cluster
from squizzle.postgres.secret import Secret
from squizzle.rollout.report import RolloutOutcome
from tasks.outcome import report_of
from tests.flows.conftest import somebody_answers
from tests.flows.outside import FENCE, saved, with_the_world_outside
from tests.support.ears import HttpEar, http_ear, mail_ear
from tests.support.leaks import Planted, account, files_with, shown_by, watched
from tests.support.rollout_form import as_form
from tests.support.town import Town, a_town

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
STAGES = """
stages:
  - {name: canary, percentage: 34, rollback_on_error: true}
  - {name: full, percentage: 100, approval_required: true}
"""
SETTINGS = """
[backups]
store = "STORE"
key_env = "TOWN_BACKUP_KEY"
[rehearsal]
required_for = ["production"]
signing_key_env = "TOWN_SIGNING_KEY"
"""
ALERTS = "alerts: [{name: always, severity: critical, condition: SELECT true}]"
YES = {"decision": "approve", "approver": "ada", "comment": "seen", "typed_name": "town"}


@pytest.fixture(scope="module")
def address() -> Iterator[ServerAddress]:
    """A server that writes down whatever it is told; instead of the one that the other files share."""
    settings = {
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track_utility": "on",
        "log_statement": "all",
        "log_connections": "on",
        "log_min_error_statement": "debug5",
        "fsync": "off",
        "wal_level": "replica",
    }
    with throwaway_cluster("planted", settings=settings, runtime=find_runtime()) as running:
        yield running


@pytest.fixture(scope="module")
def access(address: ServerAddress) -> ServerAccess:
    """By its socket, without a password."""
    return ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user)


@pytest.fixture
def control(access: ServerAccess) -> Iterator[Connection]:
    with connect(access, "postgres", purpose="test") as session:
        session.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        yield session


@dataclass(frozen=True, kw_only=True)
class Company:
    """A fleet, channels, a store and a server for rehearsals, each with secrets."""

    planted: Planted
    town: Town
    server: PostgresDatabase
    database: PostgresDatabase
    store: BackupFolder | BackupBucket
    notifier: Notifier
    slack: HttpEar

    def roll_out(self, **options: Any) -> Any:
        stages = self.town.folder / "stages.yaml"
        given = {"configuration": self.town.settings, "dry_run": False, "watch_every_s": 1, **options}
        return roll_out("town", stages, store=self.store, return_state=True, **as_form(given))


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def temp() -> Iterator[Path]:
    """Where temporary files are; the account of an embedded server gets there, too."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def store(planted: Planted, tmp_path: Path) -> Any:
    return saved(BackupFolder(path=tmp_path / "store", encryption_keys=SecretStr(planted.key())))


@pytest.fixture
def company(
    planted: Planted, store: Any, access: ServerAccess, address: ServerAddress, tmp_path: Path,
    temp: Path, monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Company]:  # fmt: skip
    password = planted.secret("Database")
    monkeypatch.setenv("TOWN_PASSWORD", password)
    monkeypatch.setenv("TOWN_SIGNING_KEY", planted.secret("Signing"))
    monkeypatch.setenv("TOWN_BACKUP_KEY", planted.key())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", planted.secret("Amazon"))
    monkeypatch.setenv("AWS_SESSION_TOKEN", planted.secret("AmazonSession"))
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    mail = planted.secret("Mail")
    with account(access, password) as user, http_ear() as slack, mail_ear(password=mail) as post:
        by_password = ServerAccess(host=address.host, port=address.port, user=user, password=Secret(password))
        settings = SETTINGS.replace("STORE", str(tmp_path / "store"))
        with a_town(
            Town, by_password, tmp_path, settings, fleet='environment = "production"\ndeadline = "20s"'
        ) as town:
            text = town.settings.read_text(encoding="utf-8")
            text = text.replace("[fleets.town.databases]", 'password_env = "TOWN_PASSWORD"\n[fleets.town.databases]')
            town.settings.write_text(text, encoding="utf-8")
            (tmp_path / "stages.yaml").write_text(STAGES, encoding="utf-8")
            (tmp_path / "alerts.yml").write_text(ALERTS, encoding="utf-8")
            for number in range(3):
                with town.session(number) as session:
                    session.execute("CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n")
            server = PostgresDatabase(
                host=address.host, port=address.port, database="postgres", user=user,
                password=SecretStr(password), environment="testing",
            )  # fmt: skip
            database = server.model_copy(update={"database": f"{town.prefix}_0", "environment": "production"})
            yield Company(
                planted=planted,
                town=town,
                server=saved(server),
                database=saved(database),
                store=store,
                notifier=channels_of(planted, town, slack, post.port, mail),
                slack=slack,
            )


def channels_of(planted: Planted, town: Town, slack: HttpEar, mail_port: int, mail_password: str) -> Notifier:
    slack.answer = {"ok": True, "channel": "C1", "ts": "1.2"}
    hook = f"{town.ear.url}/{planted.secret('HookAddress')}"
    blocks = {
        "chat": SlackNotifications(channel="C1", bot_token=planted.secret("Slack"), api_url=f"{slack.url}/api/"),
        "mail": MailNotifications(
            host="127.0.0.1", port=mail_port, security="none", user="squizzle", password=mail_password,
            sender="a@example.org", to=["b@example.org"],
        ),
        "pager": PagerDutyNotifications(routing_key=planted.secret("Pager"), url=f"{town.ear.url}/v2"),
        "hook": WebhookNotifications(url=hook, key=planted.secret("HookKey")),
    }  # fmt: skip
    names = {name: f"{block._block_type_slug}/{saved(block)._block_document_name}" for name, block in blocks.items()}
    return saved(Notifier(channels=names, critical=list(names)))  # type: ignore[no-any-return]


def prefects_files() -> list[Path]:
    """Where Prefect keeps everything: runs, parameters, states, logs, artifacts, events; blocks, encrypted."""
    place = urlsplit(str(PREFECT_API_DATABASE_CONNECTION_URL.value())).path.lstrip("/")
    database = Path("/") / place
    return [one for one in database.parent.glob(f"{database.name}*") if one.is_file()]


def goes_well(company: Company) -> None:
    """A rollout that is approved, backed up and watched, and a sweep that everybody hears of."""
    company.town.migration(
        "0001_price", "ALTER TABLE goods ADD COLUMN price int", "ALTER TABLE goods DROP COLUMN price"
    )
    with somebody_answers("→ town", YES):
        done = company.roll_out(without_certificates="a test", approver="eve")
    assert done.is_completed(), done.message
    assert done.result().outcome is RolloutOutcome.DONE
    swept = company.town.sweep(alerts=[str(company.town.folder / "alerts.yml")], notifier=company.notifier)
    assert swept.is_completed(), swept.message
    assert company.slack.posts
    assert company.town.ear.posts


def nobody_can_be_told(company: Company) -> list[object]:
    company.slack.answer = {"ok": False, "error": "invalid_auth"}
    company.town.ear.faults += [403] * 4
    told = try_channels(company.notifier, company.town.folder / "none.toml", return_state=True)
    assert told.is_failed()
    return [told, report_of(told)]


def goes_wrong(company: Company) -> list[object]:
    """A wrong password, a version that is not proven, one that fails."""
    folder = company.town.folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOWN_PASSWORD", company.planted.secret("WrongDatabase"))
        states = [company.roll_out(dry_run=True)]
    company.town.migration("0002_bad", "SELECT 1 / 0", "SELECT 1")
    states.append(company.roll_out())
    states.append(company.roll_out(without_certificates="a test", approver="eve"))
    given = (company.database, company.store, folder / "migrations")
    states.append(rehearse(*given, scratch_server=company.server, return_state=True))
    assert all(one.is_failed() for one in states)
    return [*states, *(report_of(one) for one in states)]


def stored_with(planted: Planted, store: BackupFolder | BackupBucket) -> dict[str, list[str]]:
    """What a store holds, as whoever has no key can read it: manifests, files, notes, frames."""
    opened = store.open()
    found: dict[str, list[str]] = {}
    names = opened.list_ids()
    assert names, "there are backups"
    for name in names:
        header = opened.read_header(name)
        with opened.fetch_stored(header) as folder:
            found |= files_with(planted, folder)
        said = f"{header!r} {opened.texts(f'{name}/notes')!r}"
        found |= {name: kinds} if (kinds := planted.found_in(said.encode())) else {}
    for path in opened.list_paths("sweeps"):
        kinds = planted.found_in(opened.read_bytes(f"sweeps/{path}") or b"")
        found |= {path: kinds} if kinds else {}
    return found


def said_by_the_command(company: Company, capfd: pytest.CaptureFixture[str]) -> str:
    url = f"postgresql://{company.server.user}@{company.server.host}:{company.server.port}/{company.town.prefix}_0"
    for verb in (["fleet", "town", "--json"], ["incidents", "town", "--json"], ["backups", "--json"]):
        run([*verb, *company.town.config])
    os.environ["PGPASSWORD"] = os.environ["TOWN_PASSWORD"]
    try:
        for verb in (["status", "--json"], ["plan", "--all"], ["assess", "--json"], ["doctor", "--json"]):
            run([*verb, *company.town.config, "--url", url])
    finally:
        del os.environ["PGPASSWORD"]
    shown = capfd.readouterr()
    return shown.out + shown.err


def refuse_leaks(
    company: Company,
    control: Connection,
    log: Path,
    reports: Path,
    capfd: pytest.CaptureFixture[str],
    work: Callable[[], list[object]],
) -> None:
    """Do it, and look for what was planted wherever something is left of it."""
    planted = company.planted
    with watched(control) as seen:
        results = work()
    said = said_by_the_command(company, capfd)

    def with_secrets(texts: Iterable[str]) -> list[tuple[str, list[str]]]:
        return [(one, found) for one in texts if (found := planted.found_in(one.encode()))]

    assert with_secrets(seen.commands) == []
    # The command of a fence is the user's own, and gets all of the environment (docs/security.md); nothing else does.
    told = [one for one in seen.environments if planted.found_in(seen.environments[one].encode())]
    assert [one for one in told if FENCE not in one] == []
    assert with_secrets(seen.sessions) == []
    assert with_secrets([said]) == []
    assert with_secrets(map(shown_by, results)) == []
    kept = prefects_files()
    remembered = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "squizzle"
    folders = (company.town.folder, Path(tempfile.gettempdir()), log.parent, reports, kept[0].parent, remembered)
    assert files_with(planted, *folders) == {}
    assert stored_with(planted, company.store) == {}
    # And it was looked for where everything else is.
    assert any("pg_dump" in one for one in seen.commands & seen.environments.keys())
    assert any("squizzle" in one for one in seen.sessions)
    assert reports.exists()
    name = company.town.prefix
    assert name in said
    assert all(name.encode() in content for content in (b"".join(map(Path.read_bytes, kept)), log.read_bytes()))


@pytest.fixture
def log(address: ServerAddress) -> Path:
    """What the server wrote; beside it are its tables, its log of changes and what pg_stat_statements keeps."""
    return address.data_folder.parent / "log"


@pytest.mark.usefixtures("quick_gate")
def test_no_secret_is_in_anything_that_a_rollout_its_backups_and_messages_leave(
    company: Company, control: Connection, log: Path, reports_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def work() -> list[object]:
        goes_well(company)
        return nobody_can_be_told(company)

    refuse_leaks(company, control, log, reports_folder, capfd, work)


class TestWithAllThatCanHappen:
    @pytest.fixture
    def store(self, encrypted_bucket: BackupBucket) -> BackupBucket:
        return encrypted_bucket

    @pytest.mark.chaos
    @pytest.mark.usefixtures("quick_gate")
    def test_no_secret_is_left_when_it_goes_wrong_or_is_recovered_from(
        self, company: Company, control: Connection, log: Path, reports_folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def work() -> list[object]:
            goes_well(company)
            planted = company.planted
            results = [
                *goes_wrong(company),
                *nobody_can_be_told(company),
                *with_the_world_outside(planted, company.town, company.database, company.store),
            ]
            played = run_drill("data_loss", server=company.server, store=company.store, scale=0.05, return_state=True)
            assert played.is_completed(), played.message
            return [*results, played, played.result()]

        refuse_leaks(company, control, log, reports_folder, capfd, work)
