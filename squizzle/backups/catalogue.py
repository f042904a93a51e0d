"""What a store holds, whether it is whole, and taking away what may go. The store itself is the only truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic

from squizzle.backups.chained import Link, link_of, links_beside
from squizzle.backups.files import check_files
from squizzle.backups.manifest import manifest_hash
from squizzle.backups.notes import Notes, read_notes, write_proof
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.provider import Provider
from squizzle.backups.records import Backup, BackupKind, PreviousBackup
from squizzle.backups.retention import Choice, Known, choose_kept
from squizzle.backups.sealed import open_sealed, seal
from squizzle.backups.settings import Retention
from squizzle.backups.store import BackupStore, manifest_of
from squizzle.errors import BackupDamagedError, CloudError, RefusedError, SquizzleError, ToolError
from squizzle.headway import Unit, stretch

REMOVED_FOLDER = "removed"
"""Where a store keeps a record of each backup that was removed on purpose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One backup of a store, or what is left of one.

    Attributes:
        id: Its id.
        backup: Its manifest; None when that is damaged.
        notes: What is known beside the manifest.
        problems: What makes it unusable, one sentence each: a damaged manifest, a missing member of its chain.
    """

    id: str
    backup: Backup | None
    notes: Notes
    problems: tuple[str, ...] = ()


def read_catalogue(store: BackupStore) -> tuple[Entry, ...]:
    """Everything in a store, newest first. A damaged manifest is listed with its problem, not hidden."""
    ids = store.list_ids()
    return tuple(_entry(store, backup_id, frozenset(ids)) for backup_id in ids)


def _entry(store: BackupStore, backup_id: str, ids: frozenset[str]) -> Entry:
    notes = read_notes(store, backup_id)
    try:
        backup = store.read_header(backup_id)
    except BackupDamagedError as exc:
        return Entry(id=backup_id, backup=None, notes=notes, problems=(exc.message,))
    missing = tuple(
        f"it cannot be restored: backup {member}, which it builds on, is missing"
        for member in backup.chain
        if member not in ids
    )
    return Entry(id=backup_id, backup=backup, notes=notes, problems=missing)


def known_backups(entries: Iterable[Entry]) -> tuple[Known, ...]:
    """The readable ones, for deciding what may go."""
    return tuple(Known(backup=entry.backup, notes=entry.notes) for entry in entries if entry.backup is not None)


# The chain of hashes


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """The record of a backup that was removed on purpose.

    Attributes:
        id: Which.
        manifest_sha256: The hash of its manifest, which the backup after it names.
        previous: The backup before it in the chain.
        at: When.
        by: Who.
        reason: Why.
        chained: The places of the notes that went with it and that other notes may name.
    """

    id: str
    manifest_sha256: str
    previous: PreviousBackup | None
    at: datetime
    by: str
    reason: str
    chained: tuple[Link, ...] = ()


def check_chain(store: BackupStore, entries: Iterable[Entry]) -> tuple[str, ...]:
    """Look for manifests that were removed or exchanged behind our back.

    Every manifest names the one before it with its hash. What it names must be there unchanged, or there must be a
    record that it was removed on purpose. (The newest backup is named by none, so its removal cannot be seen.)

    Returns:
        One sentence for every gap.
    """
    hashes = {entry.id: manifest_hash(entry.backup) for entry in entries if entry.backup is not None}
    damaged = {entry.id for entry in entries if entry.backup is None}
    removals, problems = read_removals(store)
    links: list[tuple[str, PreviousBackup]] = [
        (entry.id, entry.backup.previous)
        for entry in entries
        if entry.backup is not None and entry.backup.previous is not None
    ]
    links += [(one.id, one.previous) for one in removals.values() if one.previous is not None]
    for backup_id, previous in dict.fromkeys(links):
        if previous.id in damaged:
            continue  # said already, by its own entry
        found = hashes.get(previous.id)
        if found is None and previous.id in removals:
            found = removals[previous.id].manifest_sha256
        if found is None:
            problems.append(
                f"backup {previous.id} is gone, and there is no record of its removal: {backup_id} was made after it"
            )
        elif found != previous.manifest_sha256:
            problems.append(
                f"the manifest of backup {previous.id} is not the one that was there when {backup_id} was made"
            )
    return tuple(problems)


def read_removals(store: BackupStore) -> tuple[dict[str, Removal], list[str]]:
    """The records of backups that were removed on purpose, by id, and a sentence for each that cannot be believed."""
    removals: dict[str, Removal] = {}
    problems: list[str] = []
    for name, text in store.texts(REMOVED_FOLDER).items():
        source = f"{REMOVED_FOLDER}/{name}"
        try:
            removal = _removal(open_sealed(text, source))
        except BackupDamagedError as exc:
            problems.append(exc.message)
        except (KeyError, TypeError, ValueError) as exc:
            problems.append(f"{source} is no record of ours: {type(exc).__name__}")
        else:
            removals[removal.id] = removal
    return removals, problems


def _removal(document: Mapping[str, object]) -> Removal:
    previous = document["previous"]
    return Removal(
        id=str(document["id"]),
        manifest_sha256=str(document["manifest_sha256"]),
        previous=PreviousBackup(**previous) if isinstance(previous, dict) else None,
        at=datetime.fromisoformat(str(document["at"])),
        by=str(document["by"]),
        reason=str(document["reason"]),
        chained=tuple(link_of(one) for one in _list(document.get("chained", []))),
    )


def _list(value: object) -> list[Mapping[str, object]]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


# Verifying the files


def verify_files(
    store: BackupStore,
    backup: Backup,
    *,
    by: str,
    provider: Provider | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Proof:
    """Read every file of a backup, compare it with the manifest, and put the result beside it.

    An encrypted one is read as it lies in the store, so this needs no key.

    Args:
        store: Where it lies.
        backup: Which.
        by: Who looks.
        provider: Who has the rows of a backup that is a snapshot; it is asked for them, too.
        clock: The time.

    Returns:
        The proof: `fail` names every file that is not as it should be; `could_not_verify` when the store could not be
        read.

    Raises:
        ToolError: The proof could not be written.
    """
    at, started = clock(), monotonic()
    verdict, sentences = _look_at_files(store, backup)
    details = {"files": str(len(backup.files)), "bytes": str(sum(file.size_bytes for file in backup.files))}
    if backup.kind is BackupKind.RDS and verdict is Verdict.PASS:
        verdict, sentences, more = _look_at_rows(provider, backup)
        details |= more
    proof = Proof(
        backup_id=backup.id,
        kind=ProofKind.FILES,
        verdict=verdict,
        at=at,
        duration=timedelta(seconds=monotonic() - started),
        by=by,
        sentences=sentences,
        details=details,
    )
    write_proof(store, proof)
    return proof


def _look_at_rows(provider: Provider | None, backup: Backup) -> tuple[Verdict, tuple[str, ...], Mapping[str, str]]:
    if provider is None:
        return Verdict.COULD_NOT_VERIFY, ("nobody was named who can ask the provider for its snapshot",), {}
    found = provider.look(backup)
    return found.verdict, found.sentences, found.details


def _look_at_files(store: BackupStore, backup: Backup) -> tuple[Verdict, tuple[str, ...]]:
    try:
        with store.fetch_stored(backup.as_stored) as folder:
            check_files(backup.as_stored, folder)
    except BackupDamagedError as exc:
        return Verdict.FAIL, (exc.message,)
    except SquizzleError as exc:
        return Verdict.COULD_NOT_VERIFY, (exc.message,)
    except OSError as exc:
        return Verdict.COULD_NOT_VERIFY, (f"{exc.filename or store.address} cannot be read: {exc.strerror}",)
    return Verdict.PASS, ()


# Removing


def remove_backup(
    store: BackupStore, choice: Choice, *, by: str, reason: str, now: datetime, provider: Provider | None = None
) -> None:
    """Remove one backup that retention lets go; the record of its removal is written first.

    Killed in between, the record stands beside a backup that is still whole, or whose snapshot is gone; the next run
    removes it.

    Args:
        store: Where it lies.
        choice: What retention decided; one that keeps is refused.
        by: Who removes.
        reason: Why.
        now: The time.
        provider: Who has the rows of a backup that is a snapshot. They go before the manifest, which alone knows them.

    Raises:
        RefusedError: Retention keeps it, somebody has taken hold of it since, or its snapshot is none of ours; nothing
            was removed.
        CloudError: The provider did not remove the snapshot; the backup is as it was.
        ToolError: The store refuses or fails; the backup is whole, or is none any more.
    """
    backup = choice.backup
    if choice.keeps:
        raise RefusedError(f"backup {backup.id} is kept: {choice.reasons[0]}", hint="lift the hold, or keep fewer")
    held = [hold for hold in read_notes(store, backup.id).holds if hold.holds_at(now)]
    if held:
        raise RefusedError(
            f"backup {backup.id} is held by {held[0].by}: {held[0].reason}", hint="it was not removed; run again later"
        )
    if backup.kind is BackupKind.RDS and provider is None:
        raise RefusedError(
            f"backup {backup.id} is a snapshot of RDS, and nobody was named who can remove it",
            hint="run `squizzle backups prune` where AWS can be reached, or choose the RDS Instance block in the form",
        )
    previous = backup.previous
    record = {
        "id": backup.id,
        "manifest": manifest_of(backup.id),
        "manifest_sha256": manifest_hash(backup),
        "previous": None if previous is None else {"id": previous.id, "manifest_sha256": previous.manifest_sha256},
        "kind": backup.kind.value,
        "database": backup.database,
        "at": now.isoformat(),
        "by": by,
        "reason": reason,
        "chained": [link.as_document() for link in links_beside(store, backup.id)],
    }
    store.put_text(f"{REMOVED_FOLDER}/{backup.id}.json", seal(record))
    if backup.kind is BackupKind.RDS and provider is not None:
        provider.remove(backup)
    store.remove(backup.id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruning:
    """What may go from a store, and what went.

    Attributes:
        choices: Retention's decision on every readable backup, newest first.
        problems: Damaged or missing manifests, one sentence each: while there is one, nothing is removed.
        removed: Ids of what went.
        refused: What could not be removed, with the reason, by id.
        leftovers: What killed runs had left, by its name in the store.
    """

    choices: tuple[Choice, ...]
    problems: tuple[str, ...]
    removed: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()


def plan_pruning(store: BackupStore, retention: Retention, *, now: datetime) -> Pruning:
    """Decide what may go. Nothing is changed."""
    entries = read_catalogue(store)
    damaged = tuple(text for entry in entries if entry.backup is None for text in entry.problems)
    return Pruning(
        choices=choose_kept(known_backups(entries), retention, now=now),
        problems=(*damaged, *check_chain(store, entries)),
    )


def carry_out_pruning(
    store: BackupStore, plan: Pruning, *, by: str, reason: str, now: datetime, provider: Provider | None = None
) -> Pruning:
    """Remove what a plan lets go, the newest of a chain first: killed in between, every chain that is left is whole.

    Args:
        store: The store of the plan.
        plan: What `plan_pruning` decided.
        by: Who removes.
        reason: Why, for the records.
        now: The time.
        provider: Who has the rows of backups that are snapshots.

    Raises:
        RefusedError: The store has a problem; nothing was removed.
    """
    if plan.problems:
        raise RefusedError(
            f"nothing is removed while the store has a problem: {plan.problems[0]}",
            hint="`squizzle backups` lists all of them; what is missing may be needed",
        )
    # First, because a run that was killed while it removed left room to be had: disks are pruned when they are full.
    leftovers = store.remove_leftovers()
    removed: list[str] = []
    refused: dict[str, str] = {}
    going = [choice for choice in plan.choices if not choice.keeps]
    with stretch("removing backups", unit=Unit.BACKUPS, total=len(going)) as headway:
        for choice in going:
            try:
                remove_backup(store, choice, by=by, reason=reason, now=now, provider=provider)
            except (CloudError, RefusedError, ToolError) as exc:
                refused[choice.backup.id] = exc.message
            else:
                removed.append(choice.backup.id)
            headway.add()
    return replace(plan, removed=tuple(removed), refused=refused, leftovers=leftovers)
