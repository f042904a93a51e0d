"""Production takes what is proven, here and now, or what somebody answers for; and everybody can see which it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import manifest_hash
from squizzle.backups.records import Backup
from squizzle.backups.store import notes_of
from squizzle.errors import RefusedError
from squizzle.migrations.approvals import Approval, Approvals
from squizzle.migrations.history import read_history
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.operations import apply_versions
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, read_identity
from squizzle.postgres.secret import Secret
from squizzle.proof.digests import digest_database, digest_schema
from squizzle.rehearsal.certificate_store import write_certificate
from squizzle.rehearsal.records import Certificate, CertificateVerdict
from squizzle.rehearsal.situation import SETTINGS, files_of, read_settings
from squizzle.settings.rehearsal import RehearsalSettings
from tests.integration.cli.conftest import Squizzle
from tests.integration.migrations.conftest import Folder
from tests.support.certificates import certificate_of

pytestmark = [pytest.mark.usefixtures("shop_folder"), pytest.mark.one_server]

PRODUCTION = ("--env", "production")
APPLY = ("apply", "0001", *PRODUCTION, "--yes")
KEY = "k" * 32
Certify = Callable[..., Certificate]
Tables = Callable[[], set[str]]


@pytest.fixture
def store(tmp_path: Path, backup: Backup, connection: Connection) -> FolderStore:
    """A store with a backup of the empty database, of which only the manifest counts here."""
    store = FolderStore(tmp_path / "store")
    with store.receive(backup.id) as incoming:
        (incoming.folder / "toc.dat").write_text("rows")
        made = replace(backup, digest=digest_database(connection), migration_version=None, files=incoming.describe())
        incoming.publish(made)
    return store


@pytest.fixture
def production(squizzle: Squizzle, url: str, store: FolderStore) -> Squizzle:
    configure(squizzle, url, store)
    return squizzle


def configure(squizzle: Squizzle, url: str, store: FolderStore | None, *more: str) -> None:
    lines = ['[environments.production]\nurl = "' + url + '"', "[rehearsal]", *more]
    squizzle.configure("\n".join([*lines, f'[backups]\nstore = "{store.address}"\n' if store else ""]))


@pytest.fixture
def certify(store: FolderStore, backup: Backup, connection: Connection, shop_folder: Folder, database: str) -> Certify:
    """Writes what a rehearsal of a version would write now, with what is said otherwise."""

    def certify(version: str = "0001", *, key: Secret | None = None, **more: Any) -> Certificate:
        migrations = {one.version: one for one in read_migrations(shop_folder.path, "native")}
        identity = read_identity(connection)
        header = store.read_header(backup.id)
        digest = digest_schema(connection, schema="public").logical
        draft = replace(
            certificate_of(header),
            version=version,
            issued_at=datetime.now(UTC),
            database=database,
            identity_id=str(identity.id) if identity else "",
            backup_sha256=manifest_hash(header),
            files=files_of(migrations[version]),
            server_version=connection.info.server_version,
            rehearsed_version=connection.info.server_version,
            settings=read_settings(connection),
            schema_before=digest,
            schema_after=digest,
        )
        return write_certificate(store, replace(draft, **more), key=key)

    return certify


def test_without_a_store_or_a_certificate_production_is_not_changed(
    production: Squizzle, url: str, store: FolderStore, connection: Connection, tables: Tables
) -> None:
    missing = production("apply", "--all", *PRODUCTION, "--yes", "--json")
    configure(production, url, None)
    nowhere = production(*APPLY, "--json")

    assert missing.code == nowhere.code == 9
    assert missing.error["message"].splitlines() == [
        "production asks for certificates, and none counts for 0001, 0002, 0003",
        *(
            f"  {version}: there is no certificate of it; rehearse it: squizzle rehearse {version} --env production"
            for version in ("0001", "0002", "0003")
        ),
    ]
    assert missing.error["hint"].startswith(
        "squizzle rehearse --all --env production; with somebody's word: --without-"
    )
    assert "no store is named where certificates lie; give --store URL" in nowhere.error["message"]
    assert nowhere.error["hint"].startswith("squizzle rehearse 0001 --env production")
    assert (tables(), read_identity(connection)) == (set(), None)
    # Elsewhere nobody asks, and a store that is named by hand is looked at.
    assert production("apply", "0001", "--dry-run").code == 0
    assert "there is no certificate of it" in production(*APPLY, "--store", store.address).err


def test_what_is_proven_is_applied_and_the_history_names_the_certificate(
    production: Squizzle, certify: Certify, connection: Connection, tables: Tables
) -> None:
    older = certify(reasons=())
    made = certify()

    listed = production("certificates", *PRODUCTION, "--json").document["certificates"]
    assert [(one["id"], one["counts"]) for one in listed] == [(made.id, True), (older.id, False)]
    assert listed[1]["why_not"] == [f"a newer certificate of 0001 takes its place: {made.id}"]
    dry = production("apply", "0001", "--dry-run", *PRODUCTION, "--json").document
    assert dry["certificates"] == [{"version": "0001", "certificate": made.id, "reasons": [], "remarks": []}]

    assert production(*APPLY).code == 0

    assert tables() == {"t"}
    assert connection.execute("SELECT certificate, approved_by FROM squizzle_history").fetchall() == [(made.id, None)]
    assert "counts" in production("certificates", "0001", *PRODUCTION).out
    (row, _) = production("certificates", *PRODUCTION, "--json").document["certificates"]
    assert row["why_not"] == ["its version is not pending there"]
    refused = production("apply", "0002", *PRODUCTION, "--yes")
    assert (refused.code, tables()) == (9, {"t"})


def test_one_version_after_another_starts_from_what_the_one_before_leaves(
    production: Squizzle, certify: Certify, connection: Connection, tables: Tables
) -> None:
    empty = digest_schema(connection, schema="public").logical
    steps = [empty, "1" * 64, "2" * 64, "3" * 64]
    for number, (before, after) in enumerate(pairwise(steps), start=1):
        certify(f"000{number}", schema_before=before, schema_after=after)
    assert production("apply", "--all", "--dry-run", *PRODUCTION, "--json").document["certificates"][2]["reasons"] == []

    certify("0002", schema_before="5" * 64, schema_after="2" * 64, verdict=CertificateVerdict.PROVEN)
    certify("0001", verdict=CertificateVerdict.FAILED, reasons=("the index i is missing",), schema_before=empty)
    refused = production("apply", "--all", *PRODUCTION, "--yes", "--json")

    # A newer rehearsal of just this failed, so what an older one said no longer counts, nor what builds on it.
    assert refused.code == 9
    assert "0001: certificate" in refused.error["message"]
    assert "its verdict is failed: the index i is missing; repair that, then rehearse again" in refused.error["message"]
    assert "0001, which comes before it, has no certificate that counts" in refused.error["message"]
    assert tables() == set()


def test_what_changed_since_the_rehearsal_is_named_and_nothing_is_applied(
    production: Squizzle, certify: Certify, shop_folder: Folder, connection: Connection, database: str
) -> None:
    certify()
    shop_folder.write("0001", "CREATE TABLE t (a int)", down="DROP TABLE t; SELECT 1", verify="SELECT true")
    connection.execute("CREATE TABLE somebody_elses ()")
    connection.execute(f"ALTER DATABASE {database} SET bytea_output = 'escape'")

    refused = production(*APPLY, "--json")

    assert refused.code == 9
    said = (
        "the down script was changed since the rehearsal",
        "the verify script was changed since the rehearsal",
        "the schema is not the one that it was rehearsed on in table public.somebody_elses (its digest was",
        "the setting bytea_output differs (was 'hex', is 'escape')",
    )
    lines = refused.error["message"].splitlines()[1:]
    assert [wanted in line for wanted, line in zip(said, lines, strict=True)] == [True] * len(said)
    assert read_identity(connection) is None


def test_somebodys_word_is_asked_for_whole_said_aloud_and_written_down(
    production: Squizzle, url: str, store: FolderStore, connection: Connection, tables: Tables
) -> None:
    word = ("--without-certificate", "an outage", "--approver", "ada")

    half = production(*APPLY, "--without-certificate", "an outage")
    assert (half.code, "needs a reason and the name" in half.err) == (2, True)
    configure(production, url, store, "may_override = false")
    assert production(*APPLY, *word).code == 9
    assert tables() == set()

    # A key that is not there is no reason to wait, either.
    configure(production, url, store, 'signing_key_env = "SIGNING"')
    assert production(*APPLY).code == 2
    done = production(*APPLY, *word)
    assert done.code == 0, done.err
    assert "WARNING: 0001 is applied WITHOUT A CERTIFICATE: its way back is not proven." in done.err
    assert "Reason: an outage. Approved by ada." in done.err
    assert "certificates cannot be looked at: the variable SIGNING" in done.err
    row = connection.execute("SELECT certificate, approved_by FROM squizzle_history").fetchone()
    assert row == ("none: an outage", "ada")


def test_with_a_signing_key_only_signed_certificates_count(
    production: Squizzle, url: str, store: FolderStore, certify: Certify, tables: Tables
) -> None:
    configure(production, url, store, 'signing_key_env = "SIGNING"')
    unsigned = certify()

    refused = production(*APPLY, "--json", SIGNING=KEY)
    assert (refused.code, "it is not signed; find out who wrote it" in refused.error["message"]) == (9, True)
    checked = production("certificates", "check", "--json", SIGNING=KEY)
    assert (checked.code, checked.document["problems"]) == (7, [f"certificate {unsigned.id} is not signed"])

    certify(key=Secret(KEY))
    assert production(*APPLY, SIGNING=KEY).code == 0
    assert tables() == {"t"}


def test_the_verb_shows_lists_and_checks_without_any_database(
    production: Squizzle, store: FolderStore, certify: Certify
) -> None:
    made = certify()
    certify("0002", database="stock")

    assert {one["version"] for one in production("certificates", "--json").document["certificates"]} == {"0001", "0002"}
    (one,) = production("certificates", "0002", "--database", "stock", "--json").document["certificates"]
    assert (one["counts"], one["verdict"], one["signed"]) == (None, "proven", False)
    shown = production("certificates", "show", made.id)
    assert "ACCESS EXCLUSIVE on public.orders for 2.3 ms" in shown.out
    assert "public.orders: 8 rows changed in state, such as (1)" in shown.out
    assert production("certificates", "show", made.id, "--json").document["id"] == made.id
    assert production("certificates", "check").out == "2 certificates, no problems\n"

    place = store.folder / notes_of(made.backup_id) / f"certificate-{made.id}.json"
    place.write_text(place.read_text(encoding="utf-8").replace("UPDATE orders", "DELETE FROM orders"), encoding="utf-8")
    damaged = production("certificates")
    assert "was changed after it was written" in damaged.out
    assert "0002" in damaged.out
    assert production("backups", "--verify").code == 7
    assert production(*APPLY, "--json").error["message"].count("was changed after it was written") == 1


def test_what_is_left_half_done_is_finished_with_the_certificate_that_it_was_begun_with(
    production: Squizzle, certify: Certify, shop_folder: Folder, connection: Connection, tables: Tables
) -> None:
    shop_folder.write("0001", "CREATE TABLE t (a int); CREATE INDEX CONCURRENTLY i ON missing (a)", down="DROP TABLE t")
    made = certify()
    assert production(*APPLY).code == 1
    assert tables() == {"t"}
    connection.execute("CREATE TABLE missing (a int)")

    assert production(*APPLY).code == 0

    rows = connection.execute("SELECT success, certificate FROM squizzle_history ORDER BY id").fetchall()
    assert rows == [(False, made.id), (True, made.id)]
    assert read_history(connection, "public").rows[0].certificate == made.id


def test_what_changed_between_the_question_and_the_answer_is_refused_under_the_lock(
    connection: Connection, shop_folder: Folder, database: str
) -> None:
    migrations = read_migrations(shop_folder.path, "native")
    target = Target(database=database)
    approval = Approval(certificate="c1")
    with pytest.raises(RefusedError, match="not what was approved any more: 0002, 0003"):
        apply_versions(connection, target, migrations, approvals=Approvals(by_version={"0001": approval}))
    stale = Approvals(by_version={"0001": approval}, schema_digest="0" * 64)
    with pytest.raises(RefusedError, match="changed since the certificates were compared with it"):
        apply_versions(connection, target, migrations, only="0001", approvals=stale)
    assert read_identity(connection) is None


def test_every_setting_is_one_that_the_server_knows_or_that_another_version_does(connection: Connection) -> None:
    found = read_settings(connection)
    connection.execute("SET DateStyle = 'German'")

    assert set(SETTINGS) - set(found) <= {"event_triggers", "createrole_self_grant"}
    assert read_settings(connection) == found
    assert RehearsalSettings().max_age == timedelta(days=7)
