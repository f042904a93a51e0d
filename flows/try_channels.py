"""Trying every channel by which people are told, before somebody has to be woken by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, cast

from prefect import flow

from blocks import Notifier
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.config import load_config
from squizzle.notify.records import Delivery
from squizzle.notify.trial import trial_notification
from tasks.notify import try_all
from tasks.outcome import ends_in_our_words, failed
from tasks.reporting import publish_trial
from tasks.steps import keep_journal, now, plain_step

DESCRIPTION = """\
Sends one message by every channel, as a low one that wakes nobody on purpose: channels that always wake
(PagerDuty, text messages) do it all the same, and the page is resolved at once.

**Read the result** on the run's *Artifacts* tab: which channels took it, and what to do about the others. The run ends
*Completed* only when all of them took it. Nothing else is done.
"""

NotifierBlock = Annotated[
    Notifier | None, shown(title="Notifier", description="Channels. Empty: [notify] of squizzle.toml.")
]
Config = Annotated[Path, shown(title="Configuration", description="squizzle.toml, on the worker.")]
Channels = Annotated[list[str], shown(title="Channels", description="Only these. Empty: every one.")]


@flow(
    name="try-channels",
    flow_run_name=run_named("try channels {channels}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def try_channels(
    notifier: NotifierBlock = None,
    configuration: Config = Path("squizzle.toml"),
    channels: Channels = [],  # noqa: B006 - a form's default; nobody changes it
) -> tuple[Delivery, ...]:
    """Send one message by every channel.

    Args:
        notifier: Channels; None for those of `squizzle.toml`.
        configuration: That file.
        channels: Only these; empty for all.

    Returns:
        What became of each; inside a Failed state unless all took it.
    """
    refuse_inline(notifier)
    settings = notifier.settings() if notifier else load_config(configuration).notify
    with keep_journal():
        with plain_step("Send a message by every channel") as say:
            done = try_all(settings, trial_notification(now()), os.environ, only=channels)
            say(f"{sum(one.is_delivered for one in done)} of {len(done)} took it")
        publish_trial(done)
    deaf = [one.channel for one in done if not one.is_delivered]
    if not deaf:
        return done
    # A flow that returns a state ends in that state; what was found travels as its data.
    return cast("tuple[Delivery, ...]", failed(f"nobody is told by {', '.join(deaf)}", done))
