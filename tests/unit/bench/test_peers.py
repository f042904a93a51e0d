"""Peers that are fetched, and what is said of backups beside them."""

from __future__ import annotations

from bench.backup_figures import COPY, FINGERPRINTS, GUIDE_COPY, Result, Step, finding_of
from bench.debian import libraries_of

SAID = """\
pgbouncer
  PreDepends: init-system-helpers
  Depends: lsb-base
 |Depends: postgresql-common
  Depends: libc6
    libc6:i386
  Depends: libevent-2.1-7
  Depends: <libsomething-virtual>
  Suggests: libmercury-dev
"""


def test_only_libraries_that_are_needed_are_fetched_with_a_program() -> None:
    assert libraries_of(SAID) == ("libc6", "libevent-2.1-7")


def result(seconds: float, size: int = 0) -> Result:
    return Result(seconds=seconds, processor=seconds / 2, size=size, memory=50_000_000)


def step(name: str, *, beside: str = "", rows: int = 0, is_ours: bool = False, rival_of: str = "") -> Step:
    return Step(name=name, run=lambda: 0, beside=beside, rows=rows, is_ours=is_ours, rival_of=rival_of)


def test_a_backup_is_compared_with_the_guides_command_and_with_every_other_tool() -> None:
    steps = {
        one.name: one
        for one in (
            step(GUIDE_COPY),
            step(COPY, beside=GUIDE_COPY, rows=100, is_ours=True),
            step("another", beside=GUIDE_COPY, rival_of=COPY),
            step("its increment", beside=GUIDE_COPY, rival_of="what we have not"),
            step(FINGERPRINTS, rows=100, is_ours=True),
        )
    }
    taken = {
        GUIDE_COPY: [result(8, 4_000_000), result(8, 4_000_000)],
        COPY: [result(2, 2_000_000), result(4, 2_000_000)],
        "another": [result(1, 8_000_000), result(2, 8_000_000)],
        "its increment": [result(1), result(1)],
        FINGERPRINTS: [result(4), result(6)],
    }
    finding = finding_of((taken, steps), major=18, rows=100, rounds=2, scale=1)
    found = {(one.name, one.peer_name): (one.ours, one.to_peer()) for one in finding.figures}
    assert found == {
        (COPY, GUIDE_COPY): (3, 0.375),
        (f"{COPY}, size", GUIDE_COPY): (2, 0.5),
        (COPY, "another"): (3, 2),
        (f"{COPY}, size", "another"): (2, 0.25),
        (FINGERPRINTS, ""): ((25 + 100 / 6) / 2, None),
    }
    assert [one.is_lost for one in finding.figures] == [False, False, True, False, False]
    assert all(one.why for one in finding.figures if one.is_lost)
