"""Publishing Markdown in which names and messages of others are text, whatever the page makes of tags."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact as create

from squizzle.reports.markdown import without_html


def create_markdown_artifact(markdown: str, *, key: str, description: str) -> None:
    """Publish Markdown as an artifact of this run; see Prefect's function of that name."""
    create(without_html(markdown), key=key, description=description)
