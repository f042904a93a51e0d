"""The draft of a post-mortem of an incident."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from prefect import flow

from blocks import Fleet, PostgresDatabase
from blocks.fleet import chosen_fleet
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from squizzle.config import load_config
from squizzle.incidents.postmortem import Postmortem
from squizzle.settings.fleets import fleet_named
from tasks.outcome import ends_in_our_words
from tasks.postmortem import PostmortemCase, gather
from tasks.reporting import progress_artifact, publish_postmortem
from tasks.steps import keep_journal

STEPS = 2

DESCRIPTION = """\
Writes the draft of a post-mortem: date, duration, a timeline in UTC from what was written down about the incident, the
database's history, people's decisions and Prefect's runs, and candidates for the cause with their evidence. What only
people know is left for them: impact, lessons, action items.

Nothing is changed. **Read the result** on the run's *Artifacts* tab; it is a file in `.squizzle/reports`, too.
"""

FleetName = Annotated[
    str, shown(title="Fleet", description="A section [fleets.NAME] of squizzle.toml. Empty where a block is chosen.")
]
Incident = Annotated[str, shown(title="Incident", description="Its id, as squizzle incidents lists it.")]
FleetBlock = Annotated[Fleet | None, shown(title="Fleet block", description="Instead of a section of squizzle.toml.")]
Config = Annotated[Path, shown(title="Configuration", description="squizzle.toml, on the worker.")]
Control = Annotated[
    PostgresDatabase | None,
    shown(title="Control database", description="Where incidents are kept. Empty: the first canary."),
]


@flow(
    name="write-postmortem",
    flow_run_name=run_named("post-mortem of {incident} in {fleet}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def write_postmortem(
    incident: Incident,
    fleet: FleetName = "",
    fleet_block: FleetBlock = None,
    configuration: Config = Path("squizzle.toml"),
    control: Control = None,
) -> Postmortem:
    """Write the draft of a post-mortem.

    Args:
        incident: Its id.
        fleet: A section `[fleets.NAME]` of squizzle.toml; empty where a block is chosen.
        fleet_block: The fleet, where it is not in squizzle.toml.
        configuration: squizzle.toml, on the worker; secrets are in the worker's environment.
        control: Where incidents are kept; None for the first canary.

    Returns:
        What is known.
    """
    refuse_inline(fleet_block, control)
    chosen, secrets = chosen_fleet(fleet, fleet_block)
    config = load_config(configuration)
    case = PostmortemCase(
        settings=fleet_named(config.fleets, chosen, source=str(configuration)) if isinstance(chosen, str) else chosen,
        default_schema=config.schema,
        incident=incident,
        control=control,
        environ={**os.environ, **secrets},
    )
    with keep_journal(progress_artifact("postmortem-progress", total=STEPS, what=f"Post-mortem of {incident}")):
        found = gather(case)
        publish_postmortem(found)
    return found
