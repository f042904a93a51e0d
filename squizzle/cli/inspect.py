"""Verbs that look closely and change nothing: verify, digest."""

from __future__ import annotations

from collections.abc import Sequence

import click

from squizzle.cli.books import kept_books
from squizzle.cli.names import versions
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.errors import ChecksumMismatchError
from squizzle.migrations.operations import Check, verify_versions
from squizzle.postgres.access import connect
from squizzle.proof.digests import digest_database, digest_schema
from squizzle.proof.records import COVERS, NOT_COVERED, DatabaseDigest, SchemaDigest


@click.command()
@click.argument("version", required=False, shell_complete=versions)
@common_options
def verify(invocation: Invocation, version: str | None) -> int:
    """Compare files with the history, run verify scripts, and look for drift of the schema.

    Exit codes: 0 as it should be; 6 a file is not the one that was applied; 1 anything else differs.

    \b
    Examples:
      squizzle verify --env production
      squizzle verify 0013 --env production
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    migrations = invocation.migrations()
    with connect(access, target.database, purpose="verify", read_only=True) as connection:
        books = kept_books(invocation, migrations)
        checks = verify_versions(connection, target, migrations, only=version, books=books)
    ok = all(check.ok for check in checks)
    document = {"ok": ok, "checks": [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in checks]}
    print_result(document, _checks_text(checks), as_json=invocation.as_json)
    if any(not check.ok and check.name.endswith(" file") for check in checks):
        return ChecksumMismatchError.code
    return 0 if ok else 1


def _checks_text(checks: Sequence[Check]) -> str:
    return table(("", "check", "found"), [("ok" if one.ok else "FAIL", one.name, one.detail) for one in checks])


@click.command()
@click.option("--schema-only", is_flag=True, help="Only definitions; no table is read.")
@common_options
def digest(invocation: Invocation, *, schema_only: bool) -> None:
    """Fingerprint the schema and the rows, for comparing two databases or two moments.

    \b
    Examples:
      squizzle digest --env staging
      squizzle digest --env staging --schema-only --json
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    access, target = invocation.target()
    with connect(access, target.database, purpose="digest", read_only=True) as connection:
        if schema_only:
            document = _schema_document(digest_schema(connection, schema=invocation.schema))
        else:
            document = _digest_document(digest_database(connection, schema=invocation.schema))
    print_result(document, _digest_text(document), as_json=invocation.as_json)


def _schema_document(found: SchemaDigest) -> dict[str, object]:
    return {
        "schema": {"strict": found.strict, "logical": found.logical},
        "tables": {},
        "sequences": {},
        "covers": list(COVERS[:-1]),
        "not_covered": [COVERS[-1], *NOT_COVERED],
    }


def _digest_document(found: DatabaseDigest) -> dict[str, object]:
    return {
        **_schema_document(found.schema),
        "tables": {one.table: {"rows": one.rows, "digest": one.digest} for one in found.tables},
        "sequences": dict(found.sequences),
        "covers": list(COVERS),
        "not_covered": list(NOT_COVERED),
    }


def _digest_text(document: dict[str, object]) -> str:
    schema = document["schema"]
    tables = document["tables"]
    if not isinstance(schema, dict) or not isinstance(tables, dict):
        raise TypeError("a digest document always has a schema and tables")
    rows = [(name, f"{one['rows']:,}", str(one["digest"])) for name, one in tables.items()]
    head = f"schema  strict {schema['strict']}\n        logical {schema['logical']}"
    return "\n".join([head, "", table(("table", "rows", "digest"), rows)]) if rows else head
