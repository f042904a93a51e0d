"""What the verbs say about saved rows."""

from __future__ import annotations

from squizzle.migrations.saved_rows import SavedRows


def saved_document(saved: SavedRows) -> list[dict[str, object]]:
    """Saved rows as JSON has them."""
    return [{"line": one.line, "table": one.table, "rows": one.rows, "saved_in": one.name} for one in saved.tables]
