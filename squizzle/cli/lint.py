"""The verb that looks at scripts before anybody runs them: lint."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from squizzle.analysis.findings import Severity
from squizzle.analysis.lint import LintResult, Script, check_rule_names, lint_scripts, with_severities
from squizzle.analysis.locks.side import Surroundings
from squizzle.analysis.rules.own import load_rules
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.analysis.rules.rule import Rule
from squizzle.analysis.squawk import ask_squawk, find_squawk
from squizzle.analysis.weight import Facts, weigh
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.config import LintSettings
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.migrations.scripts import scripts_at
from squizzle.postgres.access import connect
from squizzle.postgres.kinship.reading import read_surroundings
from squizzle.postgres.table_facts import read_table_facts
from squizzle.reports.findings import as_document, as_github, as_sarif, as_text


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="For a person, a script, a code host, or a GitHub workflow.",
)
@common_options
def lint(invocation: Invocation, paths: tuple[Path, ...], form: str) -> int:
    """Analyse scripts, up and down: migrations folders of any layout, folders of SQL, or files.

    Without PATH the project's migrations folder is analysed. With --env or --url the severity of what locks a table
    follows its real size and traffic, and what its catalogue says is locked besides (foreign keys, views, partitions)
    is told. Nothing of the scripts is run. Ends with 1 when anything is an error.

    Exit codes: 0; 1 a finding is an error.

    \b
    Examples:
      squizzle lint migrations
      squizzle lint migrations/0013_orders/up.sql --env production
      squizzle lint migrations --format sarif
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    layout = invocation.layout or invocation.config.layout
    placeholders = placeholders_of(os.environ)
    scripts = [
        script
        for path in paths or (invocation.folder,)
        for script in scripts_at(path, layout=layout, placeholders=placeholders)
    ]
    settings = invocation.config.lint
    rules = _rules(settings)
    check_rule_names(settings.severities, rules)
    around, facts = _database(invocation)
    result = lint_scripts(scripts, today=datetime.now(UTC).date(), rules=rules, around=around)
    result = replace(result, findings=tuple(weigh(one, facts) for one in result.findings))
    result = with_severities(_second_opinion(result, scripts, settings), settings.severities)
    _print(result, scripts, rules, "json" if invocation.as_json else form)
    return 1 if result.count(Severity.ERROR) else 0


def _rules(settings: LintSettings) -> tuple[Rule, ...]:
    ours = built_in_rules()
    return ours if settings.rules is None else (*ours, *load_rules(settings.rules, beside=ours))


def _second_opinion(result: LintResult, scripts: list[Script], settings: LintSettings) -> LintResult:
    program = find_squawk() if settings.squawk else None
    if program is None:
        return result
    more = ask_squawk(program, scripts, result.findings)
    places = {script.source: place for place, script in enumerate(scripts)}
    together = sorted((*result.findings, *more), key=lambda one: (places[one.file], one.line, one.column))
    return replace(result, findings=tuple(together))


def _database(invocation: Invocation) -> tuple[Surroundings | None, Facts]:
    """What is really there, where a database was named on the command line: what hangs together, how big and busy."""
    if not invocation.environment and not invocation.url:
        return None, {}
    access, target = invocation.target()
    with connect(access, target.database, purpose="lint", read_only=True) as connection:
        around = read_surroundings(connection, target.schema)
        return around, read_table_facts(connection)


def _print(result: LintResult, scripts: list[Script], rules: tuple[Rule, ...], form: str) -> None:
    if form == "sarif":
        text = as_sarif(result, rules)
    elif form == "github":
        text = as_github(result)
    else:
        text = as_text(result, {script.source: script.text for script in scripts})
    print_result(as_document(result), text, as_json=form == "json")
