"""The verbs that look after backups: the catalogue, its verification, what may go, pins."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from squizzle.backups.catalogue import (
    Entry,
    Pruning,
    carry_out_pruning,
    check_chain,
    plan_pruning,
    read_catalogue,
    verify_files,
)
from squizzle.backups.encryption.open_keys import open_keys
from squizzle.backups.manifest import document_of
from squizzle.backups.notes import read_notes, remove_hold, write_hold
from squizzle.backups.open_store import open_store
from squizzle.backups.proofs import Hold, Proof, ProofKind, Verdict
from squizzle.backups.provider import Provider
from squizzle.backups.rds.provider import RdsProvider
from squizzle.backups.records import Backup
from squizzle.backups.retention import Choice
from squizzle.backups.settings import Retention
from squizzle.backups.space import size_words
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.open_archive import archive_of
from squizzle.backups.wal.retention import LogPruning, carry_out_log_pruning, plan_log_pruning
from squizzle.cli.names import backup_ids
from squizzle.cli.output import print_result, say, table
from squizzle.config import Config, load_config
from squizzle.errors import BackupDamagedError, CouldNotVerifyError, InvalidInputError, ToolError
from squizzle.headway import Unit, stretch
from squizzle.rehearsal.certificate_store import check_certificates

PIN = "pin"
# What a list of backups leaves out of the manifests: hundreds of lines that nobody lists backups for.
_TOO_LONG = ("objects", "files")


def who_am_i() -> str:
    """Account and machine, for records of who did something."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def store_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which store is meant."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else."),
        click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="squizzle.toml."),
        click.option(
            "--store",
            "address",
            metavar="URL",
            help="file:///folder or s3://…; without it: [backups] store.",
        ),
    ):
        verb = option(verb)
    return verb


def store_of(address: str | None, config: Config) -> BackupStore:
    """The store that was named, here or in squizzle.toml.

    Raises:
        InvalidInputError: None was named, or it is no address of a store.
    """
    return open_store(store_address(address, config), open_keys(config.backups.keys))


def store_address(address: str | None, config: Config) -> str:
    """The address of the store that was named, here or in squizzle.toml.

    Raises:
        InvalidInputError: None was named.
    """
    chosen = address or config.backups.store
    if not chosen:
        raise InvalidInputError(
            "no store named",
            hint="give --store file:///folder (or s3://…), or write it to squizzle.toml: [backups] store",
        )
    return chosen


