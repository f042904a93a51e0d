"""The verb that takes over from another tool: adopt."""

from __future__ import annotations

import click

from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.errors import InvalidInputError
from squizzle.migrations.adoption import ADOPTABLE, Adopted, adopt_history, preview_adoption
from squizzle.postgres.access import connect
from squizzle.postgres.identity import read_identity


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would be adopted.")
@common_options
def adopt(invocation: Invocation, *, dry_run: bool) -> None:
    """Fill the history from the bookkeeping of the tool that was used so far; no script is run.

    The tool is the layout's: golang-migrate, diesel, dbmate, goose, sql-migrate, flyway, sqitch or
    alembic. Its own table is only read.
    """
    access, target = invocation.target()
    migrations = invocation.migrations()
    layout = invocation.folder_layout()
    if layout not in ADOPTABLE:
        raise InvalidInputError(f"there is nothing to adopt from the layout {layout!r}", hint="name one with --layout")
    with connect(access, target.database, purpose="adoption") as connection:
        if not dry_run:
            invocation.confirm("adopt the history", target, read_identity(connection))
        take = preview_adoption if dry_run else adopt_history
        adopted = take(connection, target, migrations, layout)
    print_result(_document(adopted, dry_run=dry_run), _text(adopted, layout), as_json=invocation.as_json)


def _document(adopted: tuple[Adopted, ...], *, dry_run: bool) -> dict[str, object]:
    return {
        "adopted": [
            {
                "version": one.migration.version,
                "name": one.migration.name,
                "applied_at": one.applied_at.isoformat() if one.applied_at else None,
            }
            for one in adopted
        ],
        "current": adopted[-1].migration.version if adopted else None,
        "dry_run": dry_run,
    }


def _text(adopted: tuple[Adopted, ...], layout: str) -> str:
    rows = [
        (
            one.migration.version,
            one.migration.name,
            f"{one.applied_at:%Y-%m-%d %H:%M}" if one.applied_at else "not kept",
        )
        for one in adopted
    ]
    head = f"{len(adopted)} versions adopted from {layout}"
    return "\n".join([head, "", table(("version", "name", "applied at"), rows)]) if rows else head


def _when(one: Adopted) -> str:
    return f"{one.applied_at:%Y-%m-%d %H:%M %Z}" if one.applied_at else "not kept"
