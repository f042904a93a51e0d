"""What all tests share: where things are, and where temporary things go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.memory import move_temp_folder_to_memory

ROOT = Path(__file__).resolve().parents[1]
MEMORY_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    # The workers of pytest-xdist inherit it.
    if not hasattr(config, "workerinput") and (folder := move_temp_folder_to_memory()):
        config.stash[MEMORY_FOLDER] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(MEMORY_FOLDER, None):
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shop() -> Path:
    return ROOT / "examples" / "shop"
