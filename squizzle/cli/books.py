"""Which books of another tool a command keeps."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.cli.options import Invocation
from squizzle.migrations.bookkeeping import ToolBooks, open_books
from squizzle.migrations.records import Migration


def kept_books(invocation: Invocation, migrations: Sequence[Migration]) -> ToolBooks | None:
    """Those of the folder's tool when the project wants them kept in step (`keep_in_step`), else none.

    Raises:
        InvalidInputError: They should be kept, and the layout is of no tool that has any.
    """
    if not invocation.config.keep_in_step:
        return None
    return open_books(invocation.folder, invocation.folder_layout(), migrations)
