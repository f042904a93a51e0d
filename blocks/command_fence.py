"""The block for two programs that shut and open whatever else writes to a database."""

from __future__ import annotations

from datetime import timedelta

from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from pydantic import Field

from squizzle.postgres.secret import Secret
from squizzle.settings.fences import CommandSettings


class CommandFence(Block):
    """A program on the worker that shuts something, and one that opens it again. Both must be safe to repeat."""

    _block_type_name = "Command Fence"
    _block_type_slug = "command-fence"
    _description = "Two programs on the worker: one shuts what writes to a database, the other opens it again."

    thing: str = Field(title="What it shuts", min_length=1, description="Such as the importer of orders.")
    close: list[str] = Field(
        title="Program that shuts", min_length=1, description="The program and its arguments, one each; no shell."
    )
    reopen: list[str] = Field(
        title="Program that opens again", min_length=1, description="The program and its arguments, one each; no shell."
    )
    timeout_seconds: int = Field(default=120, gt=0, title="Timeout in seconds", description="For each of them.")
    environment: SecretDict = Field(
        default_factory=lambda: SecretDict({}),
        title="Environment",
        description="Variables for both. Their values are masked in what the programs write.",
    )

    def settings(self) -> CommandSettings:
        """The same without Prefect."""
        variables = self.environment.get_secret_value()
        return CommandSettings(
            name=self.thing,
            close=tuple(self.close),
            open=tuple(self.reopen),
            timeout=timedelta(seconds=self.timeout_seconds),
            environment=tuple((name, Secret(str(value))) for name, value in variables.items()),
        )
