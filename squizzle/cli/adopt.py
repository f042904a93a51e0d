"""The verb that takes over from another tool: adopt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.migrations.adoption import Adoption, Trust, adopt_history, preview_adoption
from squizzle.migrations.bookkeeping import open_books
from squizzle.migrations.records import Migration
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.postgres.identity import read_identity


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would be adopted.")
@click.option(
    "--trust",
    type=click.Choice([one.value for one in Trust]),
    help="What only the history has: was it rolled back with the tool (books), or do its books lack it (history)?",
)
@common_options
def adopt(invocation: Invocation, *, dry_run: bool, trust: str | None) -> None:
    """Fill the history from the bookkeeping of the tool that was used so far; no script is run.

    The tool is the layout's: golang-migrate, diesel, dbmate, goose, sql-migrate, flyway, sqitch or alembic. Its own
    table is only read, unless --trust history says that it should be completed. Once adopted, what the tool did since
    is taken in by adopting again.

    \b
    Examples:
      squizzle adopt --env staging --dry-run
      squizzle adopt --env staging
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    layout = invocation.folder_layout()
    books = open_books(invocation.folder, layout, invocation.migrations())
    trusted = Trust(trust) if trust else None
    with connect(access, target.database, purpose="adoption") as connection:
        if not dry_run:
            invocation.confirm("adopt the history", target, read_identity(connection))
        take = preview_adoption if dry_run else adopt_history
        adoption = take(connection, target, books, trust=trusted)
    print_result(_document(adoption, dry_run=dry_run), _text(adoption, layout), as_json=invocation.as_json)


def _document(adoption: Adoption, *, dry_run: bool) -> dict[str, object]:
    versioned = [one.migration.version for one in adoption.adopted if not one.migration.repeatable]
    return {
        "adopted": [
            {
                "version": one.migration.version,
                "name": one.migration.name,
                "applied_at": one.applied_at.isoformat() if one.applied_at else None,
            }
            for one in adoption.adopted
        ],
        "rolled_back": _names(adoption.rolled_back),
        "written": _names(adoption.written),
        "current": versioned[-1] if versioned else None,
        "dry_run": dry_run,
    }


def _names(migrations: Sequence[Migration]) -> list[dict[str, str]]:
    return [{"version": one.version, "name": one.name} for one in migrations]


def _text(adoption: Adoption, layout: str) -> str:
    head = f"{number_of(len(adoption.adopted), 'version')} adopted from {layout}"
    rows = list(_rows(adoption))
    return "\n".join([head, "", table(("version", "name", "what", "applied at"), rows)]) if rows else head


def _rows(adoption: Adoption) -> Iterator[tuple[str, str, str, str]]:
    for one in adoption.adopted:
        at = f"{one.applied_at:%Y-%m-%d %H:%M}" if one.applied_at else "not kept"
        yield one.migration.version, one.migration.name, "adopted", at
    for migration in adoption.rolled_back:
        yield migration.version, migration.name, "noted as rolled back", ""
    for migration in adoption.written:
        yield migration.version, migration.name, "written into its books", ""
