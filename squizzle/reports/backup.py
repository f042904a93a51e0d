"""The report of a backup: what was saved, whether it was verified, and how size and time develop."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from squizzle.backups.proofs import Proof, StoreCheck, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.space import size_words
from squizzle.numbers import number_of
from squizzle.reports.markdown import table

if TYPE_CHECKING:
    import pandas as pd

_VERDICTS = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.COULD_NOT_VERIFY: "COULD NOT VERIFY"}
# More tables than a person reads; the manifest has them all.
_MOST_TABLES = 40
_MOST_SENTENCES = 3
MOST_IN_TREND = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupReport:
    """What a run that took a backup has to say.

    Attributes:
        backup: The backup.
        proof: Its files, read again after they were published.
        removed: Ids of the backups that retention let go afterwards.
        kept_because: Why none was removed though the run was asked to prune; empty otherwise.
    """

    backup: Backup
    proof: Proof
    removed: tuple[str, ...] = ()
    kept_because: str = ""


def backup_markdown(report: BackupReport, trend: pd.DataFrame) -> str:
    """The whole report as Markdown; no row data and no secrets."""
    backup, proof = report.backup, report.proof
    parts = [
        f"# Backup of {backup.database}: files {_VERDICTS[proof.verdict]}",
        f"`{backup.id}` in {backup.store}",
        "\n".join(f"- {sentence}" for sentence in proof.sentences),
        _facts(backup, proof),
        _tables(backup),
        "## The last ones",
        trend_table(trend),
        "## Not held, or not proven",
        "\n".join(f"- {one}" for one in backup.not_covered),
        _removed(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(backup: Backup, proof: Proof) -> str:
    rows = [
        ("Kind", backup.kind.value),
        ("Snapshot", f"{backup.started_at:%Y-%m-%d %H:%M:%S %Z}, LSN {backup.lsn}"),
        ("Migrations", backup.migration_version or "none"),
        ("Server", f"{backup.server_version // 10000}.{backup.server_version % 10000}"),
        *(_point(backup) if backup.kind is BackupKind.MARK else _copy(backup, proof)),
    ]
    if backup.chain:
        rows.append(("Builds on", ", ".join(f"`{one}`" for one in backup.chain)))
    return table(("", ""), rows)


def _point(backup: Backup) -> list[tuple[str, str]]:
    name = backup.details["restore_point"]
    return [("Restore point", f"`{name}`" if name else f"without a name, at LSN {backup.lsn}")]


def _copy(backup: Backup, proof: Proof) -> list[tuple[str, str]]:
    took = f"{proof.duration.total_seconds():.1f} s"
    size = ("Size", f"{size_words(backup.size_bytes)} in {number_of(len(backup.files), 'file')}")
    looked = ("Read again in", f"{took}: every file has the SHA-256 of the manifest")
    tested = ("Restore tested", f"not yet: `squizzle verify-backup {backup.id} --restore`")
    if backup.kind is BackupKind.RDS:
        size = ("Size", f"{size_words(backup.size_bytes)} of storage at RDS: `{backup.details.get('snapshot', '')}`")
        looked = ("Looked at in", f"{took}: RDS has the snapshot of the manifest")
        tested = ("Restore tested", "no: RDS alone can restore it, to an instance of its own")
    if proof.verdict is not Verdict.PASS:
        looked = ("Read again", "see above: do not rely on this backup")
    return [size, ("Taken in", f"{backup.duration.total_seconds():.1f} s"), looked, tested]


def _tables(backup: Backup) -> str:
    if backup.digest is None or not backup.digest.tables:
        return ""
    largest = sorted(backup.digest.tables, key=lambda table: (-table.rows, table.table))
    rows = [(f"`{one.table}`", f"{one.rows:,}", f"`{one.digest}`") for one in largest[:_MOST_TABLES]]
    more = len(largest) - len(rows)
    text = table(("table", "rows", "fingerprint"), rows)
    return f"## Fingerprinted\n\n{text}" + (f"\n\n… and {more} smaller tables." if more > 0 else "")


def _removed(report: BackupReport) -> str:
    if report.kept_because:
        return f"## Nothing was removed\n\n{report.kept_because}"
    if not report.removed:
        return ""
    return "## Removed, since they are out of date\n\n" + "\n".join(f"- `{one}`" for one in report.removed)


def check_markdown(check: StoreCheck) -> str:
    """What a look at a whole store found, as Markdown."""
    parts = [
        f"# Backups in {check.store}: {_VERDICTS[check.verdict]}",
        check.reason,
        "## Problems\n\n" + "\n".join(f"- {one}" for one in check.problems) if check.problems else "",
        "## Restored to a scratch place and compared",
        _proofs(check.restores) if check.restores else "None was restored.",
        "## Files read again",
        _proofs(check.files) if check.files else "There is no backup.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _proofs(proofs: Sequence[Proof]) -> str:
    rows = [
        (
            f"`{one.backup_id}`",
            _VERDICTS[one.verdict],
            f"{one.duration.total_seconds():.1f} s",
            "; ".join(one.sentences[:_MOST_SENTENCES])
            or ", ".join(f"{name}: {value}" for name, value in one.details.items()),
        )
        for one in sorted(proofs, key=lambda one: one.verdict is Verdict.PASS)
    ]
    return table(("backup", "verdict", "took", "found"), rows)


def trend_frame(backups: Sequence[Backup]) -> pd.DataFrame:
    """The last backups of one kind and database, the oldest first.

    Returns:
        Columns `at` (UTC), `id`, `size_mb`, `seconds`, `rows`; one line a backup.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, that a drill which reports no backup need not wait for

    chosen = sorted(backups, key=lambda one: (one.started_at, one.id))[-MOST_IN_TREND:]
    return pd.DataFrame(
        {
            "at": pd.to_datetime([one.started_at for one in chosen], utc=True),
            "id": [one.id for one in chosen],
            "size_mb": [one.size_bytes / 1_000_000 for one in chosen],
            "seconds": [one.duration.total_seconds() for one in chosen],
            "rows": [one.rows for one in chosen],
        }
    )


