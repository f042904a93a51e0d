"""Backups, and looking at them."""

from __future__ import annotations

from squizzle.backups.records import BackupKind
from tests.chaos.flows.scene import FILL, Scene, one_of_the_name_and_rows
from tests.chaos.invariants import only_good_backups


class BackUp(Scene):
    """A backup, verified, and the one before it pruned."""

    name = "back-up"
    flow = "flows.back_up:back_up"
    deployments = ("backup-nightly",)

    def set_up(self) -> None:
        self.run_sql(FILL)
        keeps = {"prune": True, "keep_daily": 1, "keep_weekly": 0, "keep_monthly": 0}
        self.parameters = {"database": self.place.block(self.database), "store": self.store(), **keeps}
        self.whole = self.digest()

    def standing(self) -> list[str]:
        return [*super().standing(), *only_good_backups(self.backups.open())]

    def promised(self) -> list[str]:
        store = self.backups.open()
        broken = [*only_good_backups(store), *self.nothing_left(), *one_of_the_name_and_rows(self, self.whole)]
        if not store.list_ids():
            return [*broken, "there is no backup"]
        names = {path.name for path in (self.folder / "backups").iterdir()} - {"removed", *store.list_ids()}
        return [*broken, *(f"{name} is left in the store" for name in sorted(names))]


class BackUpChanges(BackUp):
    """What changed in the whole cluster since the last copy of it is saved."""

    name = "back-up (incremental)"
    deployments = ("backup-hourly",)
    share = 0.5

    def set_up(self) -> None:
        self.run_sql(FILL)
        self.parameters = {"database": self.place.block(self.database), "store": self.store()}
        self.parameters |= {"kind": "incremental", "or_mark": True}
        self.take_backup(kind=BackupKind.PHYSICAL)
        self.whole = self.digest()

    def prepare(self) -> None:
        self.run_sql("UPDATE payment SET cents = cents")


class CheckBackups(Scene):
    """Reading every backup again, and restoring the newest for proof."""

    name = "check-backups"
    flow = "flows.check_backups:check_backups"
    deployments = ("check-backups",)

    def set_up(self) -> None:
        self.run_sql(FILL)
        # Without the server's log: other scenes of the same server have it archived, and not into this store.
        self.parameters = {"store": self.store()}
        self.take_backup()

    def promised(self) -> list[str]:
        return [*only_good_backups(self.backups.open()), *self.nothing_left()]
