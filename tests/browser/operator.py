"""Somebody in front of Prefect's pages: what they click, and what they see."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from playwright.sync_api import Locator, Page, expect


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Works with names, labels and roles, as a person does.

    Attributes:
        page: The tab.
        address: Of Prefect's server.
        pictures: Where pictures of what is seen go; None for nowhere.
    """

    page: Page
    address: str
    pictures: Path | None = None
    _numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def main(self) -> Locator:
        """The page without what is around it."""
        return self.page.get_by_role("main")

    @property
    def window(self) -> Locator:
        """What has opened in front of the page."""
        return self.page.get_by_role("dialog")

    def look(self, what: str) -> None:
        """Take a picture, as high as the page is."""
        if self.pictures is None:
            return
        self.pictures.mkdir(parents=True, exist_ok=True)
        # A page is drawn to the end only where it is in view.
        height = self.page.evaluate("Math.max(1000, document.querySelector('main')?.scrollHeight + 60)")
        self.page.set_viewport_size({"width": 1300, "height": min(int(height), 6000)})
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=self.pictures / f"{next(self._numbers):02} {what}.png")
        self.page.set_viewport_size({"width": 1300, "height": 1000})

    def open_form(self, deployment: str) -> None:
        """From the list of deployments to the form of one."""
        self.page.goto(f"{self.address}/v2/deployments")
        self.page.get_by_placeholder("Search deployments").fill(deployment)
        self.main.get_by_role("link", name=deployment, exact=True).first.click()
        self.main.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.main.get_by_role("button", name="Submit").wait_for()

    def fill(self, **fields: str) -> None:
        """Write into fields by what they are called, with _ for a space."""
        for title, text in fields.items():
            self.main.get_by_label(title.replace("_", " ")).first.fill(text)

    def submit(self) -> None:
        self.main.get_by_role("button", name="Submit").click()

    def complaint(self) -> str:
        """What the browser says of a field that it does not send."""
        found: str = self.page.evaluate("document.querySelector('input:invalid').validationMessage")
        return found

    def says(self, text: str) -> None:
        """What pops up in the corner."""
        expect(self.page.get_by_role("region", name="Notifications")).to_contain_text(text)

    def open_run(self, run_id: str) -> None:
        self.page.goto(f"{self.address}/v2/runs/flow-run/{run_id}")

    def sees_state(self, state: str) -> None:
        """Wait until the run's page says so; it finds out by itself."""
        expect(self.main.get_by_text(state, exact=True).first).to_be_visible()

    def open_tab(self, name: str) -> None:
        self.main.get_by_role("tab", name=name).click()

    def open_question(self) -> None:
        """Resume is in the menu with the three dots."""
        self.main.get_by_role("button", name="Open menu").first.click()
        self.page.get_by_role("menuitem", name="Resume").click()
        self.window.get_by_role("button", name="Resume").wait_for()

    def answer(self, decision: str = "", **fields: str) -> None:
        """Fill in the form of the question and send it."""
        if decision:
            self.window.get_by_role("button", name="Select Decision").click()
            self.page.get_by_role("option", name=decision).click()
        for title, text in fields.items():
            self.window.get_by_label(title.replace("_", " ")).first.fill(text)
        self.window.get_by_role("button", name="Resume").click()

    def open_artifact(self, artifact_id: str) -> None:
        """Look at what a run published."""
        self.page.goto(f"{self.address}/v2/artifacts/artifact/{artifact_id}")
        self.main.get_by_text("Flow Run").first.wait_for()
