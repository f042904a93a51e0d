"""The command and a role, as the tests of the command have them."""

from __future__ import annotations

from tests.integration.cli.conftest import folder, ready, role, squizzle, url

__all__ = ["folder", "ready", "role", "squizzle", "url"]
