"""Text and blocks as Slack shows them (Block Kit)."""

from __future__ import annotations

from typing import Any

Blocks = list[dict[str, Any]]


def escaped(text: str) -> str:
    """Text that mentions nobody and links nowhere (Slack's manual: escape these three)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def harmless(markdown: str) -> str:
    """Markdown in which nobody is called: what stands in a plan must not wake a whole channel."""
    for opening in ("<!", "<@", "<#"):
        markdown = markdown.replace(opening, f"&lt;{opening[1]}")
    return markdown


def header(text: str, *, most: int = 150) -> dict[str, Any]:
    """A header block; Slack takes 150 characters."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return {"type": "header", "text": {"type": "plain_text", "text": short, "emoji": False}}
