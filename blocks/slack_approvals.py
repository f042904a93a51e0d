"""The block for answering approvals from Slack."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from squizzle.errors import InvalidInputError
from squizzle.postgres.secret import Secret
from squizzle.settings.approvals import SLACK_API, SlackSettings, what_is_wrong


class SlackApprovals(Block):
    """A channel of Slack that approvals are asked in, and whose answers are taken there."""

    _block_type_name = "Slack Approvals"
    _block_type_slug = "slack-approvals"
    _description = "A channel of Slack that approvals are asked in, and whose answers are taken there."

    channel: str = Field(
        title="Channel", description="Its id, such as C0123456789: at the end of its details in Slack."
    )
    bot_token: SecretStr = Field(title="Bot token", description="xoxb-…, of the app that is in that channel.")
    app_token: SecretStr = Field(title="App token", description="xapp-…, with the scope connections:write.")
    people: dict[str, str] = Field(
        title="People", description="Whose answers are taken: member id in Slack, and the name that approvals know."
    )
    api_url: str = Field(default=SLACK_API, title="Address of the API", description="Another one for GovSlack.")

    def settings(self) -> SlackSettings:
        """The same without Prefect.

        Raises:
            InvalidInputError: The channel, a member or the address is none.
        """
        if wrong := what_is_wrong(self.channel, self.people, self.api_url):
            raise InvalidInputError(f"the block of Slack's approvals: {wrong}", hint="correct the block")
        return SlackSettings(
            channel=self.channel,
            bot_token=Secret(self.bot_token.get_secret_value()),
            app_token=Secret(self.app_token.get_secret_value()),
            people=self.people,
            api_url=self.api_url,
        )
