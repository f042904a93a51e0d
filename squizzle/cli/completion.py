"""The verb that prints what a shell needs to complete the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from squizzle.errors import InvalidInputError

COMMAND = "squizzle"
VARIABLE = "_SQUIZZLE_COMPLETE"
"""What the shell sets when it asks the command for words."""

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes verbs, options, and names.

    Names are those of squizzle.toml (environments, fleets), of the migrations folder (versions), and of a store that is
    a folder (backups); no server is asked.

    \b
    Examples:
      squizzle completion bash > ~/.local/share/bash-completion/completions/squizzle
      squizzle completion zsh > ~/.zfunc/_squizzle               # a folder of $fpath
      squizzle completion fish > ~/.config/fish/completions/squizzle.fish
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    kind = get_completion_class(shell)
    if kind is None:
        raise InvalidInputError(f"nothing is known of {shell}", hint=f"name one of: {', '.join(_SHELLS)}")
    click.echo(kind(context.find_root().command, {}, COMMAND, VARIABLE).source())
