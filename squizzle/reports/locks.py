"""Who blocks whom and what is done about it: lines for a terminal, Markdown, and the JSON of `squizzle locks`."""

from __future__ import annotations

from datetime import datetime, timedelta

from squizzle.durations import words
from squizzle.health.lock_tree import TreeRow, lock_tree
from squizzle.health.records import LockPicture, query_words
from squizzle.health.release import Release
from squizzle.health.release_plan import Ending, Method, ReleasePlan
from squizzle.numbers import number_of
from squizzle.postgres.decisions import Question

# More than a person reads; the JSON has them all.
_MOST_ROWS = 60
_HOW = {Method.CANCEL: "cancel its query", Method.TERMINATE: "end its connection"}


def tree_lines(picture: LockPicture) -> list[str]:
    """The tree, a line for each, indented by depth."""
    rows = lock_tree(picture)
    lines = [f"{'    ' * row.depth}{'' if row.is_root else '└ '}{row_words(row, picture)}" for row in rows[:_MOST_ROWS]]
    more = len(rows) - len(lines)
    return [*lines, *([f"… and {more} more"] if more > 0 else [])]


def row_words(row: TreeRow, picture: LockPicture) -> str:
    """One place in the tree as a sentence."""
    if row.prepared is not None:
        age = words(picture.at - row.prepared.since)
        who = f"prepared transaction {row.prepared.gid} of {row.prepared.owner}, for {age}"
        return f"{who}; ends by {' or '.join(row.prepared.commands)}"
    if row.session is None:
        return "a session that has gone"
    waits = ""
    if row.wait is not None:
        waited = "" if row.wait.since is None else f" for {words(picture.at - row.wait.since)}"
        waits = f" waits for {row.wait.words()}{waited};"
    circle = " waits in a circle, which the server breaks by itself;" if row.is_deadlocked else ""
    return f"{row.session.who()}{waits}{circle} {row.session.what(picture.at)}"


def summary(picture: LockPicture) -> str:
    """How it stands, in one sentence."""
    if not picture.waits:
        return f"{picture.database}: nobody waits for a lock"
    roots = sum(row.is_root for row in lock_tree(picture))
    longest = words(picture.longest_wait)
    return f"{picture.database}: {len(picture.waits)} wait for {roots}, the longest for {longest}"


def plan_lines(plan: ReleasePlan) -> list[str]:
    """Whom to end, and whom not."""
    lines = [f"{_HOW[one.method]}: {one.session.who()}: {one.reason}" for one in plan.endings]
    return [*lines, *(f"spared: {one.who}: {one.reason}" for one in plan.spared)]


def release_markdown(done: Release) -> str:
    """The whole report as Markdown: the tree, the plan, and what came of it."""
    title = "dry run" if done.after is None else "done"
    parts = [
        f"# Locks of {done.before.database}: {title}",
        summary(done.before),
        _fenced(tree_lines(done.before)),
        plan_markdown(done.plan, done.before.at),
    ]
    if done.after is not None:
        parts += [
            "## What came of it",
            "\n".join(f"- {one.sentence()}" for one in done.ended) or "Nobody had to be ended.",
            "## Who waits now",
            summary(done.after),
            _fenced(tree_lines(done.after)),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def release_question(planned: Release) -> Question:
    """What somebody has to approve before anybody is ended."""
    before, plan = planned.before, planned.plan
    parts = [summary(before), _fenced(tree_lines(before)), plan_markdown(plan, before.at)]
    return Question(
        gate="release-locks",
        title=f"End {number_of(len(plan.endings), 'session')} in {before.database}",
        plan="\n\n".join(part for part in parts if part),
        facts=plan.key(before.database),
    )


def plan_markdown(plan: ReleasePlan, now: datetime) -> str:
    """What will be done about the blockers, as Markdown; for the one who approves it, too."""
    to_end = [
        f"- **{_HOW[one.method]}**{_or_terminate(one)}: {one.session.who()}: {one.reason}."
        f" `{_code(one.session.what(now))}`"
        for one in plan.endings
    ]
    spared = [
        f"- {one.who}, {one.behind} behind it: {one.reason}"
        + (f". By hand: `{_code(one.by_hand)}`" if one.by_hand else "")
        for one in plan.spared
    ]
    parts = [
        "## To end",
        "\n".join(to_end) or "Nobody.",
        "A session that is ended loses what it had not committed; its client gets an error." if to_end else "",
        "## Spared" if spared else "",
        "\n".join(spared),
    ]
    return "\n\n".join(part for part in parts if part)


def _or_terminate(ending: Ending) -> str:
    goes_further = ending.method is Method.CANCEL and ending.or_terminate
    return ", or its connection where that does not help" if goes_further else ""


def _fenced(lines: list[str]) -> str:
    if not lines:
        return ""
    text = "\n".join(lines).replace("```", "'''")
    return f"```text\n{text}\n```"


def _code(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ")


def locks_document(picture: LockPicture, done: Release | None = None) -> dict[str, object]:
    """One target of `squizzle locks --json`.

    Args:
        picture: Who waits for whom.
        done: What was planned or done about it; None when only a look was asked for.
    """
    rows = lock_tree(picture)
    document: dict[str, object] = {
        "name": picture.database,
        "ok": not picture.waits,
        "metrics": {
            "waiting": len(picture.waits),
            "blocking": sum(row.is_root and row.behind > 0 for row in rows),
            "longest_wait_ms": _ms(picture.longest_wait),
            "prepared_transactions": len(picture.prepared),
        },
        "alerts": [row_words(row, picture) for row in rows if row.is_root and row.behind],
        "tree": [_row_document(row, picture) for row in rows],
    }
    if done is not None:
        document["plan"] = {
            "end": [
                {"pid": one.session.pid, "method": one.method.value, "reason": one.reason} for one in done.plan.endings
            ],
            "spare": [{"who": one.who, "reason": one.reason, "by_hand": one.by_hand} for one in done.plan.spared],
        }
        document["ended"] = [
            {"pid": one.ending.session.pid, "state": one.state.value, "detail": one.detail} for one in done.ended
        ]
        document["after"] = None if done.after is None else locks_document(done.after)
    return document


def _row_document(row: TreeRow, picture: LockPicture) -> dict[str, object]:
    session, wait = row.session, row.wait
    begun = session.transaction_start if session else row.prepared.since if row.prepared else None
    return {
        "depth": row.depth,
        "pid": session.pid if session else None,
        "prepared": row.prepared.gid if row.prepared else None,
        "application": session.application if session else "",
        "user": session.user if session else row.prepared.owner if row.prepared else "",
        "client": session.client if session else "",
        "kind": session.kind if session else "prepared transaction",
        "state": session.state if session else "prepared",
        "query": query_words(session.query) if session else "",
        "transaction_age_ms": None if begun is None else _ms(picture.at - begun),
        "waits_for": wait.words() if wait else None,
        "relation": wait.relation if wait else "",
        "mode": (wait.lock_mode.value if wait.lock_mode else wait.mode) if wait else None,
        "waited_ms": _ms(picture.at - wait.since) if wait and wait.since else None,
        "behind": row.behind,
    }


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
