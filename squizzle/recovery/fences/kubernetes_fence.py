"""The fence of an application on Kubernetes: no replicas, and later exactly as many as before.

Who fences and how many replicas there were stands in annotations of the workload itself, written in the very request
that scales it: no `kill -9` falls between, and they can be read when the database server is down.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from squizzle.errors import FencingFailedError, FencingUnavailableError
from squizzle.recovery.fences.kubernetes_client import Cluster, StaleError, Workload, open_cluster
from squizzle.recovery.fences.records import (
    FenceKind,
    FenceState,
    FenceStatus,
    Hold,
    holds_text,
    read_holds,
    with_hold,
    without_hold,
)
from squizzle.settings.fences import KubernetesSettings

FORMER = "squizzle/former-replicas"
HOLDS = "squizzle/fenced-by"
# Controllers write the status several times while they scale; five reads in a row that are all stale are somebody else.
_TRIES = 5
# The first look comes soon, and each next one after twice as long.
_FIRST_LOOK_S = 0.02
_LAST_LOOK_S = 1.0
# At 0 replicas an autoscaler is off, unless it may go to 0 itself (Kubernetes, "Horizontal Pod Autoscaling").
_RESTS = "rests at 0 replicas and goes on afterwards"
_MAY_WAKE_UP = "has minReplicas 0 and MAY SCALE IT UP: suspend it"
_Changed = TypeVar("_Changed")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    former: int
    holds: tuple[Hold, ...]


class KubernetesFence:
    """Scales a Deployment or StatefulSet to 0 and waits until its last pod has gone. A `Fence`.

    Args:
        settings: Which one, and of which cluster.
    """

    kind = FenceKind.KUBERNETES

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self.name = f"kubernetes {settings.workload} {settings.namespace}/{settings.name}"

    def look(self) -> FenceStatus:
        """What it is like now."""
        with open_cluster(self._settings) as cluster:
            workload = cluster.read()
            note = self._note(workload)
            pods = cluster.pods(workload.selector)
        detail = f"{note.former} replicas are noted" if note else ""
        return self._status(note, detail, is_shut=workload.replicas == 0 and not pods)

    def put_up(self, hold: Hold) -> FenceStatus:
        """Scale to 0 and wait for the pods to go.

        Raises:
            FencingUnavailableError: Out of reach, or pods do not go in time; what was asked for is noted with the hold,
                and a repetition goes on waiting.
            FencingFailedError: Refused, and as it was; or somebody scales it up again.
            InvalidInputError: The kubeconfig cannot be used.
        """
        with open_cluster(self._settings) as cluster:
            note = self._change(cluster, lambda workload: self._shut(cluster, workload, hold))
            self._wait(cluster)
            scaling = _autoscaling(cluster)
        return self._status(note, f"{note.former} replicas before{scaling}", is_shut=True)

    def take_down(self, holder: str | None) -> FenceStatus:
        """Let go of a hold, and ask for the former number of replicas when it was the last one.

        Raises:
            FencingUnavailableError: Out of reach; as it was, or done.
            FencingFailedError: Refused; it is as it was.
            InvalidInputError: The kubeconfig cannot be used.
        """
        with open_cluster(self._settings) as cluster:
            return self._change(cluster, lambda workload: self._open(cluster, workload, holder))

    def _change(self, cluster: Cluster, change: Callable[[Workload], _Changed]) -> _Changed:
        """Read and change, again with a fresh reading when somebody was faster."""
        stale = StaleError()
        for _ in range(_TRIES):
            try:
                return change(cluster.read())
            except StaleError as exc:
                stale = exc
        raise FencingUnavailableError(
            f"{self.name} was changed by somebody else {_TRIES} times while it was read; nothing was changed by us",
            hint="run the same again",
        ) from stale

    def _shut(self, cluster: Cluster, workload: Workload, hold: Hold) -> _Note:
        found = self._note(workload)
        # Who sees 0 and a note sees a fence; the number of before is never replaced.
        former = found.former if found else workload.replicas
        note = _Note(former=former, holds=with_hold(found.holds if found else (), hold))
        if found != note or workload.replicas != 0:
            annotations: dict[str, str | None] = {FORMER: str(former), HOLDS: holds_text(note.holds)}
            cluster.change(workload.version, replicas=0, annotations=annotations)
        return note

    def _open(self, cluster: Cluster, workload: Workload, holder: str | None) -> FenceStatus:
        note = self._note(workload)
        if note is None:
            lost = "whoever scaled it to 0 has left no note of how many there were: kubectl scale"
            return self._status(None, "" if workload.replicas else lost, is_shut=workload.replicas == 0)
        rest = without_hold(note.holds, holder)
        if rest:
            cluster.change(workload.version, replicas=None, annotations={HOLDS: holds_text(rest)})
            kept = _Note(former=note.former, holds=rest)
            return self._status(kept, "others hold it", is_shut=workload.replicas == 0)
        replicas = note.former if workload.replicas == 0 else workload.replicas
        cluster.change(workload.version, replicas=replicas, annotations={FORMER: None, HOLDS: None})
        if workload.replicas:
            detail = f"somebody has scaled it to {replicas} meanwhile, and it stays so ({note.former} before)"
        elif replicas:
            detail = f"{replicas} replicas again"
        else:
            detail = "it had 0 replicas before Squizzle fenced it, and stays so"
        return self._status(None, detail, is_shut=replicas == 0)

    def _wait(self, cluster: Cluster) -> None:
        """Wait for the pods themselves: the status counts only those that nobody has told to end."""
        deadline = time.monotonic() + self._settings.pods_gone.total_seconds()
        pause = _FIRST_LOOK_S
        while True:
            workload = cluster.read()
            if workload.replicas != 0:
                raise FencingFailedError(
                    f"{self.name} was scaled to 0, and somebody has scaled it to {workload.replicas} again; it is noted"
                    " as fenced, and it is not",
                    hint="stop what keeps its number (Argo CD, Flux, KEDA, an autoscaler with minReplicas 0), then run"
                    " the same again",
                )
            pods = cluster.pods(workload.selector)
            if workload.is_settled and not pods:
                return
            if time.monotonic() > deadline:
                left = ", ".join(pods) or "its controller has not answered yet"
                raise FencingUnavailableError(
                    f"{self.name} is scaled to 0, but not all of it has gone within"
                    f" {self._settings.pods_gone.total_seconds():g} s: {left}",
                    hint="they end after terminationGracePeriodSeconds; `kubectl describe pod` says why one stays. Run"
                    " the same again to go on waiting",
                )
            time.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK_S)

    def _note(self, workload: Workload) -> _Note | None:
        former = workload.annotations.get(FORMER)
        if former is None:
            return None
        if not (former.isascii() and former.isdecimal()):
            raise FencingFailedError(
                f"{self.name}: the annotation {FORMER} is no number; nothing was changed",
                hint=f"it was changed by hand; write how many replicas there were: kubectl annotate … {FORMER}=N",
            )
        holds = read_holds(workload.annotations.get(HOLDS, "[]"), where=f"{self.name} (annotation {HOLDS})")
        return _Note(former=int(former), holds=holds)

    def _status(self, note: _Note | None, detail: str, *, is_shut: bool) -> FenceStatus:
        state = FenceState.FENCED if is_shut else FenceState.OPEN
        holds = note.holds if note else ()
        return FenceStatus(kind=self.kind, name=self.name, state=state, holds=holds, detail=detail)


def _autoscaling(cluster: Cluster) -> str:
    """What an autoscaler will do, as the end of a sentence; a fence does not fail because it may not be read."""
    try:
        found = cluster.autoscalers()
    except FencingFailedError as exc:
        return f"; whether it is scaled by itself could not be read: {exc.message}"
    return "".join(
        f"; autoscaler {one.name} ({one.least} to {one.most}) {_RESTS if one.least else _MAY_WAKE_UP}" for one in found
    )
