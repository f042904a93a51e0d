"""What a store holds of a server that is lost. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from squizzle.backups.catalogue import Entry, read_catalogue
from squizzle.backups.files import check_files
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import BackupStore
from squizzle.backups.surroundings import PASSWORDS, saved_properties
from squizzle.errors import InvalidInputError
from squizzle.recovery.rebuild.records import SavedServer
from squizzle.recovery.scratch import is_of_a_drill

# Every server has it from its first moment, and nothing is ever restored over something.
_ON_EVERY_SERVER = "postgres"


def is_of_a_server(database: str) -> bool:
    """Whether a database of this name belongs to a server; those of drills and rehearsals are nobody's. Pure."""
    return not is_of_a_drill(database)


def find_saved_server(
    store: BackupStore, *, cluster: str | None = None, wanted: Callable[[str], bool] = is_of_a_server
) -> SavedServer:
    """What a server can be rebuilt from: the newest usable whole backup of each database, and the roles.

    Args:
        store: All that is left.
        cluster: The system identifier of the lost server; None where the store has backups of one server alone.
        wanted: Whether a database of this name is one of the server's; by default all but those of drills are.

    Raises:
        InvalidInputError: There is no whole backup, or the store has backups of several servers.
        BackupDamagedError, ToolError: The store cannot be read.
    """
    found = read_catalogue(store)
    entries = [one for one in found if one.backup is not None and wanted(one.backup.database)]
    # Only their names say whose they are.
    unreadable = [f"{one.id} is not used: {one.problems[0]}" for one in found if one.backup is None]
    identifier = cluster or _only_server(entries)
    ours = [one for one in entries if one.backup is not None and one.backup.system_identifier == identifier]
    newest, notes = _newest(ours)
    if not newest:
        raise InvalidInputError(
            f"the store holds no usable whole backup of the server {identifier}",
            hint="`squizzle backups` lists what it holds; of a copy of the cluster:"
            " squizzle restore ID --into-folder DIR --to-latest",
        )
    return SavedServer(
        system_identifier=identifier,
        roles=_roles(store, ours),
        databases=tuple(store.read(newest[name].id) for name in sorted(newest)),
        not_saved=_not_saved(store, ours, newest, wanted),
        notes=(*unreadable, *notes, *_better_way(ours, newest)),
    )


def _only_server(entries: Sequence[Entry]) -> str:
    wholes = [one.backup for one in entries if one.backup is not None and one.backup.kind is BackupKind.FULL]
    servers = sorted({backup.system_identifier for backup in wholes})
    if not servers:
        raise InvalidInputError(
            "the store holds no whole backup of any database",
            hint="name the store that the lost server was saved to; `squizzle backups` lists what one holds",
        )
    if len(servers) > 1:
        said = "; ".join(f"{one or 'unknown'} ({_words(wholes, one)})" for one in servers)
        raise InvalidInputError(
            f"the store holds backups of {len(servers)} servers: {said}", hint="say which is lost: --cluster ID"
        )
    return servers[0]


def _words(backups: Iterable[Backup], server: str) -> str:
    ours = [backup for backup in backups if backup.system_identifier == server]
    names = ", ".join(sorted({backup.database for backup in ours}))
    return f"{names}, last saved {max(one.started_at for one in ours):%Y-%m-%d %H:%M:%S} UTC"


def _newest(entries: Iterable[Entry]) -> tuple[dict[str, Backup], tuple[str, ...]]:
    """By database; with a sentence for each newer one that is not used."""
    newest: dict[str, Backup] = {}
    notes = []
    for one in entries:
        backup = one.backup
        if backup is None or backup.kind is not BackupKind.FULL or backup.database in newest:
            continue
        why = _why_not(one)
        if why:
            notes.append(f"{one.id}, the newer backup of {backup.database}, is not used: {why}")
        else:
            newest[backup.database] = backup
    return newest, tuple(notes)


def _why_not(entry: Entry) -> str:
    if entry.problems:
        return entry.problems[0]
    for kind in (ProofKind.RESTORE, ProofKind.FILES):
        proof = entry.notes.last(kind)
        if proof is not None and proof.verdict is Verdict.FAIL:
            return proof.sentences[0] if proof.sentences else "its last check failed"
    return ""


def _roles(store: BackupStore, entries: Sequence[Entry]) -> Backup:
    """The newest that has them, with passwords if there is one: without them nobody gets in."""
    having = [
        one.id
        for one in entries
        if one.backup is not None and one.backup.kind in {BackupKind.GLOBALS, BackupKind.FULL} and not _why_not(one)
    ]
    newest = store.read(having[0])
    rest = (store.read(backup_id) for backup_id in having[1:])
    return next((one for one in (newest, *rest) if not _lacks_passwords(one)), newest)


def _lacks_passwords(backup: Backup) -> bool:
    return any(clause.startswith(PASSWORDS) for clause in backup.not_covered)


def _not_saved(
    store: BackupStore, entries: Sequence[Entry], newest: dict[str, Backup], wanted: Callable[[str], bool]
) -> tuple[str, ...]:
    """Databases that the newest backup of the globals knows, and nothing else does."""
    known = next(
        (
            one.backup
            for one in entries
            if one.backup is not None and one.backup.kind is BackupKind.GLOBALS and not _why_not(one)
        ),
        None,
    )
    if known is None:
        return ()
    backup = store.read(known.id)
    with store.fetch(backup) as folder:
        check_files(backup, folder)
        there = saved_properties(folder)
    usual = {_ON_EVERY_SERVER, "template1"}
    return tuple(sorted(name for name in there if name not in newest and name not in usual and wanted(name)))


def _better_way(entries: Iterable[Entry], newest: dict[str, Backup]) -> tuple[str, ...]:
    """A copy of the whole cluster that is newer than the oldest of these, or has a log behind it, may lose less."""
    copies = [
        one.backup for one in entries if one.backup is not None and one.backup.kind.is_cluster and not _why_not(one)
    ]
    if not copies:
        return ()
    copy, oldest = copies[0], min(one.started_at for one in newest.values())
    said = f"the copy of the cluster {copy.id} and the log archived behind it may lose less than backups of"
    return (f"{said} {oldest:%Y-%m-%d %H:%M:%S} UTC: squizzle restore {copy.id} --into-folder DIR --to-latest",)
