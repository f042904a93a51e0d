"""The page of the documentation that says what was done to the product on purpose, and what was broken by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from tests.support.tally import Kind, Strike

PAGE = Path("docs") / "reliability.md"

PROCEDURES = {
    "apply": "`squizzle apply`",
    "archive-wal": "`squizzle archive-wal`",
    "auto-recover": "flow `auto-recover`",
    "back-up": "flow `back-up`",
    "back-up (incremental)": "flow `back-up`, of what changed",
    "check-backups": "flow `check-backups`",
    "clean": "removing what killed backups left",
    "drill": "flow `drill`",
    "examine-corruption": "flow `examine-corruption`",
    "note-queries": "flow `note-queries`",
    "pause-triggers": "flow `pause-triggers`",
    "rebuild-server": "flow `rebuild-server`",
    "release-locks": "flow `release-locks`",
    "recover": "flow `recover`",
    "rehearse": "flow `rehearse`",
    "relieve-load": "flow `relieve-load`",
    "restore-backup": "flow `restore-backup`",
    "roll-out": "flow `roll-out`",
    "roll-out (canary recovered)": "flow `roll-out`, whose canary is recovered",
    "sweep-health": "flow `sweep-health`",
    "sweep-health (recovers)": "flow `sweep-health`, which takes back",
    "try-channels": "flow `try-channels`",
    "undo-changes": "flow `undo-changes`",
    "undo-wrong-environment": "flow `undo-wrong-environment`",
    "copy": "preparing a copy of a database",
    "fence": "`squizzle fence`",
    "prune": "removing old backups",
    "publish": "putting a backup into a store",
    "receive-wal": "`squizzle receive-wal`",
    "restore": "restoring beside and switching over",
    "rollout": "flow `roll-out`, eight databases",
    "swap": "switching over to a prepared copy",
    "take data": "taking a backup (data)",
    "take full": "taking a backup (full)",
    "take globals": "taking a backup (globals)",
    "take incremental": "taking a backup (incremental)",
    "take physical": "taking a backup (physical)",
    "take rds": "taking a backup (rds)",
    "undo": "undoing changes of rows",
    "unfence": "`squizzle unfence`",
    "verify-backup": "restoring a backup for proof",
    "write-postmortem": "flow `write-postmortem`",
}
"""What the pieces of work are called that are struck; what is not here is called as it is."""

_HEAD = """\
# Reliability: what was killed, broken and damaged, and what came of it

`make chaos` wrote this page; nothing here is from memory. It kills (`kill -9`) whoever works, the client programs, PostgreSQL and
Prefect's server, starts the same again, and compares with what is promised: exactly one database of the name, reachable or shut on purpose;
rows as promised; no backup called good that does not restore; no slot, lock, database, process or file left over; a finished run that is
started again does nothing. It flips bytes in everything that a recovery may need; each flip has to be noticed, or to change nothing. What is
broken here in spite of that is a *violation*, and a violation fails the run.

