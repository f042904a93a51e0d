"""The block for failures on purpose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from prefect.blocks.core import Block
from pydantic import Field

from squizzle.chaos.settings import ALL_KINDS, DEFAULT_RATE, ChaosKind, ChaosSettings


class Chaos(Block):
    """How often things fail on purpose in flows that refer to it: `SQUIZZLE_CHAOS=block:NAME` in their environment."""

    _block_type_name = "Chaos"
    _block_type_slug = "chaos"
    _description = "Failures on purpose, at random, to see what a system stands. Production refuses it."

    rate: float = Field(
        default=DEFAULT_RATE, ge=0, le=1, title="Rate", description="How often something fails; 0.1 is one time in ten."
    )
    kinds: list[ChaosKind] = Field(
        default_factory=lambda: sorted(ALL_KINDS), min_length=1, title="Kinds", description="What may happen."
    )
    seed: int | None = Field(
        default=None, title="Seed", description="Strikes at the same places again. Empty: a new one for each run."
    )
    longest_delay_ms: int = Field(default=2000, ge=0, title="Longest delay in ms", description="A delay is shorter.")

    def settings(self, *, new_seed: Callable[[], int]) -> ChaosSettings | None:
        """The same without Prefect; None where the rate is 0.

        Args:
            new_seed: Gives a seed where the block names none.
        """
        if not self.rate:
            return None
        return ChaosSettings(
            seed=new_seed() if self.seed is None else self.seed,
            rate=self.rate,
            kinds=frozenset(self.kinds),
            longest_delay=timedelta(milliseconds=self.longest_delay_ms),
        )
