"""What the tests without a server share: Hypothesis' settings, and one whole backup and its comparison."""

from __future__ import annotations

import pytest
from hypothesis import settings

from squizzle.proof.comparison import compare_digests
from squizzle.proof.records import Comparison, DatabaseDigest

# No deadline: a machine that is busy must not fail a test. 50 examples of each keep the folder under five seconds.
settings.register_profile("unit", deadline=None, max_examples=50, database=None)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def equal_comparison(shop_digest: DatabaseDigest) -> Comparison:
    return compare_digests(shop_digest, shop_digest)