"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of `make chaos`.

    Attributes:
        version: Of Squizzle.
        revision: Of the source, where it is known.
        on: The day.
        postgres: The servers' versions.
        machine: Processors and load, in words.
        seed: What decided where chance decides.
        duration: From beginning to end.
        strikes: Everything that was done.
        failed: Tests that failed: what they assert is what is promised.
        passed: How many did not.
        skipped: What was not done, and why.
        chosen: What was run, where it was not everything.
    """

    version: str
    revision: str
    on: date
    postgres: str
    machine: str
    seed: int
    duration: timedelta
    strikes: tuple[Strike, ...]
    failed: tuple[str, ...]
    passed: int
    skipped: tuple[str, ...] = ()
    chosen: str = ""

    @property
    def violations(self) -> tuple[str, ...]:
        """What was broken, a sentence each."""
        told = [f"{one.procedure}, {one.whom}, {one.cell}: {one.violation}" for one in self.strikes if one.violation]
        return (*told, *(f"`{test}` failed" for test in self.failed))

    def number(self, *kinds: Kind) -> int:
        """How many strikes of some kinds there were."""
        return sum(one.kind in kinds for one in self.strikes)


def reliability_page(run: Run) -> str:
    """The page, from what a run did."""
    parts = [_HEAD, _summary(run), "## Kills\n\n", _kills(run), "## Damage\n\n", _damage(run)]
    if run.violations:
        parts += ["\n## Violations\n\n", *(f"- {one}\n" for one in run.violations)]
    if run.skipped:
        parts += ["\n## Not done here\n\n", *(f"- {one}\n" for one in run.skipped)]
    return "".join(parts)


def repeating(seed: int, chosen: str) -> str:
    """The command that does the same again."""
    return f"python -m tests.chaos --seed {seed} {chosen}" if chosen else f"make chaos SEED={seed}"


def _summary(run: Run) -> str:
    rows = (
        ("Squizzle", f"{run.version}{f', {run.revision}' if run.revision else ''}"),
        ("day", run.on.isoformat()),
        ("what ran", f"only {run.chosen}" if run.chosen else "everything"),
        ("flows that were killed", _flows(run)),
        ("PostgreSQL", run.postgres),
        ("machine", run.machine),
        ("kills", f"{run.number(Kind.KILL)} at {_cells(one for one in run.strikes if one.kind is Kind.KILL)} places"),
        ("byte flips", str(run.number(Kind.FLIP))),
        ("other damage", str(len(run.strikes) - run.number(Kind.KILL, Kind.FLIP))),
        ("tests", f"{run.passed} passed, {len(run.failed)} failed"),
        ("**violations**", f"**{len(run.violations)}**"),
        ("seed", str(run.seed)),
        ("duration", f"{run.duration.total_seconds() / 60:.1f} min"),
        ("to repeat it", f"`{repeating(run.seed, run.chosen)}`"),
    )
    body = "".join(f"| {name} | {value} |\n" for name, value in rows)
    return f"| | |\n|---|---|\n{body}\nWhere everything would take too long, the seed chooses; other seeds reach the rest.\n\n"


def _flows(run: Run) -> str:
    struck = {_title(one.procedure) for one in run.strikes if one.kind is Kind.KILL}
    names = sorted({title.split("`")[1] for title in struck if title.startswith("flow `")})
    return f"{len(names)}: {', '.join(names)}" if names else "none"


def _kills(run: Run) -> str:
    kills = [one for one in run.strikes if one.kind is Kind.KILL]
    whom = sorted({one.whom for one in kills})
    head = f"| killed in the middle of | {' | '.join(whom)} | places | violations |\n|---|{'---:|' * (len(whom) + 2)}\n"
    rows = []
    for name in sorted({one.procedure for one in kills}, key=_title):
        mine = [one for one in kills if one.procedure == name]
        by = Counter(one.whom for one in mine)
        numbers = " | ".join(str(by[one] or "") for one in whom)
        rows.append(f"| {_title(name)} | {numbers} | {_cells(mine)} | {_broken(run, mine)} |\n")
    return f"{head}{''.join(rows)}\n"


def _damage(run: Run) -> str:
    head = "| what was done | to what | times | places | violations |\n|---|---|---:|---:|---:|\n"
    rows = []
    others = [one for one in run.strikes if one.kind is not Kind.KILL]
    for kind, name in sorted({(one.kind, one.procedure) for one in others}):
        mine = [one for one in others if (one.kind, one.procedure) == (kind, name)]
        rows.append(f"| {kind} | {_title(name)} | {len(mine)} | {_cells(mine)} | {_broken(run, mine)} |\n")
    return f"{head}{''.join(rows)}"


def _broken(run: Run, strikes: Sequence[Strike]) -> int:
    failed = {one.test for one in strikes} & set(run.failed)
    return sum(bool(one.violation) for one in strikes) + len(failed)


def _cells(strikes: Iterable[Strike]) -> int:
    return len({(one.kind, one.procedure, one.whom, one.cell) for one in strikes})


def _title(procedure: str) -> str:
    return PROCEDURES.get(procedure, procedure)
