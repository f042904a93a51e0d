"""A frame that was changed is noticed; readers that know no hash read it, and one without a hash is read."""

from __future__ import annotations

import io
from random import Random

import pandas as pd
import pytest

from squizzle.errors import BackupDamagedError
from squizzle.frames.parquet import ENTRY, from_parquet, merge, to_parquet

ROWS = pd.DataFrame({ENTRY: ["a"] * 50, "target": [f"t{n}" for n in range(50)], "x": [float(n) for n in range(50)]})


def test_a_changed_bit_is_noticed_or_changes_nothing() -> None:
    content, noticed = to_parquet(ROWS), 0
    chance = Random(1)  # noqa: S311 - any bits
    for _ in range(100):
        changed = bytearray(content)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        try:
            assert from_parquet(bytes(changed), source="x").equals(ROWS)
        except BackupDamagedError:
            noticed += 1
            with pytest.raises(BackupDamagedError):
                merge([content, bytes(changed)])
    assert noticed > 90


def test_whoever_knows_no_hash_reads_the_frame_and_one_that_has_none_is_read() -> None:
    assert pd.read_parquet(io.BytesIO(merge([to_parquet(ROWS), to_parquet(ROWS)]))).equals(ROWS)
    without = io.BytesIO()
    ROWS.to_parquet(without, index=False)
    assert from_parquet(without.getvalue(), source="x").equals(ROWS)
