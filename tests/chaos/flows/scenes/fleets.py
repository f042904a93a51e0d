"""Fleets: rollouts to them, looks at them, and who is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from squizzle.cli.main import run
from squizzle.incidents.ledger import make_tables, note_event, open_incident, read_incident, read_incidents
from squizzle.incidents.records import EventKind
from squizzle.postgres.access import connect
from squizzle.recovery.fence import is_fenced
from tests.chaos.flows.scene import Scene, ear_of, told_wrongly, write_fleet
from tests.chaos.invariants import one_of_the_name
from tests.support.names import databases
from tests.support.rollout_form import as_form

LAST_PART = "## Action Items"
GOODS = "CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n"


class Fleet(Scene):
    """Three databases; the first one is the canary, where what is known of the fleet is kept."""

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(f"{self.database}_{number}" for number in range(3))

    @property
    def pinned(self) -> str:
        return f'pinned = ["one/{self.all[0]}"]'

    def standing(self) -> list[str]:
        shut = not self.kept_open
        return [text for name in self.all for text in one_of_the_name(self.access, name, may_be_shut=shut)]

    def ask(self, name: str, query: str) -> Any:
        with self.session(name) as session:
            return (session.execute(query.encode()).fetchone() or (None,))[0]


class RollOut(Fleet):
    """A version goes to three databases in two stages."""

    name = "roll-out"
    flow = "flows.roll_out:roll_out"

    deployments = ("rollout", "rollout-staging")

    def set_up(self) -> None:
        for name in self.all:
            self.run_sql("CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n", name)
        self.migrations(("INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4"))
        write_fleet(self, self.pinned)
        stages = "stages: [{name: canary, percentage: 30, rollback_on_error: true}, {name: full, percentage: 100}]"
        (self.folder / "stages.yaml").write_text(stages, encoding="utf-8")
        files = {"stages": str(self.folder / "stages.yaml"), "configuration": str(self.folder / "squizzle.toml")}
        self.parameters = as_form({"fleet": "town", **files, "dry_run": False, "watch_every_s": 1})

    def promised(self) -> list[str]:
        broken = []
        for name in self.all:
            with self.session(name) as session:
                goods = session.execute("SELECT count(*) FROM goods").fetchone()
                applied = session.execute("SELECT count(*) FROM squizzle_history WHERE success").fetchone()
            broken += [] if (goods, applied) == ((4,), (1,)) else [f"{name}: {goods} goods, applied {applied} times"]
        return [*broken, *self.nothing_left()]


class RecoverCanary(Fleet):
    """The canary's down script fails, so it is recovered from its backup: with it what is known of the rollout.

    A run that is killed meanwhile leaves it shut. A person ends that recovery, then starts the rollout again.
    """

    name = "roll-out (canary recovered)"
    flow = "flows.roll_out:roll_out"
    deployments = ("rollout-production",)
    ends = "FAILED"
    kept_open = False

    def set_up(self) -> None:
        for name in self.all:
            self.run_sql(GOODS, name)
        self.migrations(("DELETE FROM goods WHERE id = 3", "SELECT 1 / 0; INSERT INTO goods VALUES (3)"))
        configuration = write_fleet(self, self.pinned, settings='[rehearsal]\nrequired_for = ["testing"]')
        stages = "stages: [{name: canary, percentage: 30, duration: 1s, rollback_on_error: true}, {name: full, percentage: 100}]"
        files = {"stages": "stages.yaml", "checks": "checks.sql"}
        (self.folder / "stages.yaml").write_text(stages, encoding="utf-8")
        (self.folder / "checks.sql").write_text("SELECT count(*) = 3 FROM goods", encoding="utf-8")
        self.parameters = {name: str(self.folder / file) for name, file in files.items()}
        self.parameters |= {"fleet": "town", "configuration": str(configuration), "dry_run": False}
        self.parameters |= {"store": self.store(), "backups": "all", "watch_every_s": 1}
        self.parameters = as_form(self.parameters | {"without_certificates": "a scene", "approver": "ada"})
        how = {"dry_run": False, "may_lose_data": True}
        self.recovery = {"database": self.place.block(self.all[0]), "store": self.parameters["store"], **how}

    def start_again(self, play: Callable[..., object]) -> None:
        with connect(self.access, "postgres", purpose="look") as control:
            is_shut = is_fenced(control, self.all[0])
        if is_shut:
            play(flow="flows.recover:recover", parameters=self.recovery)
        play()

    def promised(self) -> list[str]:
        open_ = [text for name in self.all for text in one_of_the_name(self.access, name, may_be_shut=False)]
        if open_:
            return open_
        found = [self.ask(name, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM goods") for name in self.all]
        broken = [] if found == ["1 2 3"] * 3 else [f"goods are {found}"]
        with connect(self.access, "postgres", purpose="look") as control:
            beside = databases(control, self.database) - set(self.all)
            kept = [name for name in beside if is_fenced(control, name)]
        return [*broken, *self.nothing_left(*kept)]


class SweepHealth(Fleet):
    """Three databases are looked at, and of what is wrong in each people are told once, or twice, but not never."""

    name = "sweep-health"
    flow = "flows.sweep_health:sweep_health"
    deployments = ("health",)

    def set_up(self) -> None:
        self.ear = ear_of(self)
        for name in self.all:
            self.run_sql("CREATE TABLE box AS SELECT n AS id FROM generate_series(1, 3) n", name)
        rule = "{name: full, condition: SELECT count(*) > 2 FROM box, severity: high}"
        (self.folder / "alerts.yml").write_text(f"alerts:\n  - {rule}\n", encoding="utf-8")
        configuration = write_fleet(self, f'{self.pinned}\nwatch.alerts = ["alerts.yml"]')
        self.parameters = {"fleet": "town", "configuration": str(configuration)}

    def prepare(self) -> None:
        self.ear.posts.clear()

    def promised(self) -> list[str]:
        query = "SELECT string_agg(target || ' ' || rule, ', ') FROM (SELECT target, rule FROM squizzle.alert"
        twice = self.ask(self.all[0], f"{query} GROUP BY 1, 2 HAVING count(*) > 1) t")
        broken = [f"kept twice: {twice}"] if twice else []
        # Where alerts cannot be kept, all that fires is told once more, in one message of its own.
        alerts = [one for one in self.ear.documents() if not one["key"].endswith("-control")]
        begun = [json.dumps(one) for one in alerts if one["moment"] == "begins"]
        for name in self.all:
            broken += told_wrongly(self, f"{name} is full", sum(name in one and "full" in one for one in begun))
        return [*broken, *self.nothing_left()]


class AutoRecover(Fleet):
    """A migration failed at three: one comes back, the script of one fails, one has nothing of it. Somebody hears."""

    name = "auto-recover"
    flow = "flows.auto_recover:auto_recover"
    deployments = ("auto-recover",)
    ends = "FAILED"
    helps = ""

    @property
    def pinned(self) -> str:
        return f'pinned = ["one/{self.all[2]}"]'

    def set_up(self) -> None:
        self.ear = ear_of(self)
        up = "CREATE TABLE new (i int);\nCREATE INDEX CONCURRENTLY new_i ON new (i);\nSELECT 1 / 0;\n"
        down = "SELECT 1 / count(*) FROM goods WHERE id = 2;\nDROP TABLE new;\n"
        self.migrations(("CREATE TABLE a (i int)", "DROP TABLE a"), (up, down))
        store = f'[backups]\nstore = "{self.folder}/backups"'
        configuration = write_fleet(self, f"{self.pinned}\n{self.helps}", settings=store)
        for name in self.all:
            self.run_sql(GOODS, name)
        self.run_sql("DELETE FROM goods WHERE id = 2", self.all[1])
        self.run_sql("CREATE TABLE new (i int)", self.all[2])
        for name in self.all:
            where = ["--config", str(configuration), "--url", self._url(name)]
            done = [run(["apply", "0001", *where]), run(["backup", "full", *where]), run(["apply", "0002", *where])]
            assert done[:2] == [0, 0] != done[2:], done
        self.swept = {"fleet": "town", "configuration": str(configuration)}
        self.parameters = {**self.swept, "policy": "safe", "window_minutes": 1440}

    def _url(self, name: str) -> str:
        access = self.access
        return f"postgresql://{access.user}@/{name}?host={quote(access.host, safe='')}&port={access.port}"

    def prepare(self) -> None:
        self.ear.posts.clear()

    def start_again(self, play: Callable[..., object]) -> None:
        play()
        # Of what was taken back by a run that could not say so, the next sweep tells (docs/auto-recovery.md).
        play(flow=SweepHealth.flow, parameters=self.swept)

    def promised(self) -> list[str]:
        with self.session(self.all[2]) as control:
            incidents = {one.target: one.id for one in read_incidents(control, "town")}
        broken = []
        for number, name in enumerate(self.all):
            said = [one for one in self.ear.documents() if one["key"] == incidents.get(f"one/{name}")]
            broken += told_wrongly(self, f"what became of {name}", len(said))
            last = self.ask(name, "SELECT direction || ' ' || success FROM squizzle_history ORDER BY id DESC LIMIT 1")
            has_new = self.ask(name, "SELECT to_regclass('new') IS NOT NULL")
            is_back = (last, has_new) == ("rollback true", number == 2)
            if not is_back and not any(one["severity"] == "critical" for one in said):
                broken.append(f"{name} is not back ({last}), and no person has to look")
            goods = self.ask(name, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM goods")
            broken += [] if goods == ("1 3" if number == 1 else "1 2 3") else [f"{name} has the goods {goods}"]
        return [*broken, *self.nothing_left()]


class SweepAndRecover(AutoRecover):
    """The same behind a look at the fleet, where the fleet says so."""

    name = "sweep-health (recovers)"
    flow = SweepHealth.flow
    deployments = ()
    ends = "COMPLETED"
    share = 0.5
    helps = 'auto_recover = "safe"'

    def set_up(self) -> None:
        super().set_up()
        self.parameters = self.swept

    def start_again(self, play: Callable[..., object]) -> None:
        play()


class WritePostmortem(Fleet):
    """The draft of a post-mortem is written; a run that dies leaves none that is half."""

    name = "write-postmortem"
    flow = "flows.write_postmortem:write_postmortem"
    deployments = ("write-postmortem",)
    share = 0.5

    def set_up(self) -> None:
        configuration = write_fleet(self, self.pinned)
        with self.session(self.all[0]) as control:
            make_tables(control)
            incident = open_incident(control, "town", f"one/{self.all[1]}", cause="a scene", by="ann")
            note_event(control, incident, EventKind.ACTION, "somebody looked", by="ann")
            self.incident, self.events = read_incident(control, "town", incident.id)
        self.parameters = {"incident": incident.id, "fleet": "town", "configuration": str(configuration)}
        self.file = Path(self.environment["SQUIZZLE_REPORTS"]) / f"postmortem-{incident.id}.md"

    def standing(self) -> list[str]:
        return [*super().standing(), *(self._half() if self.file.exists() else [])]

    def _half(self) -> list[str]:
        text = self.file.read_text(encoding="utf-8")
        is_whole = text.startswith("# ") and LAST_PART in text and text.endswith("\n")
        return [] if is_whole else [f"half a post-mortem of {len(text)} letters is left"]

    def promised(self) -> list[str]:
        if not self.file.exists():
            return ["there is no post-mortem"]
        with self.session(self.all[0]) as control:
            is_same = read_incident(control, "town", self.incident.id) == (self.incident, self.events)
        left = [path.name for path in self.file.parent.iterdir() if path != self.file]
        broken = [*self._half(), *(f"{name} is left" for name in left), *self.nothing_left()]
        return broken if is_same else [*broken, "what is known of the incident was changed"]


class TryChannels(Fleet):
    """A message by every channel; whatever was begun is ended, so that no page stays open."""

    name = "try-channels"
    flow = "flows.try_channels:try_channels"
    deployments = ("try-channels",)
    share = 0.5

    def set_up(self) -> None:
        self.ear = ear_of(self)
        other = '[notify.channels.other]\nkind = "webhook"\nurl_env = "SCENE_HOOK"'
        self.parameters = {"configuration": str(write_fleet(self, self.pinned, settings=other))}

    def prepare(self) -> None:
        self.ear.posts.clear()

    def promised(self) -> list[str]:
        said = self.ear.documents()
        begun = [one["key"] for one in said if one["moment"] == "begins"]
        ended = [one["key"] for one in said if one["moment"] == "ends"]
        broken = [f"{key} was begun, and is not ended" for key in sorted({*begun} - {*ended})]
        return [*broken, *([] if len(begun) >= 2 else ["not every channel was tried"]), *self.nothing_left()]