@click.group(invoke_without_command=True)
@click.option("--verify", is_flag=True, help="Read every file of every backup again; takes as long as reading does.")
@store_options
@click.pass_context
def backups(
    context: click.Context, *, verify: bool, address: str | None, config_file: Path | None, as_json: bool
) -> int:
    """List the backups of a store, newest first, with what is known of each.

    Exit codes: 0; with --verify also 7 when a backup is damaged or was taken away, 10 when one could not be read.

    \b
    Examples:
      squizzle backups --store file:///var/backups/shop
      squizzle backups --verify
      squizzle backups prune --keep-daily 7 --keep-weekly 4 --keep-monthly 12
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if context.invoked_subcommand is not None:
        if verify or address or as_json or config_file:
            raise InvalidInputError(
                f"an option stands before {context.invoked_subcommand!r}",
                hint=f"write it behind: squizzle backups {context.invoked_subcommand} --store …",
            )
        return 0
    store = store_of(address, load_config(config_file))
    entries = read_catalogue(store)
    proofs: list[Proof] = []
    if verify:
        provider = RdsProvider()
        proofs = _verify_all(store, [entry.backup for entry in entries if entry.backup is not None], provider)
        entries = read_catalogue(store)
    gaps = check_chain(store, entries)
    if verify:
        gaps += check_certificates(store).problems
    now = datetime.now(UTC)
    document = {"backups": [_document(entry, now) for entry in entries], "gaps": list(gaps)}
    print_result(document, _text(store, entries, gaps, now), as_json=as_json)
    if not verify:
        return 0
    if gaps or any(entry.problems for entry in entries) or any(one.verdict is Verdict.FAIL for one in proofs):
        return BackupDamagedError.code
    if any(proof.verdict is not Verdict.PASS for proof in proofs):
        return CouldNotVerifyError.code
    return 0


def _verify_all(store: BackupStore, there: Sequence[Backup], provider: Provider) -> list[Proof]:
    proofs = []
    total = sum(backup.size_bytes for backup in there)
    with stretch("verifying every backup", unit=Unit.BYTES, total=total) as headway:
        for backup in there:
            proofs.append(_verify(store, backup, provider))
            headway.add(backup.size_bytes)
    return proofs


def _verify(store: BackupStore, backup: Backup, provider: Provider) -> Proof:
    proof = verify_files(store, backup, by=who_am_i(), provider=provider)
    say(f"{backup.id}: {verdict_words(proof)}")
    for sentence in proof.sentences:
        say(f"  {sentence}")
    return proof


def _document(entry: Entry, now: datetime) -> dict[str, object]:
    manifest: dict[str, object] = {"id": entry.id}
    if entry.backup is not None:
        manifest = {key: value for key, value in document_of(entry.backup).items() if key not in _TOO_LONG}
        manifest["age_s"] = round((now - entry.backup.started_at).total_seconds())
    return {
        **manifest,
        "problems": [*entry.problems, *entry.notes.damaged],
        "verified": proof_document(entry.notes.last(ProofKind.FILES)),
        "restored": proof_document(entry.notes.last(ProofKind.RESTORE)),
        "holds": [
            {
                "name": hold.name,
                "reason": hold.reason,
                "by": hold.by,
                "until": hold.until.isoformat() if hold.until else None,
            }
            for hold in entry.notes.holds
        ],
    }


def proof_document(proof: Proof | None) -> dict[str, object] | None:
    """A proof as JSON."""
    if proof is None:
        return None
    return {
        "verdict": proof.verdict.value,
        "at": proof.at.isoformat(),
        "duration_ms": round(proof.duration.total_seconds() * 1000),
        "by": proof.by,
        "sentences": list(proof.sentences),
    }


def _text(store: BackupStore, entries: Sequence[Entry], gaps: Sequence[str], now: datetime) -> str:
    if not entries:
        lines = [f"no backup in {store.address}"]
    else:
        headings = ("backup", "kind", "database", "age", "size", "version", "files read", "restore tested", "held")
        lines = [table(headings, [_row(entry, now) for entry in entries])]
    lines += [f"PROBLEM {entry.id}: {text}" for entry in entries for text in (*entry.problems, *entry.notes.damaged)]
    lines += [f"PROBLEM {gap}" for gap in gaps]
    return "\n".join(lines)


def _row(entry: Entry, now: datetime) -> tuple[str, ...]:
    looked = (_looked(entry, kind, now) for kind in (ProofKind.FILES, ProofKind.RESTORE))
    held = ", ".join(hold.name for hold in entry.notes.holds if hold.holds_at(now))
    backup = entry.backup
    if backup is None:
        return (entry.id, "DAMAGED", "", "", "", "", *looked, held)
    kind = f"{backup.kind} (+{len(backup.chain)})" if backup.chain else backup.kind.value
    return (
        entry.id,
        kind,
        backup.database,
        words_for(now - backup.started_at),
        size_words(backup.size_bytes) if backup.files else "",
        backup.migration_version or "",
        *looked,
        held,
    )


def _looked(entry: Entry, kind: ProofKind, now: datetime) -> str:
    proof = entry.notes.last(kind)
    return "never" if proof is None else f"{verdict_words(proof)}, {words_for(now - proof.at)} ago"


def verdict_words(proof: Proof) -> str:
    """A verdict that cannot be misread without colours."""
    return {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.COULD_NOT_VERIFY: "COULD NOT VERIFY"}[proof.verdict]


def words_for(age: timedelta) -> str:
    """A span of time in one unit, such as `3 h`; negative ones lie in the future."""
    seconds = age.total_seconds()
    if seconds < 0:
        return f"in {words_for(-age)}"
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


# What may go


@backups.command()
@click.option("--keep-daily", type=click.IntRange(0), help="Newest backups of so many days.")
@click.option("--keep-weekly", type=click.IntRange(0), help="Newest backups of so many weeks.")
@click.option("--keep-monthly", type=click.IntRange(0), help="Newest backups of so many months.")
@click.option("--yes", is_flag=True, help="Really remove; without it nothing is changed.")
@store_options
def prune(
    *,
    keep_daily: int | None,
    keep_weekly: int | None,
    keep_monthly: int | None,
    yes: bool,
    address: str | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Show which backups may go, and remove them with --yes; the write-ahead log that no copy needs goes with them.

    Never the newest of a database, the newest that was verified, one that is held or pinned, or one that a kept backup
    needs; never anything while a gap in the chain is unexplained; no log of a cluster whose copies are elsewhere.

    Exit codes: 0; 1 something could not be removed.

    \b
    Examples:
      squizzle backups prune --keep-daily 7 --keep-weekly 4 --keep-monthly 12
      squizzle backups prune --yes
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    config = load_config(config_file)
    store = store_of(address, config)
    default = config.backups.retention
    retention = Retention(
        daily=default.daily if keep_daily is None else keep_daily,
        weekly=default.weekly if keep_weekly is None else keep_weekly,
        monthly=default.monthly if keep_monthly is None else keep_monthly,
    )
    now = datetime.now(UTC)
    result = plan_pruning(store, retention, now=now)
    if yes:
        kept = f"{retention.daily} days, {retention.weekly} weeks, {retention.monthly} months are kept"
        result = carry_out_pruning(store, result, by=who_am_i(), reason=kept, now=now, provider=RdsProvider())
    archive = archive_of(store)
    log = plan_log_pruning(archive, result)
    if yes:
        log = carry_out_log_pruning(archive, log)
    document = {
        "removed": list(result.removed),
        "would_remove": [
            one.backup.id for one in result.choices if not one.keeps and one.backup.id not in result.removed
        ],
        "kept": [{"id": one.backup.id, "reasons": list(one.reasons)} for one in result.choices if one.keeps],
        "refused": dict(result.refused),
        "leftovers": list(result.leftovers),
        "log": [_log_document(one) for one in log],
        "problems": list(result.problems),
    }
    print_result(document, _prune_text(result, log, yes=yes), as_json=as_json)
    return ToolError.code if result.refused or any(one.failed for one in log) else 0


def _log_document(plan: LogPruning) -> dict[str, object]:
    return {
        "system_identifier": plan.system_identifier,
        "segments": plan.segments,
        "bytes": plan.size_bytes,
        "removed": plan.removed,
        "needed_from": {str(timeline): name for timeline, name in (plan.needed_from or {}).items()},
        "needed_by": plan.needed_by or None,
        "why_not": plan.why_not or None,
    }


def _log_text(plan: LogPruning) -> str:
    begin = f"log of cluster {plan.system_identifier}: "
    if plan.why_not:
        return f"{begin}nothing goes: {plan.why_not}"
    what = f"{plan.segments} segments, {size_words(plan.size_bytes)}" if plan.names else "nothing"
    fate = "removed" if plan.removed else "would go" if plan.names else "is older than what is needed"
    return f"{begin}{what} {fate}; {plan.needed_by} needs the rest"


def _prune_text(result: Pruning, log: Sequence[LogPruning], *, yes: bool) -> str:
    def fate(choice: Choice) -> tuple[str, str]:
        if choice.keeps:
            return "keep", "; ".join(choice.reasons)
        if choice.backup.id in result.removed:
            return "removed", ""
        if choice.backup.id in result.refused:
            return "NOT REMOVED", result.refused[choice.backup.id]
        return "would go", ""

    choices = result.choices
    lines = [table(("", "backup", "why"), [(fate(one)[0], one.backup.id, fate(one)[1]) for one in choices])]
    lines += [_log_text(one) for one in log]
    lines += [f"PROBLEM {text}" for text in result.problems]
    going = sum(not one.keeps for one in choices)
    if not yes:
        lines.append(f"{going} of {len(choices)} would go; nothing was changed. Add --yes to remove them.")
    return "\n".join(lines)


@backups.command()
@click.argument("backup_id", metavar="ID", shell_complete=backup_ids)
@click.option("--reason", required=True, help="Why it must stay, for whoever wonders later.")
@click.option("--days", type=click.IntRange(1), help="The pin ends by itself after so many days; else never.")
@store_options
def pin(
    *, backup_id: str, reason: str, days: int | None, address: str | None, config_file: Path | None, as_json: bool
) -> None:
    """Keep a backup from being removed.

    \b
    Examples:
      squizzle backups pin 20270131T020000Z-shop-1a2b3c --reason "before the move" --days 90
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    store = store_of(address, load_config(config_file))
    backup = store.read_header(backup_id)
    now = datetime.now(UTC)
    until = None if days is None else now + timedelta(days=days)
    write_hold(store, Hold(backup_id=backup.id, name=PIN, reason=reason, by=who_am_i(), at=now, until=until))
    document = {"id": backup.id, "pinned": True, "until": until.isoformat() if until else None}
    print_result(document, f"{backup.id} is pinned{f' until {until:%Y-%m-%d}' if until else ''}", as_json=as_json)


@backups.command()
@click.argument("backup_id", metavar="ID", shell_complete=backup_ids)
@store_options
def unpin(*, backup_id: str, address: str | None, config_file: Path | None, as_json: bool) -> None:
    """Lift the pin of a backup; holds of rollouts and drills stay.

    \b
    Examples:
      squizzle backups unpin 20270131T020000Z-shop-1a2b3c
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    store = store_of(address, load_config(config_file))
    backup = store.read_header(backup_id)
    remove_hold(store, backup.id, PIN)
    others = [hold.name for hold in read_notes(store, backup.id).holds]
    more = f"; still held: {', '.join(others)}" if others else ""
    print_result(
        {"id": backup.id, "pinned": False, "holds": others}, f"{backup.id} is not pinned{more}", as_json=as_json
    )
