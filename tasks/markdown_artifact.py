"""Publishing Markdown in which names and messages of others are text, whatever the page makes of tags."""

from __future__ import annotations

import base64

from prefect.artifacts import create_markdown_artifact as create

from squizzle.reports.markdown import without_html


def create_markdown_artifact(markdown: str, *, key: str, description: str) -> None:
    """Publish Markdown as an artifact of this run; see Prefect's function of that name."""
    create(without_html(markdown), key=key, description=description)


def create_picture_artifact(picture: bytes, *, key: str, description: str) -> None:
    """Publish a PNG as an artifact of this run.

    As Markdown: below an artifact of the kind image, Prefect's page writes all its bytes out, across what is beside it.
    """
    url = "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
    create(f"![{without_html(description)}]({url})", key=key, description=description)
