"""The verb that writes numbers for Prometheus."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from squizzle.backups.memory import memory_of
from squizzle.backups.remembered import remembered_catalogue
from squizzle.backups.store import BackupStore
from squizzle.cli.backups import store_of
from squizzle.cli.names import fleets
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, say
from squizzle.drills.figures import DRILLS, DrillFigures
from squizzle.errors import BackupDamagedError, InvalidInputError, SquizzleError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.rehearsal.certificate_store import read_certificates
from squizzle.reports.metrics import (
    FleetFacts,
    StoreFacts,
    exposition,
    fleet_families,
    newest_backups,
    store_families,
    written_at,
)
from squizzle.rollout.discovery import discover_fleet
from squizzle.settings.fleets import fleet_named
from squizzle.sweep.control import default_control
from squizzle.sweep.ledger import count_firing, read_note

# Whoever reads the file is another account: node_exporter's.
_MODE = 0o644


@click.command()
@click.argument("fleets", nargs=-1, metavar="[FLEET]...", shell_complete=fleets)
@click.option("--store", "address", metavar="URL", help="Backups and certificates; without it: [backups] store.")
@click.option(
    "--textfile", type=click.Path(path_type=Path), metavar="FILE", help="Put it there at once, as a whole; else stdout."
)
@common_options
def metrics(invocation: Invocation, fleets: tuple[str, ...], *, address: str | None, textfile: Path | None) -> int:
    """Write numbers for Prometheus: fleets (all of squizzle.toml, unless some are named) and the store of backups.

    Nothing is looked at anew: it tells what the last sweep found, and when that was. What cannot be read is written as
    0 (squizzle_control_up, squizzle_store_up), and is the exit code. Alerts are kept in the fleet's first canary; name
    another control database by --env or --url.

    \b
    Examples:
      squizzle metrics --textfile /var/lib/node_exporter/squizzle.prom
      squizzle metrics shops --store s3://backups/shops
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    config = invocation.config
    if not (fleets or config.fleets or address or config.backups.store):
        raise InvalidInputError(
            "there is neither a fleet nor a store to tell of",
            hint="add [fleets.NAME] to squizzle.toml, or give --store",
        )
    problems: list[SquizzleError] = []
    now = datetime.now(UTC)
    families = [
        written_at(now),
        *fleet_families([_fleet(invocation, name, problems) for name in fleets or tuple(config.fleets)]),
    ]
    if address or config.backups.store:
        families += store_families(_store(invocation, address, problems, now), now)
    text = exposition(families)
    for problem in problems:
        say(f"warning: {problem.message}")
    if textfile is not None:
        _put(textfile, text)
    document = [
        {"name": one.name, "labels": dict(labels), "value": value} for one in families for labels, value in one.samples
    ]
    shown = "" if textfile is not None else text.rstrip("\n")
    told = {"metrics": document, "problems": [one.message for one in problems]}
    print_result(told, shown, as_json=invocation.as_json)
    return problems[0].code if problems else 0


def _fleet(invocation: Invocation, name: str, problems: list[SquizzleError]) -> FleetFacts:
    try:
        access, database = _control(invocation, name)
        with connect(access, database, purpose="metrics", read_only=True) as connection:
            note, firing = read_note(connection, name), count_firing(connection, name)
    except InvalidInputError:
        raise
    except SquizzleError as exc:
        problems.append(exc)
        return FleetFacts(fleet=name, is_read=False)
    return FleetFacts(fleet=name, is_read=True, note=note, firing=firing)


def _control(invocation: Invocation, name: str) -> tuple[ServerAccess, str]:
    if invocation.environment or invocation.url:
        access, target = invocation.target()
        return access, target.database
    settings = fleet_named(invocation.config.fleets, name)
    schema = invocation.schema or invocation.config.schema
    found = discover_fleet(settings, default_schema=schema, environ=os.environ)
    access, target = default_control(found, environ=os.environ)
    return access, target.database


def _store(invocation: Invocation, address: str | None, problems: list[SquizzleError], now: datetime) -> StoreFacts:
    try:
        store = store_of(address, invocation.config)
        known = remembered_catalogue(store, memory_of(store.address), now=now, counts=newest_backups)
        return StoreFacts(
            is_read=True,
            entries=known.entries,
            certificates=read_certificates(store, texts=known.texts).found,
            drills=_drills(store, problems),
        )
    except InvalidInputError:
        raise
    except SquizzleError as exc:
        problems.append(exc)
        return StoreFacts(is_read=False)


def _drills(store: BackupStore, problems: list[SquizzleError]) -> tuple[DrillFigures, ...]:
    if not store.list_paths(DRILLS):
        return ()
    from squizzle.frames.drills import read_drills  # noqa: PLC0415 - pandas costs 0.7 s

    found = read_drills(store)
    problems += [
        BackupDamagedError(one, hint="find out who changed it; the other drills count") for one in found.problems
    ]
    return found.figures


def _put(file: Path, text: str) -> None:
    """Nobody ever reads a half of it, and no other name that ends in .prom appears."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}-", suffix=".tmp", delete=False
        ) as new:
            try:
                new.write(text)
                new.close()
                Path(new.name).chmod(_MODE)
                Path(new.name).replace(file)
            except BaseException:
                Path(new.name).unlink(missing_ok=True)
                raise
    except OSError as exc:
        raise InvalidInputError(f"{file} cannot be written: {exc.strerror}", hint="name another file") from exc
