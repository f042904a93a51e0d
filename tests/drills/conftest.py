"""Drills as a person runs them: the command in a process of its own, with a folder for temporary files of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.machine import Machine, new_machine


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One for all drills, as on a real one: Prefect's tables and PostgreSQL's template are made once."""
    with new_machine() as made:
        yield made
