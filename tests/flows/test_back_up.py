"""The flow that backs up: what it publishes, what it leaves alone, and that it ends in the state it should."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from prefect.exceptions import ParameterTypeError

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from flows.back_up import back_up
from flows.check_backups import check_backups
from squizzle.backups.files import MANIFEST_NAME, check_files
from squizzle.backups.notes import read_notes
from squizzle.backups.proofs import ProofKind, StoreCheck, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.transfer import archive_wal
from squizzle.errors import RefusedError
from squizzle.postgres.access import ServerAccess, connect
from tasks.watched import Sign
from tests.flows.conftest import wait_for_sign
from tests.support.wal import SYSTEM, write_segment

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def shop(access: ServerAccess) -> Iterator[str]:
    """A database with a few rows."""
    name = f"shop_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        control.execute(f"CREATE DATABASE {name}")
        with connect(access, name, purpose="test") as session:
            session.execute("CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 1234) n")
        yield name
        control.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(server_block: PostgresDatabase, shop: str) -> PostgresDatabase:
    name = f"shop-{secrets.token_hex(3)}"
    server_block.model_copy(update={"database": shop}).save(name)
    return PostgresDatabase.load(name)


def artifacts_of(run_id: object) -> dict[str, Artifact]:
    async def read() -> list[Artifact]:
        async with get_client() as client:
            return await client.read_artifacts(
                artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
            )

    return {one.key or "": one for one in asyncio.run(read())}


def test_a_backup_is_published_verified_and_reported(
    database: PostgresDatabase, store_block: BackupFolder, shop: str
) -> None:
    state = back_up(database=database, store=store_block, return_state=True)

    assert state.is_completed()
    backup = state.result()
    assert isinstance(backup, Backup)
    store = store_block.open()
    check_files(store.read(backup.id), store.path_of(backup))
    last = read_notes(store, backup.id).last(ProofKind.FILES)
    assert last is not None
    assert last.verdict is Verdict.PASS
    assert last.by.startswith("flow run ")
    assert state.state_details.flow_run_id is not None
    found = artifacts_of(state.state_details.flow_run_id)
    key = f"backup-{shop.replace('_', '-')}-full"
    assert set(found) == {"backup-progress", key, f"{key}-trend"}
    assert "| `public.users` | 1,234 |" in str(found[key].data)
    assert "](data:image/png;base64," in str(found[f"{key}-trend"].data)
    password = database.password.get_secret_value()
    assert all(password not in str(one.data) for one in found.values())
    wait_for_sign(Sign.SAVED, f"testing/{shop}")


def test_a_bucket_chosen_by_reference_takes_an_encrypted_backup(
    database: PostgresDatabase, encrypted_bucket: BackupBucket
) -> None:
    # As the form sends it: the union has to be told apart by the document, not by the fields.
    reference = {"$ref": str(encrypted_bucket._block_document_id)}
    state = back_up(database=database, store=reference, kind="schema", return_state=True)

    assert state.is_completed(), state.message
    backup = state.result()
    assert isinstance(backup, Backup)
    store = encrypted_bucket.open()
    assert store.list_ids() == (backup.id,)
    assert store.read(backup.id).encryption == backup.encryption != {}
    assert read_notes(store, backup.id).last(ProofKind.FILES) is not None


def test_where_no_increment_is_possible_the_form_can_ask_for_a_whole_copy(
    database: PostgresDatabase, store_block: BackupFolder
) -> None:
    whole = back_up(database=database, store=store_block, kind="incremental", or_full=True, max_rate_kb=1024 * 1024)

    assert (whole.kind, whole.chain) == (BackupKind.PHYSICAL, ())
    with pytest.raises(ParameterTypeError, match="greater than or equal to 32"):
        back_up(database=database, store=store_block, kind="physical", max_rate_kb=31)


def test_old_backups_go_only_after_a_verified_one_and_never_when_the_store_has_a_hole(
    database: PostgresDatabase, store_block: BackupFolder
) -> None:
    one_a_day = {"prune": True, "keep_daily": 1, "keep_weekly": 0, "keep_monthly": 0}
    first = back_up(database=database, store=store_block, kind="schema")
    store = store_block.open()
    second = back_up(database=database, store=store_block, kind="schema", **one_a_day)
    # Both of today: the newest stays, and the newest that was verified is the same one.
    assert store.list_ids() == (second.id,)
    assert first.id not in store.list_ids()

    third = back_up(database=database, store=store_block, kind="schema")
    (store.path_of(second) / MANIFEST_NAME).write_text("{}")
    state = back_up(database=database, store=store_block, kind="schema", **one_a_day, return_state=True)

    assert state.is_failed()
    assert "nothing is removed while the store has a problem" in (state.message or "")
    assert third.id in store.list_ids()
    assert len(store.list_ids()) == 3


def test_a_block_given_inline_is_refused(database: PostgresDatabase, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="was given inline"):
        back_up(database=database, store=BackupFolder(path=tmp_path))


def test_a_store_is_checked_and_ends_completed_only_when_everything_passed(
    database: PostgresDatabase, store_block: BackupFolder, tmp_path: Path
) -> None:
    assert "could_not_verify: the store holds no backup" in str(
        check_backups(store=store_block, return_state=True).message
    )
    backup = back_up(database=database, store=store_block)
    back_up(database=database, store=store_block, kind="globals")

    state = check_backups(store=store_block, return_state=True)

    assert state.is_completed()
    check = state.result()
    assert isinstance(check, StoreCheck)
    assert [proof.backup_id for proof in check.restores] == [backup.id]
    assert check.restores[0].details["rows"] == "1234"
    found = artifacts_of(state.state_details.flow_run_id)
    assert "1234" in str(found["backups-checked"].data)

    archive = FolderArchive(store_block.open().folder)
    for number in (1, 3):
        path = write_segment(tmp_path, number)
        archive_wal(archive, path, path.name, system_identifier=SYSTEM)
    (store_block.open().path_of(backup) / "dump" / "toc.dat").write_bytes(b"")
    state = check_backups(store=store_block, database=database, slot="gone", restore=False, return_state=True)

    assert state.is_failed()
    assert f"log of cluster {SYSTEM}: 000000010000000000000002 is missing" in (state.message or "")
    found = artifacts_of(state.state_details.flow_run_id)
    said = str(found["backups-checked"].data)
    assert "toc.dat has 0 bytes" in said
    assert "the server has no slot gone" in said
