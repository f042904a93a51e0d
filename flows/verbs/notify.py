"""The verb that tries the channels by which people are told; see `flows.verbs`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from squizzle.cli.output import print_result
from squizzle.config import load_config
from squizzle.errors import CloudError, InvalidInputError
from squizzle.notify.channels import open_channels
from squizzle.notify.records import Channel
from squizzle.notify.trial import trial_notification, try_channels
from squizzle.reports.notifications import trial_markdown
from squizzle.reports.terminal import print_markdown
from squizzle.settings.notify import PrefectChannel


@click.command()
@click.option("--test", "test", is_flag=True, help="Send one message by every channel, and its end.")
@click.option("--channel", "only", multiple=True, metavar="NAME", help="Only this one; may be given several times.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="squizzle.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def notify(*, test: bool, only: tuple[str, ...], config_file: Path | None, as_json: bool) -> int:
    """Try every channel of [notify]: Slack, e-mail, text messages, pagers, webhooks, Prefect's own blocks.

    People do get the message: say so before. Exit code 1 unless every channel took it.

    \b
    Examples:
      squizzle notify --test
      squizzle notify --test --channel pager
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if not test:
        raise InvalidInputError("say what is to be done", hint="squizzle notify --test sends one by every channel")
    settings = load_config(config_file).notify
    channels = open_channels(settings.channels, os.environ, _by_prefect)
    done = try_channels(channels, trial_notification(datetime.now(UTC)), only=only)
    document = {
        "channels": [
            {"name": one.channel, "delivered": one.is_delivered, "tries": one.tries, "error": one.error} for one in done
        ]
    }
    if as_json:
        print_result(document, "", as_json=True)
    else:
        print_markdown(trial_markdown(done))
    return 0 if all(one.is_delivered for one in done) else CloudError.code


def _by_prefect(name: str, settings: PrefectChannel) -> Channel:
    from tasks.notify import ByPrefectBlock  # noqa: PLC0415 - Prefect reads its settings when imported

    return ByPrefectBlock(name, settings)
