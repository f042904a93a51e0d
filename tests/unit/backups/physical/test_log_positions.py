"""A snapshot stands for a position only when what it sees is exactly what the log holds before it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.physical.log_positions import Commit, Snapshot, position_of, read_commits, segment_of

SEGMENT = 16 << 20

# As pg_waldump 15 and 18 print them.
DUMP = """\
rmgr: Transaction len (rec/tot):     34/    34, tx:        755, lsn: 0/03001988, prev 0/03001948, desc: COMMIT 2026-11-27 02:15:58.116159 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        758, lsn: 0/030019B0, prev 0/03001988, desc: ABORT 2026-11-27 02:15:58.116837 UTC
rmgr: Transaction len (rec/tot):    226/   226, tx:        757, lsn: 0/030019F0, prev 0/030019B0, desc: PREPARE gid two: 2026-11-27 02:15:58.116837 UTC
rmgr: Transaction len (rec/tot):     82/    82, tx:          0, lsn: 0/03001A20, prev 0/030019F0, desc: COMMIT_PREPARED 757: 2026-11-27 02:15:58.2 UTC
rmgr: Transaction len (rec/tot):     82/    82, tx:          0, lsn: 0/03001A78, prev 0/03001A20, desc: COMMIT 2026-11-27 02:15:58.3 UTC; inval msgs: catcache 55
"""


def test_commits_are_read_from_a_dump_with_prepared_ones_under_their_own_number() -> None:
    assert read_commits(DUMP) == (Commit(xid=755, lsn="0/03001988"), Commit(xid=757, lsn="0/03001A20"))


@given(st.data())
def test_a_position_is_found_exactly_when_the_seen_commits_are_the_first_of_the_log(data: st.DataObject) -> None:
    """Modelled on the server: numbers are given out, commits written, and made visible, each in an order of its own."""
    xids = list(range(20, 20 + data.draw(st.integers(1, 6))))
    written = data.draw(st.permutations(xids))
    seen = data.draw(st.sets(st.sampled_from(xids)))
    turn = data.draw(st.sampled_from([0, 1, 7])) << 32
    # xmax is one more than the highest number that has ended (GetSnapshotData in PostgreSQL's procarray.c).
    xmax = max(seen, default=19) + 1
    running = {xid for xid in xids if xid < xmax} - seen
    snapshot = Snapshot(
        xmin=turn + min(running, default=xmax), xmax=turn + xmax, running=frozenset(turn + xid for xid in running)
    )
    mark = 99
    commits = [Commit(xid=xid, lsn=f"0/{number:X}") for number, xid in enumerate([*written, mark])]

    found = position_of(snapshot, commits)

    firsts: Sequence[int] = written[: len(seen)]
    assert found == (f"0/{len(seen):X}" if set(firsts) == seen else None)


def test_numbers_are_understood_across_a_turn_of_the_counter() -> None:
    snapshot = Snapshot.from_text("4294967294:4294967298:4294967295")
    assert [snapshot.sees(xid) for xid in (4294967290, 4294967295, 0, 1, 2, 3)] == [
        True,
        False,
        True,
        True,
        False,
        False,
    ]


def test_an_end_on_the_border_belongs_to_the_segment_before() -> None:
    assert [segment_of(position, SEGMENT) for position in (3 * SEGMENT, 3 * SEGMENT + 1)] == [2, 3]
