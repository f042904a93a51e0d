"""What PostgreSQL calls the kinds of objects."""

from __future__ import annotations

from postgast import pg_query_pb2 as pg


def kind_of(object_type: int) -> str:
    """The words of an object's kind: `MATERIALIZED VIEW`, `FOREIGN TABLE`."""
    name = str(pg.ObjectType.Name(object_type)).removeprefix("OBJECT_")
    return {"MATVIEW": "MATERIALIZED VIEW", "TABCONSTRAINT": "CONSTRAINT"}.get(name, name.replace("_", " "))
