"""Every flow, at every step: before it, in the middle of it, behind it, kill -9 of the run, of PostgreSQL, of a client
program, of Prefect's server. Then the same flow is started again, and everything is as promised.

All places together take hours: the seed chooses some of each flow, so that successive seeds reach every one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.flows.conftest import Place
from tests.chaos.flows.scene import Scene
from tests.chaos.flows.scenes import SCENES
from tests.support.killed import Ended, Mortal
from tests.support.prefect_server import PrefectServer
from tests.support.processes import is_alive
from tests.support.tally import Kind, dice, note_strike

pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore::ResourceWarning")]

MOMENTS = ("before", "during", "after")
WHOM = {"run": 4, "PostgreSQL": 2.5, "program": 1.5, "Prefect": 0.3}
"""How many places of each flow are chosen, as an average; a start of Prefect takes as long as ten runs."""
SHOWN = {"run": "the run itself", "program": "client program"}


@dataclass(frozen=True)
class Cell:
    """Where somebody is killed."""

    step: int
    title: str
    moment: str
    whom: str
    effect: int

    def __str__(self) -> str:
        return f"{self.title} ({self.step}), {self.moment}"


@dataclass
class Matrix:
    """Plays one flow again and again."""

    scene: Scene
    work: Mortal
    place: Place
    prefect: PrefectServer
    folder: Path
    broken: list[str] = field(default_factory=list)
    runs: int = 0
    last: dict[str, Any] = field(default_factory=dict)

    def play(
        self, strike: dict[str, Any] | None = None, *, flow: str = "", parameters: dict[str, Any] | None = None
    ) -> tuple[Ended, dict[str, Any], bool]:
        """One run, of the scene's flow unless another is named: how its process ended, what it said, and whether
        somebody was killed.
        """
        self.runs += 1
        said = self.folder / f"{self.runs}.json"
        with self._raised_from_the_dead(), self.scene.meanwhile():
            ended = self.work.run(
                "play",
                counts=False,
                flow=flow or self.scene.flow,
                parameters=self.scene.parameters if parameters is None else parameters,
                strike=strike or {},
                said=str(said),
                environment=self.scene.environment,
            )
        self.last = json.loads(said.read_text(encoding="utf-8")) if said.exists() else {}
        return ended, self.last, said.with_suffix(".struck").exists()

    @contextmanager
    def _raised_from_the_dead(self) -> Iterator[None]:
        """Whoever is killed in the block is started again at once, as a machine does it."""
        over = threading.Event()

        def watch() -> None:
            last = False
            while not last:
                last = over.wait(0.02)
                if not is_alive(self.place.server.address.pid):
                    self.place.start()
                if self.prefect.is_dead:
                    self.prefect.start()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def cells(self, steps: list[dict[str, Any]]) -> list[Cell]:
        """The places that the seed chooses, of all that there are."""
        chance = dice(self.scene.name)
        chosen = []
        for whom, number in WHOM.items():
            there = [
                (at, step, moment)
                for at, step in enumerate(steps)
                for moment in MOMENTS
                if whom != "program" or (step["programs"] and moment == "during")
            ]
            share = number * self.scene.share
            times = int(share) + (chance.random() < share % 1)
            for at, step, moment in chance.sample(there, min(times, len(there))):
                most = 20 if whom == "program" else max(1, step["effects"])
                chosen.append(Cell(at, step["title"], moment, whom, chance.randint(1, most)))
        return chosen

    def strike(self, cell: Cell) -> None:
        """Kill somebody there, look, start the flow again, and look again."""
        self.scene.anew()
        pids = {"PostgreSQL": self.place.server.address.pid, "Prefect": self.prefect.pid}
        how = {"step": cell.step, "moment": cell.moment, "effect": cell.effect, "whom": cell.whom}
        ended, said, struck = self.play(how | {"pid": pids.get(cell.whom, 0)})
        self.scene.was_struck = struck
        found = self.scene.standing()
        if cell.whom == "run" and struck and not ended.was_killed:
            found.append(f"it was killed, and ended with {ended}")
        if said and not said["is_ours"] and cell.whom != "Prefect":
            found.append(f"it stumbled: {said['error']}: {said['message']}")
        self.scene.start_again(self.play)
        found += self.scene.promised()
        if found:
            found.append(f"started again it ended: {self.last.get('state')} {self.last.get('message')}")
        if struck:
            whom = SHOWN.get(cell.whom, cell.whom)
            note_strike(Kind.KILL, self.scene.name, whom, cell=cell, violation="; ".join(found))
        self.broken += [f"{cell.whom} at {cell}, effect {cell.effect}: {text}" for text in found]


@pytest.mark.parametrize("kind", SCENES, ids=[one.name for one in SCENES])
def test_killed_anywhere_and_started_again_a_flow_keeps_what_it_promises(
    kind: type[Scene], work: Mortal, place: Place, prefect: PrefectServer, temp: Path, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "said").mkdir()
    scene = kind(place, tmp_path / "files", temp)
    matrix = Matrix(scene, work, place, prefect, tmp_path / "said")
    try:
        scene.begin()
        scene.anew()
        _, left_alone, _ = matrix.play()
        assert left_alone["state"] == scene.ends, left_alone
        assert scene.promised() == []
        _, again, _ = matrix.play()
        assert scene.promised() == [], again
        cells = matrix.cells(left_alone["steps"])
        for cell in cells:
            matrix.strike(cell)
    finally:
        scene.end()

    assert matrix.broken == []
