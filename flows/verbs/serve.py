"""The verb that offers every flow without a work pool and a worker; see `flows.verbs`."""

from __future__ import annotations

from pathlib import Path

import click

from squizzle.cli.output import say
from squizzle.numbers import number_of


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Only this deployment; may be given several times.")
@click.option("--at-once", type=click.IntRange(1), help="So many runs at the same time; others wait (default: 5).")
@click.option("--file", "file", type=click.Path(path_type=Path), metavar="FILE", help="Another prefect.yaml.")
def serve(*, only: tuple[str, ...], at_once: int | None, file: Path | None) -> None:
    """Offer the deployments of prefect.yaml to the Prefect that PREFECT_API_URL names, until Ctrl-C.

    Needs neither a work pool nor a worker: this process looks for runs, and starts each as a process of its own in the
    folder where it was started, with its environment. When it ends, schedules are paused: nobody would start them.

    \b
    Examples:
      squizzle serve
      squizzle serve --only health --only backup-nightly
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    # Prefect reads its settings when it is imported.
    from prefect import serve as serve_flows  # noqa: PLC0415

    from tasks.prefect_approvals import open_prefect  # noqa: PLC0415
    from tasks.serving import PREFECT_FILE, served_deployments  # noqa: PLC0415

    deployments = served_deployments(file or PREFECT_FILE, only)
    with open_prefect() as client:
        # Else Prefect would start a server of its own, which nobody else can see.
        say(f"{number_of(len(deployments), 'deployment')} at {client.api_url}; Ctrl-C ends it")
    serve_flows(*deployments, limit=at_once, print_starting_message=False)
