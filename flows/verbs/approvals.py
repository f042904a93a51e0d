"""The verbs that show and answer what waits in Prefect; see `flows.verbs`.

Nothing of Prefect is imported before a verb is called.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from rich.console import Console

from squizzle.approvals.asked import SHORT, WaitingApproval
from squizzle.cli.backups import who_am_i
from squizzle.cli.output import print_result, say, table
from squizzle.config import load_config
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.postgres.decisions import Answer, Entry
from squizzle.reports.headway import is_terminal
from squizzle.reports.terminal import print_markdown
from squizzle.settings.approvals import SlackSettings, resolve_slack

if TYPE_CHECKING:
    # Loads Prefect, which reads its settings when it is imported.
    from tasks.prefect_approvals import PrefectApprovals


@click.command()
@click.option("--slack", is_flag=True, help="Go on: post what waits to Slack, and take answers there.")
@click.option("--block", metavar="NAME", help="With --slack: a block Slack Approvals; without it, [approvals.slack].")
@click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="squizzle.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def approvals(*, slack: bool, block: str | None, config_file: Path | None, as_json: bool) -> int:
    """List the runs that wait for a person's yes, by Prefect's API (PREFECT_API_URL).

    With --slack it is a service that ends with Ctrl-C or SIGTERM, and may be killed and started again at any time.

    Exit codes: 0; 1 where Prefect does not answer.

    \b
    Examples:
      squizzle approvals
      squizzle approvals --slack
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    from tasks.prefect_approvals import open_approvals  # noqa: PLC0415 - Prefect reads its settings when imported

    if not slack:
        if block:
            raise InvalidInputError("--block says how Slack is reached", hint="add --slack")
        with open_approvals() as prefect:
            waiting = prefect.waiting()
        print_result({"approvals": [one.document() for one in waiting]}, _listed(waiting), as_json=as_json)
        return 0
    if as_json:
        raise InvalidInputError("the service prints no result", hint="leave out --json, or --slack")
    with open_approvals() as prefect:
        _serve(prefect, _slack_settings(block, config_file))
    return 0


def _slack_settings(block: str | None, config_file: Path | None) -> SlackSettings:
    if block:
        from blocks import SlackApprovals  # noqa: PLC0415 - Prefect reads its settings when imported

        try:
            return cast("SlackApprovals", SlackApprovals.load(block)).settings()
        except ValueError as exc:
            raise InvalidInputError(f"the block slack-approvals/{block} cannot be loaded", hint="make it") from exc
    section = load_config(config_file).approvals.slack
    if section is None:
        raise InvalidInputError(
            "squizzle.toml does not say how Slack is reached",
            hint="add [approvals.slack] (docs/approvals.md), or give --block NAME",
        )
    return resolve_slack(section, os.environ)


def _serve(prefect: PrefectApprovals, settings: SlackSettings) -> None:
    from squizzle.approvals.slack_client import LOG, Slack  # noqa: PLC0415 - slack-sdk, for this verb only
    from squizzle.approvals.slack_service import SlackApprovalService, serve  # noqa: PLC0415 - same

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    slack = Slack(settings)
    service = SlackApprovalService(prefect, slack, settings.people)
    # As Ctrl-C: it may come anywhere, as a kill may.
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with slack.listen(service.handle) as socket:
            serve(service, socket, threading.Event())
    except KeyboardInterrupt:
        LOG.info("told to end")
    finally:
        signal.signal(signal.SIGTERM, former)
        LOG.removeHandler(handler)
    say("ended; what is posted stays, and the next start goes on with it")


@click.command()
@click.argument("run")
@click.option("--reject", is_flag=True, help="Say no: the run ends, and nothing is done.")
@click.option("--as", "name", metavar="NAME", help="Your name, as the list of approvers has it; else account@machine.")
@click.option("--reason", default="", help="Why; it is recorded.")
@click.option(
    "--database", "--fleet", "typed", default="", metavar="NAME", help="What it is about, where it has to be typed."
)
@click.option("--plan", "digest", metavar="DIGEST", help="Answer only this plan, as `squizzle approvals` names it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def approve(
    run: str, name: str | None, reason: str, typed: str, digest: str | None, *, reject: bool, as_json: bool
) -> int:
    """Answer RUN (an id, a name or a part of one) that waits for a person's yes, by Prefect's API (PREFECT_API_URL).

    Shows what would be done and asks. Without a terminal, --plan says which plan was read. Refused (exit code 9) when
    the run asks something else by then, and when the answer would not count.

    \b
    Examples:
      squizzle approve 4f0c1a52-… --as anna --database shop
      squizzle approve "1.4.0 to production" --as anna --fleet production
      squizzle approve 4f0c1a52-… --reject --reason "not on a Friday"
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    from tasks.prefect_approvals import open_approvals  # noqa: PLC0415 - Prefect reads its settings when imported

    with open_approvals() as prefect:
        waiting = prefect.find(run)
        _must_be(waiting, digest)
        print_markdown(f"{waiting.text}\n", Console(stderr=True, force_terminal=is_terminal()))
        if not (reject or digest):
            _agree(waiting)
        if waiting.asked.name_to_type and not (reject or typed) and sys.stdin.isatty():
            typed = click.prompt("Type the name of the database or fleet that it is about", err=True)
        answer = Answer.REJECT if reject else Answer.APPROVE
        entry = Entry(answer=answer, by=name or who_am_i(), comment=reason, typed=typed)
        prefect.answer(waiting, entry)
    missing = 0 if reject else waiting.asked.missing - 1
    document = {
        "run": waiting.run_id,
        "run_name": waiting.run_name,
        "plan_digest": waiting.asked.plan_digest,
        "decision": entry.answer.value,
        "by": entry.by,
        "still_needed": missing,
    }
    more = f"; {missing} more to go" if missing else ""
    human = f"{'rejected' if reject else 'approved'} by {entry.by}: {waiting.asked.title} ({waiting.run_name}){more}"
    print_result(document, human, as_json=as_json)
    return 0


def _must_be(waiting: WaitingApproval, digest: str | None) -> None:
    found = waiting.asked.plan_digest
    if digest is not None and (len(digest) < SHORT or not found.startswith(digest.lower())):
        raise RefusedError(
            f"run {waiting.run_name!r} asks about plan {found[:SHORT]}, not about {digest!r}",
            hint=f"read it again (`squizzle approvals`); a digest has at least {SHORT} digits",
        )


def _agree(waiting: WaitingApproval) -> None:
    if not sys.stdin.isatty():
        raise RefusedError(
            f"{waiting.asked.title}: nobody is at a terminal to read the plan",
            hint=f"read it, then add --plan {waiting.asked.plan_digest[:SHORT]}; or --reject",
        )
    said: str = click.prompt("Type approve to approve it; anything else leaves it waiting", err=True)
    if said.strip() != "approve":
        raise RefusedError(
            f"{waiting.asked.title}: {said!r} is no yes, so it still waits", hint="say no with --reject, or come back"
        )


def _listed(waiting: tuple[WaitingApproval, ...]) -> str:
    if not waiting:
        return "nothing waits for an approval"
    rows = [
        (
            one.run_id,
            one.run_name,
            one.asked.title,
            one.asked.plan_digest[:SHORT],
            f"{one.asked_at:%Y-%m-%d %H:%M}",
            f"{one.expires_at:%Y-%m-%d %H:%M %Z}" if one.expires_at else "",
            f"{len(one.asked.approved_by)} of {one.asked.rules.needed}",
        )
        for one in waiting
    ]
    return table(("RUN", "NAME", "WHAT", "PLAN", "SINCE", "UNTIL", "APPROVED"), rows)
