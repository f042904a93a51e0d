"""The runbook of one database: the guide's template, filled with what is known about it now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from squizzle.durations import words
from squizzle.recovery.evidence import Evidence
from squizzle.recovery.ways import Way, WayBack
from squizzle.reports.markdown import bullets, table

_AGE = "Make it anew after every migration and every week: ways back and their times change."
# How each way is gone by hand; `squizzle recover` goes the best one by itself.
_BY_HAND: Mapping[Way, str] = {
    Way.ROLL_BACK: "squizzle rollback {name}{where}",
    Way.UNDO: "squizzle undo --plan{where}",
    Way.SWAP: "squizzle switch-over {database} --to {name}{where}",
    Way.RESTORE_BESIDE: "squizzle restore {name} --into {database}_beside{where}",
    Way.POINT_IN_TIME: "squizzle restore {name} --to-time 'TIME' --into {database}_beside{where}",
    Way.CLOUD: "squizzle recover{where} --dry-run",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunbookFacts:
    """What a runbook is filled with.

    Attributes:
        database: The database's name.
        environment: Its environment; empty where none is said.
        where: What names it to every command, with a space before it: ` --env production`; empty for DATABASE_URL.
        server: Where it is, without a password.
        made_at: When this was looked up.
        current: The highest applied version; None on an empty database.
        evidence: What was found, with the ways back; None where it could not be looked up.
        problem: Why not; empty where it could.
        contacts: Whom to reach, in order: what they do, and how.
        link: Address of the team's own runbook; empty for none.
    """

    database: str
    environment: str
    where: str
    server: str
    made_at: datetime
    current: str | None
    evidence: Evidence | None = None
    problem: str = ""
    contacts: Mapping[str, str] = field(default_factory=dict)
    link: str = ""


def runbook_markdown(facts: RunbookFacts) -> str:
    """The runbook, for a person at three in the morning: commands that can be copied, nothing that has to be known."""
    return "\n\n".join(_parts(facts)) + "\n"


def _parts(facts: RunbookFacts) -> Iterator[str]:
    of = f" ({facts.environment})" if facts.environment else ""
    yield f"# Migration Disaster Runbook: {facts.database}{of}"
    yield f"As of {facts.made_at:%Y-%m-%d %H:%M %Z}. {_AGE}"
    yield table(
        ("fact", "value"),
        [
            ("database", facts.database),
            ("server", facts.server),
            ("schema version", facts.current or "nothing is applied"),
            ("newest backup that counts", _backup(facts)),
        ],
    )
    yield "## Symptoms"
    yield "\n".join(
        f"- [ ] {one}"
        for one in (
            "Application errors",
            "Database connection failures",
            "Performance degradation",
            "Data inconsistencies",
        )
    )
    yield from _now(facts)
    yield "## Immediate Actions"
    yield _immediate(facts)
    yield "## Recovery Procedures"
    yield from _procedures(facts)
    yield "### Manual fix"
    yield (
        f"1. Nobody else may work on it: `squizzle fence{facts.where}`\n"
        "2. Run the corrective SQL in one transaction, and look before you commit\n"
        f"3. Tell the history, and compare: `squizzle verify{facts.where}`\n"
        f"4. Let people in again: `squizzle unfence{facts.where}`"
    )
    yield "## Contacts"
    yield _contacts(facts)


def _backup(facts: RunbookFacts) -> str:
    backup = facts.evidence.backup if facts.evidence else None
    if backup is None:
        return f"**not known**: {facts.problem}" if facts.problem else "**none**"
    age = words(facts.made_at - backup.started_at)
    return f"{backup.id}, {age} old, version {backup.migration_version or 'none'}"


def _now(facts: RunbookFacts) -> Iterator[str]:
    assessment = facts.evidence.assessment if facts.evidence else None
    if assessment is None:
        yield f"**What is wrong now could not be looked up**: {facts.problem or 'no reason was given'}"
        return
    wrong = [*assessment.damage, *(f"version {row.version} failed" for row in assessment.failed)]
    yield "What is wrong now, compared with that backup:" if wrong else "When this was written, nothing was wrong."
    if wrong:
        yield bullets(wrong)


def _immediate(facts: RunbookFacts) -> str:
    steps = (
        f"Migrations, what runs and what failed: `squizzle status{facts.where}`",
        f"The database itself: `squizzle health{facts.where}`",
        f"Who waits for whom: `squizzle locks{facts.where}`",
        "The application's own log",
        f"What is damaged, and what can be done: `squizzle assess{facts.where}`",
        "Page whoever is on call when it is critical",
    )
    return "\n".join(f"{number}. {one}" for number, one in enumerate(steps, 1))


def _procedures(facts: RunbookFacts) -> Iterator[str]:
    yield (
        f"**First choice**: `squizzle recover{facts.where}`. It shuts the database, goes the best way that works, and"
        " asks before anything is lost, and compares row by row before it lets anybody in. `--dry-run` only says what."
    )
    plan = facts.evidence.plan if facts.evidence else None
    if plan is None:
        yield f"**The ways back could not be looked up**: {facts.problem or 'no reason was given'}"
        return
    number = 0
    for way in plan.ways:
        if not way.possible:
            continue
        number += 1
        yield f"### Option {number}: {way.way.words}{f' (`{way.name}`)' if way.name else ''}"
        yield "\n".join(
            (
                f"- takes {_takes(way)}",
                f"- loses {_loses(way)}",
                f"- {_proven(way)}",
                f"- {way.why}",
            )
        )
        # Several versions are rolled back one after the other, as they are named.
        names = way.name.split(", ") if way.way is Way.ROLL_BACK else [way.name]
        commands = [_BY_HAND[way.way].format(name=name, database=facts.database, where=facts.where) for name in names]
        yield "\n".join(["```sh", *commands, "```"])
    if not number:
        yield f"**No way back works now.** Take a backup before anything else: `squizzle backup full{facts.where}`"
    closed = [f"{one.way.words}: {one.why}" for one in plan.ways if not one.possible]
    if closed:
        yield "Not possible now:"
        yield bullets(closed)


def _takes(way: WayBack) -> str:
    if way.rto is None:
        return "**nobody knows how long**: it was never carried out; rehearse it, or play a drill"
    return f"{words(way.rto)}{f', {way.measured_by}' if way.measured_by else ''}"


def _loses(way: WayBack) -> str:
    return f"**what was written for {words(way.rpo)}**" if way.loses_data else "nothing"


def _proven(way: WayBack) -> str:
    return f"proven on {way.proven_at:%Y-%m-%d %H:%M %Z}" if way.proven_at else "**never proven**"


def _contacts(facts: RunbookFacts) -> str:
    if not facts.contacts and not facts.link:
        return '**Nobody is named.** Write `[contacts]` into squizzle.toml: `"Database team" = "#db-team"`.'
    lines = [f"{name}: {how}" for name, how in facts.contacts.items()]
    return bullets([*lines, *([f"The team's own runbook: {facts.link}"] if facts.link else [])])
