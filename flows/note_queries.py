"""The baseline of queries: what they cost while all is well, to tell later which became slower."""

from __future__ import annotations

from typing import Annotated

from prefect import flow

from blocks import PostgresDatabase
from blocks.references import refuse_inline
from flows.forms import shown
from flows.run_names import run_named
from squizzle import __version__
from tasks.health import note_query_costs
from tasks.outcome import ends_in_our_words
from tasks.steps import keep_journal

DESCRIPTION = """\
Keeps what every kind of query costs now, from `pg_stat_statements`, as what it costs when all is well.

`relieve-load` and `squizzle queries` compare with the newest one. It is kept in the database itself
(`squizzle.query_baseline`, the newest ten); nothing else is changed. Without the extension it fails and says how to get
it.
"""

Database = Annotated[PostgresDatabase, shown(title="Database", description="Whose queries.")]
Label = Annotated[str, shown(title="Label", min_length=1, max_length=200, description="What it is called in reports.")]


@flow(
    name="note-queries",
    flow_run_name=run_named("note queries of {database}"),
    description=DESCRIPTION,
    persist_result=False,
    version=__version__,
)
@ends_in_our_words
def note_queries(database: Database, label: Label = "nightly") -> int:
    """Note what queries cost.

    Args:
        database: Whose queries.
        label: What the baseline is called.

    Returns:
        How many kinds of query were noted.
    """
    refuse_inline(database)
    with keep_journal():
        return len(note_query_costs(database, label=label).queries)
