"""A whole cockpit as `make up` starts it, and a real browser in front of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from sandbox.stack import Stack
from tests.browser.operator import Operator
from tests.support.cockpit import PATIENCE_S, Cockpit

# Where pictures of the pages go, for people to look at; none are taken without it.
PICTURES = "SQUIZZLE_PICTURES"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Root has no sandbox of its own; the rest keeps the browser from asking the world outside.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def cockpit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cockpit]:
    stack = Stack(tmp_path_factory.mktemp("sandbox"))
    try:
        yield Cockpit(stack=stack, address=stack.up(lambda _text: None))
    finally:
        stack.down()
        stack.remove_data()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture
def operator(browser: Browser, cockpit: Cockpit, request: pytest.FixtureRequest) -> Iterator[Operator]:
    """Somebody who sits in front of Prefect's pages."""
    pictures = Path(os.environ[PICTURES]) / request.node.name if PICTURES in os.environ else None
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.set_default_timeout(PATIENCE_S * 1000)
    yield Operator(page=context.new_page(), address=cockpit.address, pictures=pictures)
    context.close()
