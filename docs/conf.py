# ruff: noqa: INP001 - no package, but what Sphinx reads
"""How `make site` builds these pages with Sphinx; GitHub shows the same files."""

project = "Squizzle"
author = "The Squizzle authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
master_doc = "index"
html_theme = "furo"
html_title = "Squizzle"
html_copy_source = False
# Anchors as GitHub makes them.
myst_heading_anchors = 5
myst_enable_extensions = ["tasklist"]
# PostgreSQL knows more than the highlighter.
suppress_warnings = ["misc.highlighting_failure"]
