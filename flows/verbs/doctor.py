"""The verb that says what is not ready; see `flows.verbs`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from squizzle.cli.names import environments
from squizzle.cli.output import coloured, print_result
from squizzle.doctor.examine import examine
from squizzle.doctor.findings import SIGNS, Finding, State, is_ready, looked

_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "red", State.NOT_LOOKED: "bright_black"}


@click.command()
@click.option(
    "--env",
    "only",
    multiple=True,
    metavar="NAME",
    help="Only this environment's database; several times.",
    shell_complete=environments,
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="squizzle.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def doctor(*, only: tuple[str, ...], config_file: Path | None, as_json: bool) -> int:
    """Look whether everything is ready, and say what to do where it is not.

    Python and room, the embedded PostgreSQL, squizzle.toml, migrations, each database (does it answer, is it the one
    that is meant, clock, rights, client programs), the store, Prefect. Nothing is changed but a word in the store,
    which is taken away again. Exit code 1 when something is in the way; warnings are not.

    \b
    Examples:
      squizzle doctor
      squizzle doctor --env production --json
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    # Prefect reads its settings when it is imported.
    from tasks.doctor import look_at_prefect  # noqa: PLC0415

    findings = (*examine(config_file, only, dict(os.environ)), *looked("Prefect", look_at_prefect))
    document = {
        "ready": is_ready(findings),
        "checks": [
            {"name": one.name, "state": one.state.value, "detail": one.detail, "hint": one.hint} for one in findings
        ],
    }
    print_result(document, _human(findings), as_json=as_json)
    return 0 if is_ready(findings) else 1


def _human(findings: Sequence[Finding]) -> str:
    width = max(len(one.name) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{coloured(SIGNS[one.state], _COLOURS[one.state])} {one.name.ljust(width)}  {one.detail}")
        if one.hint:
            lines.append(f"  {' ' * width}  → {one.hint}")
    counts = {state: sum(one.state is state for one in findings) for state in State}
    said = [f"{counts[State.PROBLEM]} in the way", f"{counts[State.WARNING]} to look at", f"{counts[State.OK]} well"]
    if counts[State.NOT_LOOKED]:
        said.append(f"{counts[State.NOT_LOOKED]} not looked at")
    return "\n".join([*lines, "", ", ".join(said)])
