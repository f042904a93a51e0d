"""Definitions read from a live database: its catalogue, and a dump of its schema where whole objects are asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors

from squizzle.migrations.reversal.archive import Entry, read_archive
from squizzle.migrations.reversal.catalogue_rows import LostRow, relation_of
from squizzle.migrations.reversal.definitions import (
    Address,
    Constraint,
    Domain,
    Enum,
    EnumColumn,
    Grant,
    Lost,
    LostColumn,
    Relation,
    SequenceFacts,
)
from squizzle.migrations.reversal.restoring import chosen_entries, dropping, making
from squizzle.migrations.reversal.routines import Routine, writing
from squizzle.migrations.reversal.trees import dotted
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.client_run import run_client
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

_PACKAGE = "squizzle.migrations.reversal"
_DUMP_TIMEOUT = timedelta(minutes=10)
# Not there, or not by that name: the statement before us will fail by itself.
_NOT_THERE = (
    errors.UndefinedObject,
    errors.UndefinedTable,
    errors.UndefinedFunction,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
    errors.AmbiguousFunction,
    errors.WrongObjectType,
    errors.InvalidName,
)

# Their definitions hold passwords.
_SECRET = frozenset({"SUBSCRIPTION", "USER MAPPING"})

_ID = tuple[int, int, int]


class Catalogue:
    """Implements `Definitions` with a session in the database; reads, and changes nothing.

    Args:
        connection: A session in autocommit mode whose search_path is the script's.
        access: The same server and account, for pg_dump; None where nobody asks for whole objects.
        programs: pg_dump of the server's major version or newer; None as for `access`.
    """

    def __init__(
        self, connection: Connection, *, access: ServerAccess | None = None, programs: ClientPrograms | None = None
    ) -> None:
        self._connection = connection
        self._access = access
        self._programs = programs
        self._entries: tuple[Entry, ...] | None = None

    def forget(self) -> None:
        """A statement changed the database: what was dumped is of the past."""
        self._entries = None

    def exists(self, address: Address) -> bool:
        return self._find(address) is not None

    def comment(self, address: Address) -> str | None:
        found = self._find(address)
        if found is None:
            return None
        catalogue, oid, part = found
        if part:
            return _text(self._value("SELECT col_description(%s, %s)", (oid, part)))
        shared = "SELECT coalesce(obj_description(%s, c.relname), shobj_description(%s, c.relname)) FROM pg_class c"
        return _text(self._value(f"{shared} WHERE c.oid = %s", (oid, oid, catalogue)))

    def owner(self, address: Address) -> str | None:
        found = self._find(address)
        return None if found is None else self._identity_part(found, _OWNER)

    def schema(self, address: Address) -> str | None:
        found = self._find(address)
        if found is None:
            return None
        query = "SELECT i.schema FROM pg_identify_object(%s, %s, 0) i"
        quoted_name = _text(self._value(query, found[:2]))
        if quoted_name is None:
            return None
        return _text(self._value("SELECT (parse_ident(%s))[1]", (quoted_name,)))

    def grants(self, address: Address) -> tuple[Grant, ...]:
        found = self._find(address)
        if found is None:
            return ()
        rows = self._rows(load_sql(_PACKAGE, "grants"), {"catalogue": found[0], "oid": found[1]})
        return tuple(
            Grant(grantee=grantee, privilege=privilege, grantable=grantable, column=column)
            for grantee, privilege, grantable, column in rows
        )

    def relation(self, name: str) -> Relation | None:
        found = self._value(load_sql(_PACKAGE, "relation"), {"name": name})
        return relation_of(found) if isinstance(found, dict) else None

    def lost(self, addresses: Sequence[Address]) -> Lost:
        rows = self._lost_rows(addresses)
        return self._lost(rows) if rows else Lost()

    def tables_lost(self, addresses: Sequence[Address]) -> tuple[str, ...]:
        rows = self._lost_rows(addresses)
        whole = {(row.catalogue, row.oid) for row in rows if not row.part}
        if any(row.is_column_of_another(whole) for row in rows):
            return ()
        return tuple(row.relation or "" for row in rows if not row.part and row.kind == "r")

    def _lost_rows(self, addresses: Sequence[Address]) -> list[LostRow]:
        roots = [one for one in map(self._find, addresses) if one is not None]
        if not roots:
            return []
        classes, objects, parts = (list(one) for one in zip(*roots, strict=True))
        rows = self._rows(load_sql(_PACKAGE, "lost_objects"), {"classes": classes, "objects": objects, "parts": parts})
        return [LostRow(*row) for row in rows]

    def current_user(self) -> str:
        return str(self._value("SELECT quote_ident(current_user)", {}))

    def made(self, address: Address) -> tuple[str, ...]:
        found = self._find(address)
        if found is None:
            return ()
        return making(chosen_entries(self._dump(), {found[:2]}), current_user=self._user())

    def options(self, address: Address) -> Mapping[str, str]:
        found = self._find(address)
        query = """
            SELECT o.option_name, o.option_value FROM (
                SELECT srvoptions FROM pg_foreign_server
                WHERE %(catalogue)s = 'pg_foreign_server'::regclass AND oid = %(oid)s
                UNION ALL SELECT fdwoptions FROM pg_foreign_data_wrapper
                WHERE %(catalogue)s = 'pg_foreign_data_wrapper'::regclass AND oid = %(oid)s
            ) AS one (options), pg_options_to_table(one.options) o
        """
        return dict(self._rows(query, {"catalogue": found[0], "oid": found[1]})) if found else {}

    def sequence(self, address: Address) -> SequenceFacts | None:
        found = self._find(address)
        row = self._row(load_sql(_PACKAGE, "sequence"), {"oid": found[1] if found else 0})
        return None if row is None else SequenceFacts(**dict(zip(_SEQUENCE_FIELDS, row, strict=True)))

    def domain(self, address: Address) -> Domain | None:
        found = self._find(address)
        row = self._row(load_sql(_PACKAGE, "domain"), {"oid": found[1] if found else 0})
        if row is None:
            return None
        name, not_null, default, constraints = row
        return Domain(
            name=name,
            not_null=not_null,
            default=default,
            constraints=tuple(Constraint(type="c", **one) for one in constraints),
        )

    def enum(self, address: Address) -> Enum | None:
        found = self._find(address)
        row = self._row(load_sql(_PACKAGE, "enum"), {"oid": found[1] if found else 0})
        if row is None:
            return None
        name, schema, bare, labels, columns, users = row
        return Enum(
            name=name,
            schema=schema,
            bare=bare,
            labels=tuple(labels),
            columns=tuple(EnumColumn(**one) for one in columns),
            other_users=tuple(users),
        )

    def default_grants(self, role: str | None, schema: str | None, kind: str) -> tuple[Grant, ...]:
        rows = self._rows(load_sql(_PACKAGE, "default_grants"), {"role": role, "schema": schema, "kind": kind})
        return tuple(Grant(grantee=who, privilege=what, grantable=further) for who, what, further in rows)

    def in_schema(self, schema: str, kinds: str) -> tuple[str, ...]:
        query = (
            "SELECT format('%%I.%%I', n.nspname, c.relname)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %(schema)s AND strpos(%(kinds)s, c.relkind::text) > 0 ORDER BY 1"
        )
        return tuple(str(name) for (name,) in self._rows(query, {"schema": schema, "kinds": kinds}))

    def descendants(self, name: str) -> tuple[str, ...]:
        query = (
            "WITH RECURSIVE below (oid) AS (SELECT to_regclass(%(name)s)::oid"
            " UNION SELECT i.inhrelid FROM pg_inherits i JOIN below b ON i.inhparent = b.oid)"
            " SELECT oid::regclass::text FROM below"
            " WHERE oid <> to_regclass(%(name)s) ORDER BY 1"
        )
        return tuple(str(found) for (found,) in self._rows(query, {"name": name}))

    def writing(self, names: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
        rows = self._rows(load_sql(_PACKAGE, "routines"), {})
        return writing(
            names,
            [
                Routine(schema=schema, name=name, may_write=may_write, readable=readable, text=text)
                for schema, name, may_write, readable, text in rows
            ],
        )

    def taken(self, name: str, schema: str) -> bool:
        query = (
            "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %(schema)s AND c.relname = %(name)s)"
            " OR EXISTS (SELECT FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace"
            " WHERE n.nspname = %(schema)s AND k.conname = %(name)s)"
        )
        return self._value(query, {"name": name, "schema": schema}) is True

    def _identity_part(self, found: _ID, query: str) -> str | None:
        return _text(self._value(query, {"catalogue": found[0], "oid": found[1]}))

    def _find(self, address: Address) -> _ID | None:
        try:
            row = self._find_row(address)
        except _NOT_THERE:
            return None
        return None if row is None or row[0] is None or row[1] is None else (int(row[0]), int(row[1]), int(row[2]))

    def _find_row(self, address: Address) -> tuple[Any, ...] | None:
        parameters = {
            "kind": address.kind,
            "names": list(address.names),
            "args": list(address.args),
            "dotted": dotted(address.names),
            "first": address.names[0],
            "last": address.names[-1],
        }
        query = _FIND_BY_NAME if address.by_name else _FIND.get(address.kind, _FIND_ANY)
        return self._row(query, parameters)

    def _lost(self, rows: Sequence[LostRow]) -> Lost:
        whole = {(row.catalogue, row.oid) for row in rows if not row.part}
        entries = [one for one in chosen_entries(self._dump(), whole) if one.kind not in _SECRET]
        covered = {(entry.catalogue, entry.oid) for entry in entries}
        inline = [row for row in rows if row.is_inline_constraint(covered)]
        kept_with = covered | {(row.catalogue, row.oid) for row in inline}
        return Lost(
            restore=(
                *making(entries, current_user=self._user()),
                *(text for row in inline for text in row.making()),
                *(f"REFRESH MATERIALIZED VIEW {row.relation}" for row in rows if row.filled and not row.part),
            ),
            drop=(*(row.dropping() for row in reversed(inline)), *dropping(entries)),
            columns=tuple(
                LostColumn(table=row.relation or "", name=row.column or "")
                for row in rows
                if row.is_column_of_another(whole)
            ),
            tables=tuple(row.relation or "" for row in rows if not row.part and row.kind == "r"),
            sequences=tuple(row.relation or "" for row in rows if not row.part and row.kind == "S"),
            unknown=tuple(row.label for row in rows if row.is_unknown(kept_with, whole)),
            labels=tuple(row.label for row in rows if not row.internal),
        )

    def _user(self) -> str:
        return str(self._value("SELECT current_user", {}))

    def _dump(self) -> tuple[Entry, ...]:
        if self._access is None or self._programs is None:
            raise AssertionError("whole objects were asked for of a catalogue that cannot dump them")
        if self._entries is None:
            self._entries = dump_schema(self._access, self._connection.info.dbname, self._programs)
        return self._entries

    def _value(self, query: str, parameters: Mapping[str, object] | Sequence[object]) -> object:
        row = self._row(query, parameters)
        return None if row is None else row[0]

    def _row(self, query: str, parameters: Mapping[str, object] | Sequence[object]) -> tuple[Any, ...] | None:
        rows = self._rows(query, parameters)
        return rows[0] if rows else None

    def _rows(self, query: str, parameters: Mapping[str, object] | Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query.encode(), parameters).fetchall()
        except _NOT_THERE:
            raise
        except psycopg.Error as exc:
            raise translate_error(exc, doing="read a definition from the catalogue") from exc


_FIND_ANY = (
    "SELECT a.classid, a.objid, a.objsubid FROM pg_get_object_address(%(kind)s, %(names)s::text[], %(args)s::text[]) a"
)
_FIND_BY_NAME = "SELECT 'pg_proc'::regclass::oid, to_regproc(%(dotted)s)::oid, 0"
_FIND_TYPE = "SELECT 'pg_type'::regclass::oid, to_regtype(%(first)s)::oid, 0"
# Kinds that are found otherwise: a relation by its name whatever it is, things by their already quoted names.
_FIND = {
    "relation": "SELECT 'pg_class'::regclass::oid, to_regclass(%(dotted)s)::oid, 0",
    "named": "SELECT 'pg_class'::regclass::oid, to_regclass(%(first)s)::oid, 0",
    "type": _FIND_TYPE,
    "domain": _FIND_TYPE,
    "column of": (
        "SELECT 'pg_class'::regclass::oid, a.attrelid, a.attnum FROM pg_attribute a"
        " WHERE a.attrelid = to_regclass(%(first)s) AND a.attname = %(last)s AND NOT a.attisdropped"
    ),
    "constraint of": (
        "SELECT 'pg_constraint'::regclass::oid, k.oid, 0 FROM pg_constraint k"
        " WHERE k.conrelid = to_regclass(%(first)s) AND k.conname = %(last)s"
    ),
}


def dump_schema(access: ServerAccess, database: str, programs: ClientPrograms) -> tuple[Entry, ...]:
    """Every definition of a database, read by pg_dump. Nothing is changed.

    Raises:
        ToolError: pg_dump failed.
    """
    with tempfile.TemporaryDirectory(prefix="squizzle-schema-") as folder:
        file = Path(folder) / "schema.dump"
        run_client(
            programs.path("pg_dump"),
            ["--schema-only", "--format=custom", "--compress=0", "--no-password", f"--file={file}"],
            access=access,
            database=database,
            doing=f"read the definitions of {database}",
            timeout=_DUMP_TIMEOUT,
        )
        return read_archive(file.read_bytes())


_SEQUENCE_FIELDS = (
    "name",
    "type",
    "start",
    "increment",
    "minimum",
    "maximum",
    "cache",
    "cycle",
    "persistence",
    "owned_by",
)

# The column that names the owner differs between catalogues.
_OWNER = """
    SELECT quote_ident(pg_get_userbyid(coalesce(
        (SELECT relowner FROM pg_class WHERE %(catalogue)s = 'pg_class'::regclass AND oid = %(oid)s),
        (SELECT nspowner FROM pg_namespace WHERE %(catalogue)s = 'pg_namespace'::regclass AND oid = %(oid)s),
        (SELECT proowner FROM pg_proc WHERE %(catalogue)s = 'pg_proc'::regclass AND oid = %(oid)s),
        (SELECT typowner FROM pg_type WHERE %(catalogue)s = 'pg_type'::regclass AND oid = %(oid)s),
        (SELECT oprowner FROM pg_operator WHERE %(catalogue)s = 'pg_operator'::regclass AND oid = %(oid)s),
        (SELECT opcowner FROM pg_opclass WHERE %(catalogue)s = 'pg_opclass'::regclass AND oid = %(oid)s),
        (SELECT opfowner FROM pg_opfamily WHERE %(catalogue)s = 'pg_opfamily'::regclass AND oid = %(oid)s),
        (SELECT collowner FROM pg_collation WHERE %(catalogue)s = 'pg_collation'::regclass AND oid = %(oid)s),
        (SELECT conowner FROM pg_conversion WHERE %(catalogue)s = 'pg_conversion'::regclass AND oid = %(oid)s),
        (SELECT stxowner FROM pg_statistic_ext WHERE %(catalogue)s = 'pg_statistic_ext'::regclass AND oid = %(oid)s),
        (SELECT dictowner FROM pg_ts_dict WHERE %(catalogue)s = 'pg_ts_dict'::regclass AND oid = %(oid)s),
        (SELECT cfgowner FROM pg_ts_config WHERE %(catalogue)s = 'pg_ts_config'::regclass AND oid = %(oid)s),
        (SELECT lanowner FROM pg_language WHERE %(catalogue)s = 'pg_language'::regclass AND oid = %(oid)s),
        (SELECT fdwowner FROM pg_foreign_data_wrapper
         WHERE %(catalogue)s = 'pg_foreign_data_wrapper'::regclass AND oid = %(oid)s),
        (SELECT srvowner FROM pg_foreign_server WHERE %(catalogue)s = 'pg_foreign_server'::regclass AND oid = %(oid)s),
        (SELECT evtowner FROM pg_event_trigger WHERE %(catalogue)s = 'pg_event_trigger'::regclass AND oid = %(oid)s),
        (SELECT pubowner FROM pg_publication WHERE %(catalogue)s = 'pg_publication'::regclass AND oid = %(oid)s),
        (SELECT datdba FROM pg_database WHERE %(catalogue)s = 'pg_database'::regclass AND oid = %(oid)s))))
"""


def _text(value: object) -> str | None:
    return None if value is None else str(value)
