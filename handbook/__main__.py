"""Write every page that comes from the code."""

from pathlib import Path

from handbook.pages import PAGES

for page, render in PAGES.items():
    Path(page).write_text(render(), encoding="utf-8")
