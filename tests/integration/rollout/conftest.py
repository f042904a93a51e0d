"""The command, as the tests of the command have it."""

from __future__ import annotations

from tests.integration.cli.conftest import ready

__all__ = ["ready"]
