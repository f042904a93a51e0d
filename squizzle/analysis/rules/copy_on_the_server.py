"""COPY starts a program, or reads and writes files, on the server."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.findings import Severity
from squizzle.analysis.row_actions import Copy
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: Copy, _context: Context) -> Iterator[Hit]:
    if not (action.is_program or action.is_file):
        return
    way = "from" if action.is_from else "to"
    what = "a program that the server starts" if action.is_program else "a file of the server"
    yield Hit(
        message=f"copies {action.table or 'a query'} {way} {what}",
        hint=f"COPY {qualified(action.table)} FROM stdin; -- with the rows behind it" if action.table else "",
        relation=action.table,
        severity=Severity.ERROR if action.is_program else None,
    )


RULE = Rule(
    code="S102",
    name="copy-on-the-server",
    severity=Severity.WARNING,
    condition="COPY … FROM or TO a file or PROGRAM; an error for PROGRAM.",
    effect="It runs with the rights of the server's operating system user, needs a superuser or"
    " pg_execute_server_program, and"
    " fails wherever the file or program is not.",
    safe_way="COPY … FROM stdin with the rows in the script, or INSERT.",
    bad="COPY payments FROM PROGRAM 'true';",
    good="INSERT INTO payments (number, order_id, amount) VALUES (1001, 1, 9.99);",
    source="PostgreSQL manual, COPY, PROGRAM",
    on=(Copy,),
    check=_check,
    places=EVERYWHERE,
)
