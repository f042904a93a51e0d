"""`python -m sandbox.load FOLDER PORT USER`: the application of a few shops.

It reads and writes until it is ended.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import psycopg

from sandbox.fleet import BUSY

_PAUSE_S = 0.5
# Orders go again, so that a sandbox that runs for days stays small.
_KEEP = "10 min"


@dataclass(kw_only=True, slots=True)
class Application:
    """What one shop's application does; a session that was ended is opened again, as applications do.

    Attributes:
        conninfo: How its database is reached.
        name: The shop's.
    """

    conninfo: str
    name: str
    session: psycopg.Connection[tuple[object, ...]] | None = None
    is_well: bool = True

    def work(self) -> None:
        """Take one order and read a little; what goes wrong is a line of the log, once until it is well again."""
        try:
            if self.session is None:
                self.session = psycopg.connect(self.conninfo, autocommit=True)
            self._order(self.session)
        except psycopg.Error as exc:
            if self.is_well:
                print(f"{self.name}: {exc}", flush=True)
            self.is_well = False
            if self.session is not None:
                self.session.close()
            self.session = None
        else:
            if not self.is_well:
                print(f"{self.name}: works again", flush=True)
            self.is_well = True

    def _order(self, session: psycopg.Connection[tuple[object, ...]]) -> None:
        session.execute(
            "INSERT INTO orders (customer_id, amount_cents)"
            " SELECT id, 1000 + (random() * 5000)::int FROM customers ORDER BY random() LIMIT 1"
        )
        session.execute("SELECT count(*), sum(amount_cents) FROM orders WHERE placed_at > now() - interval '1 h'")
        session.execute("DELETE FROM orders WHERE placed_at < now() - %s::interval AND id > 1000", (_KEEP,))


def main(folder: str, port: str, user: str) -> None:
    """Work until the process is ended."""
    options = "-c statement_timeout=5s"
    applications = [
        Application(
            name=name,
            conninfo=psycopg.conninfo.make_conninfo(
                host=folder, port=port, user=user, dbname=name, application_name="shop", options=options
            ),
        )
        for name in BUSY
    ]
    while True:
        for one in applications:
            one.work()
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
