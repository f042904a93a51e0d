"""The page of `make chaos`: which flows were killed, what else was damaged, and what came of it."""

from __future__ import annotations

from datetime import date, timedelta

from tests.support.reliability_page import Run, reliability_page
from tests.support.tally import Kind, Strike


def test_the_page_says_which_flows_were_killed_what_was_damaged_and_what_was_broken() -> None:
    strikes = (
        Strike(kind=Kind.KILL, procedure="back-up", whom="PostgreSQL", cell="Save it (2), during"),
        Strike(kind=Kind.KILL, procedure="roll-out (canary recovered)", whom="the run itself", cell="Switch over"),
        Strike(kind=Kind.KILL, procedure="apply", whom="the run itself", cell="before change 1"),
        Strike(kind=Kind.FULL_DISK, procedure="take full", whom="store", cell="3 of 9"),
        Strike(kind=Kind.NETWORK, procedure="a restore", whom="connection", cell="100 True"),
        Strike(kind=Kind.LOG, procedure="an archive of the log", whom="cut", cell="cut 3", violation="it ends early"),
    )
    page = reliability_page(
        Run(
            version="1",
            revision="",
            on=date(2027, 1, 31),
            postgres="18",
            machine="2 processors",
            seed=7,
            duration=timedelta(minutes=14),
            strikes=strikes,
            failed=(),
            passed=3,
        )
    )

    assert "| what ran | everything |" in page
    assert "| flows that were killed | 2: back-up, roll-out |" in page
    assert "| kills | 3 at 3 places |" in page
    assert "| flow `roll-out`, whose canary is recovered |  | 1 | 1 | 0 |" in page
    assert "| full disk | taking a backup (full) | 1 | 1 | 0 |" in page
    assert "| network fault | a restore | 1 | 1 | 0 |" in page
    assert "| damaged log | an archive of the log | 1 | 1 | 1 |" in page
    assert "- an archive of the log, cut, cut 3: it ends early" in page
    assert "| to repeat it | `make chaos SEED=7` |" in page
