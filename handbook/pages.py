"""Which pages there are, and who renders each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from handbook.blocks import render_blocks
from handbook.command_line import render_command_line
from handbook.configuration import PAGE as CONFIGURATION
from handbook.configuration import render_configuration
from handbook.deployments import render_deployments
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.reports.rule_pages import PAGE as RULES
from squizzle.reports.rule_pages import render as render_rules

PAGES: Mapping[str, Callable[[], str]] = {
    "docs/blocks.md": render_blocks,
    "docs/command-line.md": render_command_line,
    str(CONFIGURATION): render_configuration,
    "docs/deployments.md": render_deployments,
    str(RULES): lambda: render_rules(built_in_rules()),
}
