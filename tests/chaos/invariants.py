"""What must hold whoever was killed, in one place. Each function gives what is broken, a sentence each."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import psutil
import psycopg

from squizzle.backups.catalogue import check_chain, read_catalogue
from squizzle.backups.files import check_files
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.store import BackupStore
from squizzle.errors import SquizzleError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.fence import is_fenced, session_through_fence
from tests.support.names import databases
from tests.support.processes import wait_until


def one_of_the_name(access: ServerAccess, name: str, *, may_be_shut: bool) -> list[str]:
    """There is exactly one database of the name; it lets clients in, or is fenced on purpose.

    For the blink between two renames there is none: whoever dies in it leaves the name to the next run, which is why the
    name must be there whenever it is asked for after that.
    """
    with connect(access, "postgres", purpose="look") as control:
        if name not in databases(control, name):
            return [f"there is no database {name}"]
        if is_fenced(control, name):
            return [] if may_be_shut else [f"{name} is shut, and nobody works on it"]
    try:
        connect(access, name, purpose="look").close()
    except SquizzleError as exc:
        return [f"{name} is not fenced, and lets nobody in: {exc}"]
    return []


def rows_as_promised(access: ServerAccess, name: str, promised: DatabaseDigest) -> list[str]:
    """Schema and rows are what was promised, to the digest."""
    try:
        with session_through_fence(access, name, purpose="look") as session:
            comparison = compare_digests(promised, digest_database(session))
    except (SquizzleError, psycopg.Error) as exc:
        return [f"{name} cannot be read: {exc}"]
    return [f"{name}: {text}" for text in comparison.sentences()] if not comparison.is_equal else []


def only_good_backups(store: BackupStore) -> list[str]:
    """What the store lists is whole, hangs together, and none was called good that is not."""
    entries = read_catalogue(store)
    broken = [text for one in entries for text in (*one.problems, *one.notes.damaged)]
    broken += check_chain(store, entries)
    for entry in entries:
        try:
            backup = store.read(entry.id)
            with store.fetch(backup) as folder:
                check_files(backup, folder)
        except SquizzleError as exc:
            proven = [one for one in entry.notes.proofs if one.verdict is Verdict.PASS and one.kind in ProofKind]
            broken.append(f"backup {entry.id} is listed{' and called good' if proven else ''}, and damaged: {exc}")
    return broken


def nothing_left(access: ServerAccess, *, expected: Iterable[str], prefix: str, temp: Path | None = None) -> list[str]:
    """No database, slot, lock, session, process or file of a run that has ended.

    Args:
        access: The server.
        expected: The databases that there have to be, of those whose names begin like `prefix` or like a scratch one's.
        prefix: Of the databases that it is about.
        temp: The temporary folder of those who were killed.
    """
    broken: list[str] = []
    ours = "application_name ~ '^squizzle' AND application_name !~ ' (test|look)' AND pid <> pg_backend_pid()"
    questions = {
        "a session": f"SELECT application_name FROM pg_stat_activity WHERE {ours}",  # noqa: S608 - a constant
        "an advisory lock": "SELECT objid::text FROM pg_locks WHERE locktype = 'advisory' AND granted",
        "a slot": "SELECT slot_name::text FROM pg_replication_slots",
        "a prepared transaction": "SELECT gid FROM pg_prepared_xacts",
    }
    with connect(access, "postgres", purpose="look") as control:
        for what, query in questions.items():
            # A server notices a moment later that somebody is gone.
            try:
                wait_until(lambda q=query: not control.execute(q).fetchall(), what, seconds=30)  # type: ignore[misc]
            except AssertionError:
                broken.append(f"{what} is left: {control.execute(query.encode()).fetchall()}")
        found = databases(control, prefix) | databases(control, "squizzle_drill")
    broken += [f"database {name} is left" for name in sorted(found - set(expected))]
    broken += [f"database {name} is gone" for name in sorted(set(expected) - found)]
    if temp is not None:
        broken += _processes_below(temp)
        broken += [f"file {path.name} is left" for path in left_in(temp)]
    return broken


def left_in(temp: Path) -> list[Path]:
    """What runs left in their temporary folder, but for the place that embedded servers have in common."""
    common = [path for path in temp.iterdir() if path.name == f"squizzle-{os.geteuid()}"]
    inside = [path for folder in common for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted([*(path for path in temp.iterdir() if path not in common), *inside])


def _processes_below(temp: Path) -> list[str]:
    """Whoever still runs with this temporary folder; a guard may need a moment for its last look."""

    def alive() -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                is_below = process.environ().get("TMPDIR") == str(temp) and process.status() != psutil.STATUS_ZOMBIE
                command = " ".join(process.cmdline())
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            found += [command] if is_below and "tests.support" not in command else []
        return found

    try:
        wait_until(lambda: not alive(), "nobody works any more", seconds=30, every_s=0.1)
    except AssertionError:
        return [f"a process is left: {command[:80]}" for command in alive()]
    return []
