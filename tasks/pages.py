"""Addresses of Prefect's pages, for links between what runs publish."""

from __future__ import annotations

from collections.abc import Mapping

from prefect.settings import PREFECT_UI_ENABLED, PREFECT_UI_URL

from squizzle.reports.markdown import more


def pages_of(keys: Mapping[str, str]) -> dict[str, str]:
    """The pages of artifacts: each shows the newest of its key, and the ones before; none where there is no UI.

    Args:
        keys: Of artifacts, by what a link to them is called.
    """
    base = str(PREFECT_UI_URL.value() or "").rstrip("/")
    # The server that a command starts for itself has none.
    if not base or not PREFECT_UI_ENABLED.value():
        return {}
    return {what: f"{base}/artifacts/key/{key}" for what, key in keys.items()}


def with_pages(report: str, keys: Mapping[str, str]) -> str:
    """A report with links below its title to what else was published; as it is where there is no UI.

    Args:
        report: Markdown that begins with a title.
        keys: Of artifacts, by what a link to them is called.
    """
    links = pages_of(keys)
    title, _, rest = report.partition("\n\n")
    return f"{title}\n\n{more(links)}\n\n{rest}" if links else report
