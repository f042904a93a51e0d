"""What one run of the drill is to play, whoever asked for it: a form or a command."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from squizzle.chaos.settings import VARIABLE
from squizzle.config import CONFIG_NAME, PRODUCTION
from squizzle.drills.records import DrillScenario
from squizzle.errors import RefusedError
from tasks.sources import DatabaseSource, StoreSource


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillCase:
    """The disasters of one run.

    Attributes:
        scenario: The disaster, or all.
        scale: Size of the example's data; 1 is about 200,000 rows.
        seed: Draws what is random; None draws one.
        server: Where to play; None for an embedded server.
        store: Where the drill's backups go; None for a folder that goes with it.
        source: Whose newest backup is played with; None for the example company.
        source_store: Where that backup is.
        production: Production's server, which is proven not to be touched; None for none.
        production_store: Its backups, and the archive of its log.
        configuration: squizzle.toml; need not be there.

    Raises:
        RefusedError: A source without the store with its backups; or a production one, and chaos is on.
    """

    scenario: DrillScenario
    scale: float = 1.0
    seed: int | None = None
    server: PostgresDatabase | None = None
    store: BackupFolder | BackupBucket | None = None
    source: DatabaseSource | None = None
    source_store: StoreSource | None = None
    production: DatabaseSource | None = None
    production_store: StoreSource | None = None
    configuration: Path = Path(CONFIG_NAME)

    def __post_init__(self) -> None:
        if self.source is None:
            return
        if self.source_store is None:
            raise RefusedError(
                f"a drill with the data of {self.source.database} needs the store with its backups",
                hint="choose the Store, too; or no Source, to play with the example company",
            )
        if self.source.environment == PRODUCTION and os.environ.get(VARIABLE):
            raise RefusedError(
                f"chaos is on, and {self.source.database} is production; nothing was done",
                hint="play with its data without chaos, or with the example company",
            )
