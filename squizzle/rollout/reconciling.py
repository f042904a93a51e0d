"""A fleet that is between two states: who is where, and what it takes to go on or back. Pure.

The histories of the targets are the truth; the rollout's own record says who belongs to which stage.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from math import ceil
from urllib.parse import quote

from squizzle.recovery.ways import Way
from squizzle.rehearsal.records import Certificate
from squizzle.rollout.ledger import RolloutRow
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.standing import Standing, Stands
from squizzle.rollout.unwinding import unproven_scripts, why_not_by_script
from squizzle.settings.fleets import FleetServer

_UNSEEN = "let it answer (the error says why it did not), then look again"


class FleetState(StrEnum):
    """Whether all targets are together.

    `whole`: all have the same of the rollout. `half-migrated`: some have what others lack, or something broke off.
    `not all seen`: those that answered are together, but some did not answer.
    """

    WHOLE = "whole"
    HALF_MIGRATED = "half-migrated"
    NOT_ALL_SEEN = "not all seen"


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """What it takes to bring a target, or all of them, on or back.

    Attributes:
        what: What is to be done, or what the rollout does.
        takes: How long, by what was measured; None where nothing was.
        measured_by: What that rests on; empty for nothing.
        command: What a person runs for this target alone; empty where the rollout does it.
        targets: How many targets it is for.
    """

    what: str
    takes: timedelta | None = None
    measured_by: str = ""
    command: str = ""
    targets: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """How long it takes for one target, by what was measured; None where nothing was."""

    takes: timedelta | None
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciliation:
    """Where the targets of a fleet stand.

    Attributes:
        fleet: The fleet's name.
        row: The rollout that is under way; None when none is written down.
        versions: What it is about: those of the rollout, else what some target lacks.
        standings: Of every target.
        servers: How each server is reached; no secret is in there.
        certificates: By which versions came to targets, by version.
        concurrency: So many targets at the same time.
        remarks: What a person should know besides.
    """

    fleet: str
    row: RolloutRow | None
    versions: tuple[str, ...]
    standings: tuple[Standing, ...]
    servers: Mapping[str, FleetServer]
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    concurrency: int = 1
    remarks: tuple[str, ...] = ()

    @property
    def state(self) -> FleetState:
        """In a word."""
        seen = [one for one in self.standings if one.stands is not Stands.NOT_SEEN]
        broken = any(one.stands in {Stands.HALF_DONE, Stands.FAILED, Stands.PART} for one in seen)
        if broken or len({one.lacking for one in seen}) > 1:
            return FleetState.HALF_MIGRATED
        return FleetState.WHOLE if len(seen) == len(self.standings) else FleetState.NOT_ALL_SEEN

    def stage(self, target: FleetTarget) -> str:
        """To which stage a target belongs; empty when that is not written down."""
        return self.row.stage_of.get(target.name, "") if self.row else ""

    def onward(self, one: Standing) -> Move | None:
        """What it takes until a target has every version; None when it has."""
        if one.stands is Stands.NOT_SEEN:
            return Move(what=_UNSEEN)
        if one.stands is Stands.ALL and not one.broken:
            return None
        took = self._forth()
        wanted = ", ".join(one.lacking or one.broken)
        if one.broken and one.going_back:
            return Move(what=f"it was on its way back: bring that to its end, then {wanted} can be applied")
        if one.broken:
            return Move(
                what=f"mend {', '.join(one.broken)}; then {wanted} is applied", takes=took.takes, measured_by=took.by
            )
        return Move(what=f"{wanted} is applied", takes=took.takes, measured_by=took.by)

    def backward(self, one: Standing) -> Move | None:
        """What it takes until nothing that the rollout brought is there; None when nothing is."""
        if one.stands is Stands.NOT_SEEN:
            return Move(what=_UNSEEN)
        if not one.brought:
            return None
        what = ", ".join(one.brought)
        instead = why_not_by_script(one.brought, unproven_scripts(self.certificates))
        if instead:
            took = self._rehearsed(one.brought, script=False)
            return Move(what=f"recovery: {instead}", takes=took.takes, measured_by=took.by, command=self._recover(one))
        took = self._back(one)
        if one.broken and one.going_back:
            failed = f"the down script failed ({one.error}): mend it and go back, or recover the database"
            return Move(what=failed, takes=took.takes, measured_by=took.by, command=self._recover(one))
        return Move(what=f"down scripts of {what}", takes=took.takes, measured_by=took.by)

    @property
    def on(self) -> Move:
        """Until every target has every version."""
        return self._all([(one, self.onward(one)) for one in self.standings], "lack something of it")

    @property
    def back(self) -> Move:
        """Until no target has what the rollout brought."""
        return self._all([(one, self.backward(one)) for one in self.standings], "have something that it brought")

    def _all(self, moves: Sequence[tuple[Standing, Move | None]], what: str) -> Move:
        todo = [move for _, move in moves if move is not None]
        known = [move.takes for move in todo if move.takes is not None]
        mean = sum(known, timedelta()) / len(known) if known else None
        sources = dict.fromkeys(move.measured_by for move in todo if move.measured_by)
        return Move(
            what=f"{len(todo):,} of {len(self.standings):,} targets {what}",
            takes=None if mean is None else mean * ceil(len(todo) / max(1, self.concurrency)),
            measured_by="; ".join(sources),
            targets=len(todo),
        )

    def _forth(self) -> _Measured:
        took = [one.forth for one in self.standings if one.forth is not None and one.stands is Stands.ALL]
        return _mean(took, "that have it") if took else self._rehearsed_forth()

    def _rehearsed_forth(self) -> _Measured:
        ups = [one.up.duration for one in map(self.certificates.get, self.versions) if one is not None and one.up]
        if not ups or len(ups) < len(self.versions):
            return _Measured(takes=None, by="")
        return _Measured(takes=sum(ups, timedelta()), by="the up scripts in the rehearsal")

    def _back(self, one: Standing) -> _Measured:
        took = [other.back for other in self.standings if other.back is not None]
        return _mean(took, "that were taken back") if took else self._rehearsed(one.brought, script=True)

    def _rehearsed(self, versions: Sequence[str], *, script: bool) -> _Measured:
        """What the way back took in the rehearsal of every version: by script, or the quickest other that is proven."""
        times, names = [], []
        for certificate in map(self.certificates.get, versions):
            ways = certificate.ways if certificate is not None else ()
            fit = [
                (way.duration, f"{way.way.words} in certificate {certificate.id}")
                for way in ways
                if certificate is not None and way.executed and way.duration and (way.way is Way.ROLL_BACK) is script
            ]
            if not fit:
                return _Measured(takes=None, by="")
            took, name = min(fit)
            times.append(took)
            names.append(name)
        return _Measured(takes=sum(times, timedelta()), by=", ".join(dict.fromkeys(names)))

    def _recover(self, one: Standing) -> str:
        target = one.target
        schema = ("--schema", target.schema) if target.schema != "public" else ()
        words = ("squizzle", "recover", "--url", _url_of(self.servers.get(target.server), target.database), *schema)
        return shlex.join(words)


def _mean(took: Sequence[timedelta], which: str) -> _Measured:
    return _Measured(
        takes=sum(took, timedelta()) / len(took),
        by=f"mean of {len(took):,} {which}",
    )


def _url_of(server: FleetServer | None, database: str) -> str:
    """The address of a target's database, for a command; a name for it where the server's address is in a variable."""
    address = server.url if server is not None else None
    if address is None or "://" not in address:
        return f"URL-OF-{database}"
    # By hand: a socket's folder stands behind the question mark, and then nothing before the path.
    scheme, rest = address.split("://", 1)
    place, mark, query = rest.partition("?")
    return f"{scheme}://{place.partition('/')[0]}/{quote(database, safe='')}{mark}{query}"
