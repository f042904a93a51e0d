"""Who stands behind whom: the waits of one moment as a tree. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

from squizzle.health.records import LockPicture, LockWait, PreparedTransaction, Session

# A session by its pid, a prepared transaction by its name.
_Key = int | str


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeRow:
    """One place in the tree, in the order in which it is read: a blocker, then whoever waits behind it.

    Attributes:
        depth: 0 for one who waits for nobody, 1 for one who waits for such a one …
        session: Who is here; None for a prepared transaction.
        prepared: The prepared transaction; None for a session.
        wait: What it waits for; None at depth 0.
        behind: How many sessions would have to wait no longer, or less, if this one ended: all that stand behind it.
        is_deadlocked: Whether it waits for somebody who waits for it; the server ends one of them by itself.
    """

    depth: int
    session: Session | None
    prepared: PreparedTransaction | None
    wait: LockWait | None
    behind: int
    is_deadlocked: bool = False

    @property
    def is_root(self) -> bool:
        """Whether it waits for nobody, so that ending it helps."""
        return self.depth == 0


def lock_tree(picture: LockPicture) -> tuple[TreeRow, ...]:
    """Everybody who blocks or waits, each once: under the last of those that it waits for.

    Roots come first that hold up most. A blocker that had ended when sessions were read is left out, and whoever waited
    for it alone is a root then: it is about to go on.
    """
    waits = {one.pid: one for one in picture.waits if picture.session(one.pid)}
    prepared = {one.gid: one for one in picture.prepared}
    sessions = {one.pid: one for one in picture.sessions}
    blockers = {pid: _blockers(wait, sessions, prepared) for pid, wait in waits.items()}
    waiters: dict[_Key, list[int]] = defaultdict(list)
    for pid, before in blockers.items():
        for one in before:
            waiters[one].append(pid)
    everybody: dict[_Key, None] = dict.fromkeys([*waiters, *waits])
    depths, deadlocked = _depths(everybody, blockers, waiters)
    behind = _behind(depths, blockers)
    children: dict[_Key, list[_Key]] = defaultdict(list)
    for pid, before in blockers.items():
        if depths[pid]:
            children[max(before, key=lambda one: (depths[one], str(one)))].append(pid)

    def row(key: _Key) -> TreeRow:
        return TreeRow(
            depth=depths[key],
            session=sessions.get(key) if isinstance(key, int) else None,
            prepared=prepared.get(key) if isinstance(key, str) else None,
            wait=waits.get(key) if isinstance(key, int) else None,
            behind=behind[key],
            is_deadlocked=key in deadlocked,
        )

    roots = sorted((one for one in everybody if depths[one] == 0), key=lambda one: (-behind[one], str(one)))
    return tuple(row(key) for key in _in_order(roots, children))


def _blockers(wait: LockWait, sessions: dict[int, Session], prepared: dict[str, PreparedTransaction]) -> list[_Key]:
    return [
        *(pid for pid in wait.blockers if pid in sessions and pid != wait.pid),
        *(gid for gid in wait.prepared if gid in prepared),
    ]


def _depths(
    everybody: dict[_Key, None], blockers: dict[int, list[_Key]], waiters: dict[_Key, list[int]]
) -> tuple[dict[_Key, int], set[_Key]]:
    """How many stand before each, in an order in which nobody comes before those that he waits for.

    Who waits in a circle has no first, so one of them is taken for it.
    """
    left = {one: len(blockers.get(one, ())) if isinstance(one, int) else 0 for one in everybody}
    depths: dict[_Key, int] = {}
    circles: set[_Key] = set()
    lowest: dict[_Key, int] = defaultdict(int)
    ready = deque(one for one, count in left.items() if count == 0)
    while len(depths) < len(everybody):
        if not ready:
            ready.append(min((one for one in everybody if one not in depths), key=str))
            circles.add(ready[0])
        one = ready.popleft()
        if one in depths:
            continue
        depths[one] = 0 if one in circles else lowest[one]
        for pid in waiters.get(one, ()):
            lowest[pid] = max(lowest[pid], depths[one] + 1)
            left[pid] -= 1
            if left[pid] == 0:
                ready.append(pid)
    return depths, circles


def _behind(depths: dict[_Key, int], blockers: dict[int, list[_Key]]) -> dict[_Key, int]:
    """How many stand behind each, near or far: sets as numbers with a bit for each, for hundreds may wait."""
    bits = {one: 1 << place for place, one in enumerate(depths)}
    masks: dict[_Key, int] = dict.fromkeys(depths, 0)
    for pid in reversed(depths):
        for before in blockers.get(pid, ()) if isinstance(pid, int) else ():
            if depths[before] < depths[pid]:
                masks[before] |= masks[pid] | bits[pid]
    return {one: mask.bit_count() for one, mask in masks.items()}


def _in_order(roots: list[_Key], children: dict[_Key, list[_Key]]) -> list[_Key]:
    found: list[_Key] = []
    ahead = list(reversed(roots))
    while ahead:
        one = ahead.pop()
        found.append(one)
        ahead += reversed(children.get(one, ()))
    return found


def longest_wait_behind(row: TreeRow, picture: LockPicture) -> LockWait | None:
    """The longest wait among those that wait for this one directly; None when nobody does."""
    who: _Key = row.session.pid if row.session else row.prepared.gid if row.prepared else ""
    direct = [one for one in picture.waits if who in {*one.blockers, *one.prepared}]
    known = [one for one in direct if one.since is not None]
    return min(known, key=lambda one: one.since or picture.at, default=None)
