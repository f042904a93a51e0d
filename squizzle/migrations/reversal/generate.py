"""The way back of a script: by statement, proved on a scratch copy; by comparing catalogues where that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import psycopg

from squizzle.analysis.records import Statement
from squizzle.migrations.reversal.catalogue import Catalogue
from squizzle.migrations.reversal.comparison import (
    Holders,
    NotComparableError,
    compare,
    dropped_holders,
    read_holders,
)
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Definitions
from squizzle.migrations.reversal.proving import COLUMN_ORDER, Proof, prove, run_forward
from squizzle.migrations.reversal.records import (
    Match,
    Reversal,
    Reverse,
    ReversedStatement,
    Reversibility,
)
from squizzle.migrations.reversal.scratch import ScratchDatabases
from squizzle.migrations.reversal.search_path import first_path
from squizzle.migrations.reversal.statements import reverse_statement
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import server_words
from squizzle.proof.comparison import differing_objects
from squizzle.proof.digests import digest_own_changes
from squizzle.proof.records import SchemaDigest


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """A script whose way back is wanted.

    Attributes:
        source: What messages call it.
        statements: In order.
        schema: Where unqualified names are.
        save_as: What tables with saved rows begin with; empty when rows are not to be saved.
        saved: The numbers of the statements whose rows are saved; None for all.
        keep_newer: Whether rows that clients changed since stay as they are, instead of stopping the way back.
    """

    source: str
    statements: tuple[Statement, ...]
    schema: str = "public"
    save_as: str = ""
    saved: frozenset[int] | None = None
    keep_newer: bool = False

    @property
    def context(self) -> Context:
        """What holds before its first statement."""
        path = first_path((one.sql for one in self.statements), schema=self.schema)
        return Context(save_as=self.save_as, saved=self.saved, keep_newer=self.keep_newer, path=path)


def reverse_by_text(script: Script, definitions: Definitions | None, *, why: str) -> Reversal:
    """The way back without a proof: exact is only what the text alone decides. Nothing is changed.

    Args:
        script: The script.
        definitions: Of the database in the state before the script; None when there is none.
        why: Why there is no proof, for the reader.
    """
    reversed_: list[ReversedStatement] = []
    context = script.context
    for statement in script.statements:
        by_text, following = reverse_statement(statement.sql, None, context)
        known = reverse_statement(statement.sql, definitions, context)[0] if definitions else by_text
        if by_text.certain and by_text.reversibility is known.reversibility is Reversibility.EXACT:
            reverse = by_text
        else:
            reverse = _unproven(known.surest, why)
        reversed_.append(ReversedStatement(sql=statement.sql, line=statement.line, reverse=reverse))
        context = following
    return Reversal(source=script.source, statements=tuple(reversed_), proof=f"not proved: {why}")


def _unproven(reverse: Reverse, why: str) -> Reverse:
    if reverse.reversibility is not Reversibility.EXACT:
        return reverse
    return replace(reverse, reversibility=Reversibility.LOSSY, reason=f"{reverse.reason}; not proved: {why}")


def reverse_with_proof(script: Script, databases: ScratchDatabases, make: Callable[[], str]) -> Reversal:
    """The way back, executed on scratch copies and compared; only these are changed.

    Args:
        script: The script.
        databases: Makes scratch databases.
        make: Makes one in the state before the script, with no session in it; called again for the second generator.

    Raises:
        MigrationFailedError: The script itself fails there.
    """
    server = databases.server
    with databases.open(make(), schema=script.schema) as connection:
        catalogue = Catalogue(connection, access=server.access, programs=server.programs)
        proof = prove(connection, catalogue, script.statements, context=script.context, schema=script.schema)
    found = Reversal(
        source=script.source,
        statements=proof.statements,
        match=proof.match,
        proof=f"executed on {server.where}: {_WORDS[proof.match]}",
        after=proof.after,
        differences=_labels(proof.start, proof.end),
    )
    if proof.match is not Match.DIFFERENT:
        return found
    return _by_comparison(script, databases, make(), found, proof)


_WORDS = {
    Match.STRICT: "the schema is the same as before the script",
    Match.LOGICAL: "the schema is the same as before the script but for the order of columns",
    Match.DIFFERENT: "another schema is left",
    Match.UNPROVEN: "",
}


def _labels(expected: SchemaDigest, found: SchemaDigest) -> tuple[str, ...]:
    return tuple(sorted(f"{kind} {name}" for kind, name in differing_objects(expected, found)))


def _by_comparison(
    script: Script, databases: ScratchDatabases, pristine: str, found: Reversal, proof: Proof
) -> Reversal:
    """The second generator, where the first one does not lead back; its result is executed and compared, too."""
    after = databases.copy_of(pristine)
    with databases.open(after, schema=script.schema) as connection:
        holders = read_holders(connection)
        _run(connection, script)
    try:
        statements = compare(databases.server.access, after=after, before=pristine)
    except NotComparableError as exc:
        return replace(found, proof=f"{found.proof}; comparing the catalogues failed, too: {exc}")
    with databases.open(after, schema=script.schema) as connection:
        return _try_whole(connection, statements, holders, found, proof)


def _run(connection: Connection, script: Script) -> None:
    context = script.context
    for statement in script.statements:
        reverse, context = reverse_statement(statement.sql, None, context)
        run_forward(connection, statement, reverse)


def _try_whole(
    connection: Connection, statements: Sequence[str], holders: Holders, found: Reversal, proof: Proof
) -> Reversal:
    dropped = dropped_holders(statements, connection, holders)
    try:
        with connection.transaction():
            for text in statements:
                connection.execute(text.encode())
        end = digest_own_changes(connection)
    except psycopg.Error as exc:
        return replace(
            found, proof=f"{found.proof}; what a comparison of the catalogues gave fails: {server_words(exc)}"
        )
    match = replace(proof, end=end).match
    if match is Match.DIFFERENT:
        return replace(found, proof=f"{found.proof}; so does what a comparison of the catalogues gave")
    return replace(
        found,
        match=match,
        whole=_whole(statements, dropped, found, match),
        proof=f"made by comparing the schema after the script with the schema before it; {_WORDS[match]}",
        differences=(),
    )


def _whole(statements: Sequence[str], dropped: Sequence[str], found: Reversal, match: Match) -> Reverse:
    reasons = [f"{', '.join(dropped)} would be dropped with rows from before the script"] if dropped else []
    if match is Match.LOGICAL:
        reasons.append(COLUMN_ORDER)
    reasons += [
        f"line {one.line}: {one.claim.reason}"
        for one in found.statements
        if one.claim is not None and one.claim.reversibility is not Reversibility.EXACT
    ]
    reasons += [
        f"line {one.line}: rows that were saved do not come back by it"
        for one in found.statements
        if one.claim is not None and one.claim.save
    ]
    return Reverse(
        statements=tuple(statements),
        reversibility=Reversibility.LOSSY if reasons else Reversibility.EXACT,
        reason="; ".join(reasons) or "the schema after the script becomes the one before it",
    )
