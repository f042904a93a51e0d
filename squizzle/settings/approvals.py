"""What a project says about approvals, in `squizzle.toml` (`[approvals]`) or in a block.

Imported by every verb, so it imports little itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from squizzle.postgres.secret import Secret
from squizzle.settings.reader import Reader, variable_of

SLACK_API = "https://slack.com/api/"
# A channel's name changes, its id does not, and only the id can be looked through.
_CHANNEL = re.compile(r"[CDG][A-Z0-9]{5,}")
_PERSON = re.compile(r"[UW][A-Z0-9]{5,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlackSection:
    """`[approvals.slack]`: where questions are posted, and who is who there.

    Attributes:
        channel: Id of the channel.
        bot_token_env: The variable with the bot's token (`xoxb-…`).
        app_token_env: The variable with the app's token for Socket Mode (`xapp-…`).
        people: Whose answers are taken: Slack's id of the person, and the name that approvals know.
        api_url: Where Slack's Web API is.
    """

    channel: str
    bot_token_env: str = "SLACK_BOT_TOKEN"  # noqa: S105 - a variable's name
    app_token_env: str = "SLACK_APP_TOKEN"  # noqa: S105 - same
    people: Mapping[str, str] = field(default_factory=dict)
    api_url: str = SLACK_API


@dataclass(frozen=True, kw_only=True, slots=True)
class ApprovalSettings:
    """`[approvals]`: where people are asked besides Prefect's page. Whose yes counts, the flow that asks says.

    Attributes:
        slack: How Slack is asked; None for not at all.
    """

    slack: SlackSection | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SlackSettings:
    """Slack with its secrets, from the file or from a block.

    Attributes:
        channel: Id of the channel that questions are posted to.
        bot_token: Posts messages.
        app_token: Opens the connection by which answers come.
        people: Whose answers are taken: Slack's id of the person, and the name that approvals know.
        api_url: Where Slack's Web API is.
    """

    channel: str
    bot_token: Secret
    app_token: Secret
    people: Mapping[str, str]
    api_url: str = SLACK_API


def read_approvals(reader: Reader, value: object) -> ApprovalSettings:
    """The section; nothing is connected, and no variable is read.

    Args:
        reader: Of the file.
        value: The section.

    Raises:
        InvalidInputError: A setting is missing, unknown or wrong.
    """
    where = "approvals"
    section = reader.section(value, where)
    slack = section.pop("slack", None)
    reader.nothing_left(section, where)
    return ApprovalSettings(slack=_slack(reader, slack) if slack is not None else None)


def _slack(reader: Reader, value: object) -> SlackSection:
    where = "approvals.slack"
    section = reader.section(value, where)
    people = reader.section(section.pop("people", {}), f"{where}.people")
    default = SlackSection(channel="")
    slack = SlackSection(
        channel=reader.text(section, where, "channel") or "",
        bot_token_env=reader.text(section, where, "bot_token_env") or default.bot_token_env,
        app_token_env=reader.text(section, where, "app_token_env") or default.app_token_env,
        people={person: str(name) for person, name in people.items()},
        api_url=reader.text(section, where, "api_url") or default.api_url,
    )
    reader.nothing_left(section, where)
    for person, name in people.items():
        if not isinstance(name, str) or not name.strip():
            reader.complain(f"{where}.people.{person}", "must be a name")
    if wrong := what_is_wrong(slack.channel, slack.people, slack.api_url):
        reader.complain(where, wrong)
    return slack


def what_is_wrong(channel: str, people: Mapping[str, str], api_url: str) -> str:
    """Why these cannot be used; empty where they can."""
    if not _CHANNEL.fullmatch(channel):
        return "channel must be the id of a channel, such as C0123456789 (at the end of its details in Slack)"
    if not people:
        return 'people is empty, so nobody could answer: write U0123456789 = "anna" for each'
    for person in people:
        if not _PERSON.fullmatch(person):
            return f"people has {person!r}, which is no member id, such as U0123456789 (in a profile, Copy member ID)"
    if not api_url.startswith(("https://", "http://127.0.0.1:")):
        return "api_url must begin with https://"
    return ""


def resolve_slack(section: SlackSection, environ: Mapping[str, str]) -> SlackSettings:
    """The same with its secrets.

    Raises:
        InvalidInputError: A variable is not set.
    """
    return SlackSettings(
        channel=section.channel,
        bot_token=Secret(variable_of(section.bot_token_env, "[approvals.slack] bot_token_env", environ)),
        app_token=Secret(variable_of(section.app_token_env, "[approvals.slack] app_token_env", environ)),
        people=section.people,
        api_url=section.api_url,
    )
