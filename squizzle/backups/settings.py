"""What a project says about its backups. Imported by every verb, so it imports next to nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from squizzle.postgres.secret import Secret
from squizzle.settings.reader import Reader

# Ten years of days.
_MOST_KEPT = 3660


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How many backups of each database are kept. Days, ISO weeks and months are those of UTC.

    Attributes:
        daily: For so many of the newest days that have backups, the newest backup of the day.
        weekly: The same for weeks.
        monthly: The same for months.
    """

    daily: int = 7
    weekly: int = 4
    monthly: int = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySettings:
    """Where the keys are that backups are encrypted with; nowhere: they are not encrypted.

    Several keys in one place stand one a line. The first of all encrypts, the others still decrypt.

    Attributes:
        kms_key: ARN, id or alias of a key of AWS KMS; several with spaces between them.
        key_file: A file that nobody else can read.
        key_env: An environment variable.
        keys: The keys themselves, from a block.
    """

    kms_key: str | None = None
    key_file: Path | None = None
    key_env: str | None = None
    keys: Secret | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupSettings:
    """`[backups]`: where backups lie and how many are kept.

    Attributes:
        store: Address of the store that is meant without `--store`; None for none.
        keys: What they are encrypted with.
        retention: What `backups prune` keeps unless it is told otherwise.
    """

    store: str | None = None
    keys: KeySettings = field(default_factory=KeySettings)
    retention: Retention = field(default_factory=Retention)


def read_backups(reader: Reader, value: object, folder: Path) -> BackupSettings:
    """`[backups]`; nothing is connected, and no variable is read.

    Args:
        reader: Of the file.
        value: The section.
        folder: The file's, which paths are seen from.

    Raises:
        InvalidInputError: A setting is unknown or wrong.
    """
    section = reader.section(value, "backups")
    default = Retention()
    key_file = reader.text(section, "backups", "key_file")
    settings = BackupSettings(
        store=reader.text(section, "backups", "store"),
        keys=KeySettings(
            kms_key=reader.text(section, "backups", "kms_key"),
            key_file=folder / key_file if key_file else None,
            key_env=reader.text(section, "backups", "key_env"),
        ),
        retention=Retention(
            daily=_kept(reader, section, "keep_daily", default.daily),
            weekly=_kept(reader, section, "keep_weekly", default.weekly),
            monthly=_kept(reader, section, "keep_monthly", default.monthly),
        ),
    )
    reader.nothing_left(section, "backups")
    return settings


def _kept(reader: Reader, section: dict[str, object], name: str, default: int) -> int:
    value = section.pop(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_KEPT:
        reader.complain(f"backups.{name}", f"must be a whole number from 0 to {_MOST_KEPT}")
    return value
