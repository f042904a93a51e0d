"""What a person is asked before a way back is taken that loses data: what, how much, by which way, in how long."""

from __future__ import annotations

from datetime import UTC, datetime

from squizzle.durations import words
from squizzle.postgres.decisions import Question
from squizzle.recovery.assess import Assessment
from squizzle.recovery.ways import RecoveryPlan, Way, WayBack
from squizzle.reports.markdown import bullets
from squizzle.reports.recovery import damage_markdown

GATE = "recover"


def loss_question(
    *,
    database: str,
    environment: str,
    keep_as: str,
    salvage: bool,
    plan: RecoveryPlan,
    assessment: Assessment,
    since: datetime | None,
    now: datetime,
) -> Question:
    """The question about the chosen way.

    It holds for this way of this recovery alone: another backup, or the same one after clients were let in, is another
    question. The recovery is told by the time of its fence, which every run of it finds again.

    Args:
        database: Which.
        environment: Where; empty where nobody said.
        keep_as: The name that the damaged database will have.
        salvage: Whether rows that only it has are looked for afterwards.
        plan: With a chosen way that loses something.
        assessment: What is damaged.
        since: When this recovery shut the database.
        now: The time.
    """
    way = plan.chosen
    if way is None:
        raise AssertionError("there is no way to ask about")
    where = f" in {environment}" if environment else ""
    return Question(
        gate=GATE,
        title=f"Recover {database}{where} and lose what was written in the last {words(way.rpo)}",
        plan="\n\n".join(
            (
                "**Approve**: it is done at once. **Reject**: nothing is changed, and clients stay out.",
                bullets(_facts(way, assessment, keep_as, since, now, salvage=salvage)),
                f"## What is damaged, against backup {assessment.since}",
                damage_markdown(assessment),
                "## The other ways back",
                bullets([_other(one) for one in plan.ways if one is not way]) or "There are none.",
            )
        ),
        facts=(database, environment, way.way.value, way.name, since.isoformat() if since else ""),
    )


def _facts(
    way: WayBack, assessment: Assessment, keep_as: str, since: datetime | None, now: datetime, *, salvage: bool
) -> list[str]:
    rest = ", and rows that only it has are looked for and kept afterwards" if salvage else ""
    kept = f"stays as `{keep_as}`, nothing of it is dropped{rest}"
    if way.way is Way.UNDO:
        kept = "is changed in place; what is taken back stays in the change log, and the undo can be undone"
    where = " to the damaged tables" if way.way is Way.UNDO else ""
    lost = f"**whatever anybody wrote{where} since {_at(now - way.rpo)}**, {words(way.rpo)} ago"
    if way.way is Way.CLOUD:
        kept = "stays on its instance, which gets another name; nothing is deleted, and what only it has stays there"
    takes = "not measured" if way.rto is None else f"{words(way.rto)}: {way.measured_by}"
    return [
        f"**Lost**: {lost}{_more(assessment)}",
        f"**By**: {way.way.words}, `{way.name}`: {way.why}",
        f"**Takes**: {takes}",
        f"**Last proven**: {_at(way.proven_at) if way.proven_at else 'never'}",
        f"**Clients** are kept out{f' since {_at(since)}' if since else ''}, and until this is decided",
        f"**The damaged database** {kept}",
    ]


def _more(assessment: Assessment) -> str:
    """What is known of the rows that would go; rows that were changed cannot be counted before the backup is there."""
    added = assessment.added_rows
    if not added:
        return ""
    tables = ", ".join(f"`{name}`" for name, _ in added[:5]) + (" and others" if len(added) > 5 else "")  # noqa: PLR2004
    return f"; at least {sum(rows for _, rows in added):,} rows in {tables}"


def _other(way: WayBack) -> str:
    name = f" (`{way.name}`)" if way.name else ""
    if not way.possible:
        return f"{way.way.words}{name} is not possible: {way.why}"
    takes = "a time that was never measured" if way.rto is None else words(way.rto)
    loses = f"what was written in {words(way.rpo)}" if way.loses_data else "nothing"
    return f"{way.way.words}{name} takes {takes} and loses {loses}: {way.why}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
