"""Blocks come into flows by reference only."""

from __future__ import annotations

import os

from prefect.blocks.core import Block

from blocks.postgres_database import PostgresDatabase
from squizzle.chaos.settings import VARIABLE
from squizzle.config import PRODUCTION
from squizzle.errors import RefusedError


def refuse_inline(*blocks: Block | None) -> None:
    """Refuse a block that was typed into a run's parameters instead of being saved.

    Prefect stores parameters in clear, so an inline block would put its password into the database and on the page of
    the run; a reference puts only its id there.

    Raises:
        RefusedError: A block has no saved document behind it; or it is of a production database, and chaos is on.
    """
    for block in blocks:
        if isinstance(block, PostgresDatabase) and block.environment == PRODUCTION and os.environ.get(VARIABLE):
            raise RefusedError(
                f"{VARIABLE} is set, and {block.database} is production; nothing was done",
                hint=f"unset {VARIABLE} for runs that reach production; no setting allows chaos there",
            )
        if block is not None and block._block_document_id is None:  # noqa: SLF001 - Prefect has no public name for it
            raise RefusedError(
                f"{type(block).__name__} was given inline, so its secrets are stored in this run's parameters",
                hint="save it as a block and choose it in the form; delete this run and change the password",
            )
