"""`make bench`: every benchmark, or those that are named.

python -m bench [lock-queue] [replay] [status] [batches] [backup] [pgbackrest] [switch-over] [tracer] [rehearsal]
[fleet] [fleet-flow] [fleet-memory] [sweep] [--output PAGE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bench import (
    backup,
    batches,
    fleet,
    fleet_flow,
    lock_queue,
    peers,
    rehearsal,
    replay,
    status,
    sweep,
    switch_over,
    tracer,
)
from bench.report import Finding, machine_facts, page
from squizzle.postgres.access import CONTROL_DATABASE, ServerAccess, connect
from squizzle.postgres.embedded import find_runtime, throwaway_cluster

# As initdb leaves them, but that a backfill need not pay for checkpoints that a real server has rarely.
SETTINGS = {"max_wal_size": "4GB"}
_NAMES = (
    *("lock-queue", "replay", "status", "batches", "backup", "pgbackrest", "switch-over", "tracer", "rehearsal"),
    *("fleet", "fleet-flow", "fleet-memory", "sweep"),
)

_Benchmark = Callable[[ServerAccess], Finding]


def main() -> None:
    """Run the benchmarks on one embedded server, and print what they found."""
    arguments = _arguments()
    known = _benchmarks(arguments)
    with throwaway_cluster("bench", settings=SETTINGS, runtime=find_runtime()) as server:
        access = ServerAccess(host=str(server.socket_folder), port=server.port, user=server.user)
        facts = machine_facts(_server_version(access))
        versions = _versions(access)
        print("\n".join((*facts, *versions)), flush=True)
        findings = []
        for name in dict.fromkeys(arguments.names or known):
            findings.append(known[name](access))
            print(findings[-1].text(), flush=True)
    if arguments.output:
        arguments.output.write_text(page(facts, versions, findings), encoding="utf-8")


def _benchmarks(arguments: argparse.Namespace) -> Mapping[str, _Benchmark]:
    return {
        "lock-queue": partial(lock_queue.measure, rounds=arguments.rounds, seconds=arguments.seconds),
        "replay": partial(replay.measure, rounds=arguments.rounds, migrations=arguments.migrations),
        "status": partial(status.measure, rounds=arguments.runs, migrations=arguments.applied),
        "batches": partial(batches.measure, rounds=arguments.rounds, rows=arguments.rows),
        "backup": partial(backup.measure, rounds=arguments.rounds, scale=arguments.scale),
        "pgbackrest": lambda _access: backup.measure_beside_pgbackrest(
            rounds=arguments.rounds, scale=arguments.scale, settings=SETTINGS
        ),
        "switch-over": partial(switch_over.measure, rounds=arguments.rounds),
        "tracer": partial(tracer.measure, rounds=arguments.rounds),
        "rehearsal": partial(rehearsal.measure, rounds=arguments.rounds, scale=arguments.shop_scale),
        "fleet": partial(fleet.measure, rounds=arguments.rounds, targets=arguments.targets),
        "fleet-flow": partial(fleet_flow.measure, targets=arguments.targets),
        "fleet-memory": fleet_flow.measure_memory,
        "sweep": partial(sweep.measure, rounds=arguments.rounds, targets=arguments.targets),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(_NAMES)}; all without a name")
    parser.add_argument("--rounds", type=int, default=3, help="of all but status")
    parser.add_argument("--seconds", type=float, default=16.0, help="how long lock-queue's clients work in a round")
    parser.add_argument("--migrations", type=int, default=500, help="in replay's history")
    parser.add_argument("--runs", type=int, default=11, help="of every status command")
    parser.add_argument("--applied", type=int, default=1000, help="in status's history")
    parser.add_argument("--rows", type=int, default=1_000_000, help="in the table that batches fills")
    parser.add_argument("--scale", type=int, default=50, help="of pgbench in backup, pgbackrest; 50 are 1.1 GB")
    parser.add_argument("--shop-scale", type=int, default=10, help="of the shop in rehearsal; 10 are 2 million rows")
    parser.add_argument("--targets", type=int, default=1000, help="databases of fleet and sweep; 1,000 take 8 GB")
    parser.add_argument("--output", type=Path, help="write the findings as a page of Markdown, too")
    arguments = parser.parse_args()
    if unknown := set(arguments.names).difference(_NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; known are {', '.join(_NAMES)}")
    return arguments


def _server_version(access: ServerAccess) -> str:
    with connect(access, CONTROL_DATABASE, purpose="bench") as connection:
        number = connection.info.server_version
    return f"{number // 10000}.{number % 10000}"


def _versions(access: ServerAccess) -> tuple[str, ...]:
    found = (peers.find_squizzle(), peers.find_psql(access), peers.find_dbmate(), peers.find_alembic())
    return tuple(peer.sentence() for peer in found)


if __name__ == "__main__":
    main()
