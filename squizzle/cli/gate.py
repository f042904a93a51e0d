"""What `apply` asks before it changes an environment that wants certificates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from squizzle.cli.backups import store_of
from squizzle.cli.options import Invocation
from squizzle.cli.output import coloured, say
from squizzle.errors import CloudError, KeyNotUsableError, ToolError
from squizzle.migrations.approvals import Approvals
from squizzle.migrations.records import PlannedMigration
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Identity, Target
from squizzle.rehearsal.gate import (
    Answers,
    Override,
    ask_for_certificates,
    is_asked_for,
    override_of,
    require_certificates,
    unanswered,
    warnings_of,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GateOptions:
    """What the command says about certificates."""

    store: str | None
    reason: str | None
    approver: str | None

    def override(self, invocation: Invocation) -> Override | None:
        """A person's word; see `override_of`."""
        return override_of(self.reason, self.approver, invocation.config.rehearsal)


def gate_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where certificates lie, or who answers for there being none."""
    for option in (
        click.option("--approver", metavar="NAME", help="With --without-certificate: who says so."),
        click.option(
            "--without-certificate",
            "reason",
            metavar="REASON",
            help="Apply what is not proven, for this reason; needs --approver, and is written into the history.",
        ),
        click.option("--store", metavar="URL", help="Where certificates lie; without it: [backups] store."),
    ):
        verb = option(verb)
    return verb


def ask(
    invocation: Invocation,
    connection: Connection,
    target: Target,
    identity: Identity | None,
    planned: Sequence[PlannedMigration],
    options: GateOptions,
) -> Answers | None:
    """Which certificates count for what would be applied; None where nobody asks for any. Nothing is changed.

    A store or a key that cannot be reached is no reason to wait for somebody whose word counts instead.
    """
    policy = invocation.config.rehearsal
    environments = [one for one in (target.environment, identity.environment if identity else None) if one]
    override = options.override(invocation)
    if not planned or not is_asked_for(policy, environments):
        return None
    asks = next(one for one in environments if one in policy.required_for)
    migrations = [step.migration for step in planned]
    named = options.store or invocation.config.backups.store
    try:
        store = store_of(options.store, invocation.config) if named else None
        return ask_for_certificates(connection, target, migrations, store, policy, environment=asks)
    except (ToolError, CloudError, KeyNotUsableError) as exc:
        if override is None:
            raise
        return unanswered(migrations, asks, f"certificates cannot be looked at: {exc.message}")


def require(invocation: Invocation, answers: Answers | None, options: GateOptions) -> Approvals | None:
    """What may be applied; says aloud what is applied without a certificate. None where nobody asks.

    Raises:
        RefusedError: A version has no certificate that counts, and nobody answers for it; nothing was changed.
    """
    if answers is None:
        return None
    override = options.override(invocation)
    approvals = require_certificates(answers, invocation.config.rehearsal, override)
    for line in warnings_of(answers, override):
        say(coloured(line, "red", bold=True) if line.startswith("WARNING") else line)
    return approvals


def answers_document(answers: Answers | None) -> list[dict[str, object]]:
    """What the certificates say, as JSON."""
    return [
        {
            "version": one.version,
            "certificate": one.certificate.id if one.certificate else None,
            "reasons": list(one.reasons),
            "remarks": list(one.remarks),
        }
        for one in (answers.answers if answers else ())
    ]


def say_answers(answers: Answers | None) -> None:
    """Say on stderr what would be missing."""
    for one in answers.answers if answers else ():
        if one.certificate is not None:
            say(f"{one.version}: certificate {one.certificate.id} counts")
        for reason in one.reasons:
            say(f"{one.version} would be refused: {reason}")
        for remark in one.remarks:
            say(f"  {remark}")
