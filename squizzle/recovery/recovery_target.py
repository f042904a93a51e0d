"""The point that a cluster is to be recovered to, as a person says it and as PostgreSQL is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from squizzle.backups.records import Backup
from squizzle.backups.wal.names import lsn_number
from squizzle.errors import InvalidInputError
from squizzle.postgres.names_in_queries import refuse_cut_name


class TargetKind(StrEnum):
    """How a point is said."""

    TIME = "time"
    LSN = "lsn"
    NAME = "name"
    LATEST = "latest"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryTarget:
    """A point to recover to. Made by `parse_target`.

    Attributes:
        kind: How it is said.
        value: As PostgreSQL is told; empty for the end of the log.
    """

    kind: TargetKind
    value: str = ""

    @property
    def words(self) -> str:
        """For a person."""
        return "the end of the archived log" if self.kind is TargetKind.LATEST else f"{self.kind} {self.value}"

    def settings(self) -> dict[str, str]:
        """For postgresql.conf. A position stops before what begins there: that is where a mark was set."""
        match self.kind:
            case TargetKind.LATEST:
                return {}
            case TargetKind.LSN:
                return {"recovery_target_lsn": self.value, "recovery_target_inclusive": "off"}
            case _:
                return {f"recovery_target_{self.kind}": self.value}


def parse_target(
    *, to_time: str | None = None, to_lsn: str | None = None, to_name: str | None = None, to_latest: bool = False
) -> RecoveryTarget | None:
    """Read the point that was asked for; None when none was.

    Args:
        to_time: ISO 8601 with its offset from UTC, such as `2027-01-31 02:00:00+01:00`.
        to_lsn: A position in the log, such as `0/3000148`.
        to_name: A named restore point.
        to_latest: The end of the log.

    Raises:
        InvalidInputError: More than one was, or it cannot be read.
    """
    given = [
        option for option, value in (("--to-time", to_time), ("--to-lsn", to_lsn), ("--to-name", to_name)) if value
    ]
    given += ["--to-latest"] if to_latest else []
    if len(given) > 1:
        raise InvalidInputError(f"{' and '.join(given)} name more than one point", hint="give one of them")
    if to_time:
        return RecoveryTarget(kind=TargetKind.TIME, value=_time(to_time).isoformat(sep=" "))
    if to_lsn:
        if lsn_number(to_lsn) is None:
            raise InvalidInputError(f"{to_lsn!r} is no position in a log", hint="write it as in 0/3000148")
        return RecoveryTarget(kind=TargetKind.LSN, value=to_lsn)
    if to_name:
        refuse_cut_name(to_name, "a restore point")
        return RecoveryTarget(kind=TargetKind.NAME, value=to_name)
    return RecoveryTarget(kind=TargetKind.LATEST) if to_latest else None


def _time(text: str) -> datetime:
    hint = "write it with its offset from UTC, as in 2027-01-31T02:00:00+01:00"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InvalidInputError(f"{text!r} is no time", hint=hint) from exc
    if moment.tzinfo is None:
        raise InvalidInputError(f"{text!r} does not say in which time zone", hint=hint)
    return moment


def refuse_too_early(target: RecoveryTarget, backup: Backup) -> None:
    """A copy cannot be recovered to a point before its own end; what PostgreSQL would say hours later is said now.

    Raises:
        InvalidInputError: The point lies before it.
    """
    hint = "name an older copy: `squizzle backups` lists when each was taken"
    if target.kind is TargetKind.TIME and datetime.fromisoformat(target.value) < backup.started_at:
        raise InvalidInputError(
            f"backup {backup.id} was begun at {backup.started_at.isoformat(sep=' ')}, behind the time that was asked"
            f" for, {target.value}",
            hint=hint,
        )
    wanted, end = lsn_number(target.value), lsn_number(backup.stop_lsn)
    if target.kind is TargetKind.LSN and wanted is not None and end is not None and wanted < end:
        raise InvalidInputError(
            f"backup {backup.id} is consistent from {backup.stop_lsn} on, behind the position that was asked for,"
            f" {target.value}",
            hint=hint,
        )
