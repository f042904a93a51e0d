"""A server that is too old is refused before anything is changed: what follows a migration would fail behind it."""

from __future__ import annotations

import pytest

from squizzle.errors import DatabaseState, RefusedError
from squizzle.postgres.fitness import refuse_old_server


def test_from_15_on_it_works() -> None:
    for version in (150000, 160015, 180006):
        refuse_old_server(version)
    with pytest.raises(RefusedError, match="this is PostgreSQL 14, and Squizzle works from 15 on") as refused:
        refuse_old_server(140023)
    assert refused.value.database_state is DatabaseState.UNTOUCHED
