"""What became of notifications, for people."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.notify.records import Delivery
from squizzle.reports.markdown import table


def trial_markdown(done: Sequence[Delivery]) -> str:
    """Which channels took a trial, and what to do about the others."""
    failed = sum(not one.is_delivered for one in done)
    verdict = f"{failed} of {len(done)} channels do NOT work" if failed else f"all {len(done)} channels took it"
    rows = [
        (
            one.channel,
            "taken" if one.is_delivered else f"**failed**: {one.error}",
            str(one.tries),
            one.hint,
        )
        for one in done
    ]
    taken = "A channel that took a message has not shown it to anybody yet: look whether it arrived."
    return f"# {verdict}\n\n{table(('channel', 'result', 'tries', 'what to do'), rows)}\n\n{taken}\n"