def trend_table(trend: pd.DataFrame, *, lines: int = 10) -> str:
    """The newest of the last backups as a table, the newest first, with the change of size to the one before."""
    changes = (trend["size_mb"].pct_change() * 100).tolist()
    columns = (
        trend["at"].tolist(),
        trend["size_mb"].tolist(),
        changes,
        trend["seconds"].tolist(),
        trend["rows"].tolist(),
    )
    rows = [
        (
            f"{when:%Y-%m-%d %H:%M}",
            size_words(size * 1_000_000),
            "" if math.isnan(change) else f"{change:+.1f} %",
            f"{took:.1f} s",
            f"{count:,}",
        )
        for when, size, change, took, count in list(zip(*columns, strict=True))[-lines:][::-1]
    ]
    return table(("at (UTC)", "size", "change", "taken in", "rows"), rows)


def trend_picture(trend: pd.DataFrame, title: str) -> bytes:
    """Size and time of the last backups as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as slow as pandas above

    figure = Figure(figsize=(8, 3), layout="constrained")
    size = figure.subplots()
    # A small database is not a column of zeros.
    largest = trend["size_mb"].max()
    factor, unit = (1000, "kB") if largest < 1 else (1, "MB") if largest < 1000 else (0.001, "GB")  # noqa: PLR2004
    size.plot(trend["at"], trend["size_mb"] * factor, marker="o", color="tab:blue")
    size.set_ylabel(unit, color="tab:blue")
    if len(trend) == 1:
        # Of one moment Matplotlib draws four years.
        (at,) = trend["at"]
        size.set_xlim(at - timedelta(hours=12), at + timedelta(hours=12))
    size.set_ylim(bottom=0)
    size.tick_params(axis="x", rotation=30)
    time = size.twinx()
    time.plot(trend["at"], trend["seconds"], marker="s", linestyle="--", color="tab:orange")
    time.set_ylabel("seconds", color="tab:orange")
    time.set_ylim(bottom=0)
    size.set_title(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
