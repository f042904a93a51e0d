"""The way back of DROP. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Address, Definitions
from squizzle.migrations.reversal.records import Reverse, Reversibility, Saving, irreversible, nothing_to_do
from squizzle.migrations.reversal.remaking import bring_back
from squizzle.migrations.reversal.saving import Saved, save_table
from squizzle.migrations.reversal.trees import address_of, dotted


def reverse_drop(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """DROP of any kind: everything that goes is made again from its own definition."""
    statement = tree.drop_stmt
    if definitions is None:
        return irreversible("the definition is not known without a database in the state before the script")
    addresses = [address_of(statement.remove_type, item) for item in statement.objects]
    if all(one is not None and one.names[0] == "pg_temp" for one in addresses):
        return nothing_to_do("temporary: it ends with the session")
    known = [one for one in addresses if one is not None]
    there = [one for one in known if definitions.exists(one)]
    if statement.missing_ok and not there and len(known) == len(addresses):
        return nothing_to_do("there was no such object, so nothing was dropped")
    what = ", ".join(dotted(one.names) for one in there) or "it"
    back = bring_back(definitions, there, what=what)
    saved = save_dropped(statement, definitions, there, context)
    if back.reversibility is Reversibility.LOSSY and saved:
        return _with_saved_rows(back, saved)
    return _of_new_tables(back, statement, context)


def _of_new_tables(back: Reverse, statement: Tree, context: Context) -> Reverse:
    """A table that the script itself made held nothing before it."""
    if statement.remove_type != pb.OBJECT_TABLE or back.reversibility is not Reversibility.LOSSY:
        return back
    names = [dotted(one.string.sval for one in item.list.items) for item in statement.objects]
    if not all(name in context.created for name in names):
        return back
    return Reverse(statements=back.statements, reason="the script itself made it, so no row of before is lost")


def save_dropped(
    statement: Tree, definitions: Definitions, addresses: Sequence[Address], context: Context
) -> tuple[Saved, ...]:
    """How the rows of tables that are dropped are kept; empty where they are not, or cannot be."""
    if not context.saves or statement.remove_type != pb.OBJECT_TABLE:
        return ()
    tables = definitions.tables_lost(addresses)
    return tuple(save_table(definitions, table, context, stays=False, positions=True) for table in tables)


def _with_saved_rows(back: Reverse, saved: Sequence[Saved]) -> Reverse:
    saving = sum((one.saving for one in saved), Saving())
    names = ", ".join(one.table for one in saving.tables)
    return Reverse(
        statements=_before_references((*back.statements,), tuple(text for one in saved for text in one.restore)),
        reason=f"made again from its definition, with what was saved of {names}",
        save=saving,
    )


def _before_references(statements: tuple[str, ...], rows: tuple[str, ...]) -> tuple[str, ...]:
    """Rows come back before foreign keys and triggers that would look at them."""
    late = tuple(text for text in statements if " FOREIGN KEY " in text or text.startswith("CREATE TRIGGER"))
    early = tuple(text for text in statements if text not in late)
    return (*early, *rows, *late)
