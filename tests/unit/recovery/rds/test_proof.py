"""A restored copy is held against what is known of its snapshot: what was written meanwhile is no failure and no pass."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from squizzle.backups.proofs import Verdict
from squizzle.backups.records import Backup
from squizzle.errors import BackupDamagedError
from squizzle.proof.records import DatabaseDigest, TableDigest
from squizzle.recovery.rds.proof import compare_restored

AFTER = json.dumps({"tables": {"public.users": {"rows": 1600, "digest": "7"}}})


def with_users(digest: DatabaseDigest, rows: int, fingerprint: str) -> DatabaseDigest:
    users = TableDigest(table="public.users", rows=rows, digest=fingerprint)
    return replace(digest, tables=(digest.tables[0], users))


@pytest.mark.parametrize(
    ("changed", "rows", "fingerprint", "verdict"),
    [
        ([], 1500, "-81985529216486896", Verdict.PASS),
        ([], 1600, "7", Verdict.FAIL),
        (["public.users"], 1500, "-81985529216486896", Verdict.PASS),
        (["public.users"], 1600, "7", Verdict.PASS),
        (["public.users"], 1550, "9", Verdict.COULD_NOT_VERIFY),
        (["public.orders"], 1600, "7", Verdict.FAIL),
    ],
)
def test_rows(
    backup: Backup, shop_digest: DatabaseDigest, changed: list[str], rows: int, fingerprint: str, verdict: Verdict
) -> None:
    made = replace(backup, digest=shop_digest, details={"changed_tables": json.dumps(changed)})

    found, said = compare_restored(made, AFTER, with_users(shop_digest, rows, fingerprint))

    assert found is verdict
    assert bool(said) is (verdict is not Verdict.PASS)


def test_definitions_and_sequences(backup: Backup, shop_digest: DatabaseDigest) -> None:
    made = replace(backup, digest=shop_digest, details={})
    schema = replace(shop_digest.schema, strict="x", logical="x", objects=shop_digest.schema.objects[1:])
    other = replace(shop_digest, schema=schema)
    assert compare_restored(made, "", other)[0] is Verdict.FAIL
    explained = replace(made, details={"definitions": "changed"})
    assert compare_restored(explained, "", other)[0] is Verdict.COULD_NOT_VERIFY
    behind = replace(shop_digest, sequences={**shop_digest.sequences, "public.users_id_seq": 1})
    assert compare_restored(explained, "", behind)[0] is Verdict.FAIL
    with pytest.raises(BackupDamagedError, match="does not say which tables changed"):
        compare_restored(made, "{}", shop_digest)
