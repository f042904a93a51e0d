"""Blocks come into flows by reference only."""

from __future__ import annotations

from prefect.blocks.core import Block

from squizzle.errors import RefusedError


def refuse_inline(*blocks: Block | None) -> None:
    """Refuse a block that was typed into a run's parameters instead of being saved.

    Prefect stores parameters in clear, so an inline block would put its password into the database and on the page of
    the run; a reference puts only its id there.

    Raises:
        RefusedError: A block has no saved document behind it.
    """
    for block in blocks:
        if block is not None and block._block_document_id is None:  # noqa: SLF001 - Prefect has no public name for it
            raise RefusedError(
                f"{type(block).__name__} was given inline, so its secrets are stored in this run's parameters",
                hint="save it as a block and choose it in the form; delete this run and change the password",
            )
