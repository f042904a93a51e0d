"""The verb that looks closely at one backup: are its files intact, and does it restore?"""

from __future__ import annotations

import os

import click

from squizzle.backups.catalogue import verify_files
from squizzle.backups.proofs import Proof, Verdict
from squizzle.backups.rds.provider import RdsProvider
from squizzle.cli.backups import proof_document, store_of, verdict_words, who_am_i
from squizzle.cli.names import backup_ids
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.cli.rds import refuse_without_room
from squizzle.errors import BackupDamagedError, CouldNotVerifyError
from squizzle.postgres.access import ServerAccess
from squizzle.recovery.restore_proof import prove_by_restore
from squizzle.recovery.scratch_copy import ScratchPlace

_EXIT_CODES = {
    Verdict.PASS: 0,
    Verdict.FAIL: BackupDamagedError.code,
    Verdict.COULD_NOT_VERIFY: CouldNotVerifyError.code,
}


@click.command("verify-backup")
@click.argument("backup_id", metavar="ID", shell_complete=backup_ids)
@click.option("--store", "address", metavar="URL", help="file:///folder or s3://…; without it: [backups] store.")
@click.option("--restore", is_flag=True, help="Restore it to a scratch place and compare it row by row.")
@common_options
def verify_backup(invocation: Invocation, backup_id: str, address: str | None, *, restore: bool) -> int:
    """Read every file of a backup again; with --restore also restore it to a scratch place, and compare.

    The scratch place is a server of our own that goes away again, of the backup's major version. With --env or --url
    it is a database of its own on that server, dropped afterwards; nothing else there is touched. The result is kept
    beside the backup. Exit codes: 0 pass, 7 fail, 10 could not verify.

    \b
    Examples:
      squizzle verify-backup 20270131T020000Z-shop-1a2b3c --restore
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    store = store_of(address, invocation.config)
    backup = store.read_header(backup_id)
    proofs = [verify_files(store, backup, by=who_am_i(), provider=RdsProvider())]
    if restore and proofs[0].verdict is Verdict.PASS:
        say("files: pass; now restoring to a scratch place")
        server = _server(invocation)
        if server is not None:
            refuse_without_room(invocation, server, backup)
        place = ScratchPlace(server=server, programs=invocation.config.programs)
        proofs.append(prove_by_restore(store, backup, place, by=who_am_i()))
    last = proofs[-1]
    document = {
        "id": backup.id,
        "verdict": last.verdict.value,
        "verified": proof_document(proofs[0]),
        "restored": proof_document(proofs[1]) if len(proofs) > 1 else None,
    }
    print_result(document, "\n".join(line for proof in proofs for line in _lines(proof)), as_json=invocation.as_json)
    return _EXIT_CODES[last.verdict]


def _server(invocation: Invocation) -> ServerAccess | None:
    """The server that was named; DATABASE_URL is the database that was saved, and names none."""
    if invocation.environment or invocation.url:
        return invocation.target()[0]
    if "DATABASE_URL" in os.environ:
        say("note: DATABASE_URL is not used for this; --env or --url would name a server to restore to")
    return None


def _lines(proof: Proof) -> list[str]:
    what = ", ".join(f"{name} {value}" for name, value in proof.details.items())
    took = f"{proof.duration.total_seconds():.1f} s"
    return [
        f"{proof.kind.value}: {verdict_words(proof)} ({took}; {what})",
        *(f"  {sentence}" for sentence in proof.sentences),
    ]
