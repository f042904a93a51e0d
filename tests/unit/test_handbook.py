"""The pages that come from the code are what it says today, and no page leads to one that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from handbook.command_line import GROUPS
from handbook.pages import PAGES
from squizzle.cli.main import app

# GitHub's: letters of all languages, digits, hyphens and underscores stay.
_DROPPED = re.compile(r"[^\w\- ]")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_comes_from_the_code_is_up_to_date(page: str, project_root: Path) -> None:
    assert (project_root / page).read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


def test_every_verb_is_told_once() -> None:
    told = [verb for verbs in GROUPS.values() for verb in verbs]
    assert sorted(told) == app.list_commands(click.Context(app))


def test_every_link_between_pages_leads_somewhere(project_root: Path) -> None:
    pages = [project_root / "README.md", project_root / "CHANGELOG.md", *sorted((project_root / "docs").rglob("*.md"))]
    pages += sorted((project_root / "examples").rglob("*.md"))
    anchors = {page: set(_anchors(page.read_text(encoding="utf-8"))) for page in pages}
    dead = []
    for page in pages:
        for target in _links(page.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and file in anchors and anchor not in anchors[file]):
                dead.append(f"{page.relative_to(project_root)}: {target}")
    assert dead == []
    assert sum(map(len, anchors.values())) > len(pages)


def test_every_page_is_in_the_index_of_the_site(project_root: Path) -> None:
    index = (project_root / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    pages = {page.stem for page in (project_root / "docs").glob("*.md")} - {"index"}
    assert pages - set(index) == set()


def _links(text: str) -> Iterator[str]:
    """The targets of Markdown's links that are not on the web."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(text)):
        if not re.match(r"[a-z]+:", target):
            yield target


def _anchors(text: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    for title in re.findall(r"^#{1,6} +(.*?) *$", _without_code(text, inline=False), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        anchor = _DROPPED.sub("", words.lower()).replace(" ", "-")
        count = seen[anchor] = seen.get(anchor, -1) + 1
        yield f"{anchor}-{count}" if count else anchor


def _without_code(text: str, *, inline: bool = True) -> str:
    blocks = re.sub(r"^(```|~~~).*?^\1\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "`", blocks) if inline else blocks
