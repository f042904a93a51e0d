"""By what right versions are applied, where a project wants one; what the history says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from squizzle.errors import RefusedError
from squizzle.migrations.records import PlannedMigration
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """What the row of a version says.

    Attributes:
        certificate: The id of the certificate that proves its way back; `none: ` and the reason where there is none.
        approved_by: Who said that it may be applied all the same; None where nobody had to.
        rollout_id: The rollout that it is part of; None for none.
    """

    certificate: str | None = None
    approved_by: str | None = None
    rollout_id: str | None = None


NO_APPROVAL = Approval()


@dataclass(frozen=True, kw_only=True, slots=True)
class Approvals:
    """What may be applied.

    Attributes:
        by_version: Every version that may be applied.
        schema_digest: Logical digest of the schema that this was said about; empty when it does not depend on it.
    """

    by_version: Mapping[str, Approval]
    schema_digest: str = ""


def refuse_unapproved(
    connection: Connection, target: Target, steps: Iterable[PlannedMigration], approvals: Approvals
) -> None:
    """Refuse what is not what was approved; the caller holds the migration lock, so it stays what it is.

    Raises:
        RefusedError: A version was not approved, or the schema changed since; nothing was changed.
    """
    again = "run the same again: it looks anew"
    others = [step.migration.version for step in steps if step.migration.version not in approvals.by_version]
    if others:
        raise RefusedError(f"not what was approved any more: {', '.join(others)}", hint=again)
    if not approvals.schema_digest:
        return
    # Imported when something is applied: it loads the grammar, 50 ms that `squizzle status` would wait for in vain.
    from squizzle.proof.digests import digest_schema  # noqa: PLC0415

    found = digest_schema(connection, schema=target.schema).logical
    if found != approvals.schema_digest:
        raise RefusedError(
            f"the schema of {target.database} changed since the certificates were compared with it"
            f" (was {approvals.schema_digest[:12]}, is {found[:12]})",
            hint=again,
        )
