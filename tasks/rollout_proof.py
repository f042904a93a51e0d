"""By what right versions go to the targets of a rollout."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from squizzle.postgres.access import connect
from squizzle.rehearsal.gate import Answer, Answers, ask_for_certificates, require_certificates, warnings_of
from squizzle.rollout.orders import Proof
from squizzle.rollout.records import TargetReport, TargetState
from squizzle.settings.fleets import resolve_server
from tasks.rollout_case import RolloutCase, Started, Survey
from tasks.steps import log_line, step


def _proven(found: Started) -> str:
    if not found.certificates:
        return "; ".join(found.remarks) or "nobody asks for certificates"
    return ", ".join(f"{version}: {one.id}" for version, one in found.certificates.items())


@step("Ask for certificates", timeout=timedelta(minutes=30), detail=_proven)
def prove(case: RolloutCase, survey: Survey, started: Started) -> Started:
    """The certificates by which every version goes to every target, or a person's word.

    One target of each server and each state is compared in full (settings, server version, schema). What the others
    have to be is the schema that was rehearsed: it is compared at each of them, under its lock.

    Raises:
        RefusedError: A version has neither. Nothing was changed.
    """
    if not case.asks_for_proof:
        return started
    store = case.store.open() if case.store else None
    rehearsal = replace(case.rehearsal, same_schema=True)
    environment = case.fleet.environment or ""
    answers: dict[str, Answer] = {}
    for report in _references(survey, started):
        lacking = [
            one
            for one in survey.migrations
            if one.version in report.pending and one.version in set(started.order.versions)
        ]
        access, _ = resolve_server(survey.fleet.servers[report.target.server], environ=case.environ)
        target = started.order.target(report.target)
        with connect(access, target.database, purpose="certificates", read_only=True) as connection:
            found = ask_for_certificates(
                connection, target, lacking, store, rehearsal, environment=environment, environ=case.environ
            )
        for one in found.answers:
            known = answers.get(one.version)
            answers[one.version] = known if known is not None and known.certificate is None else one
    ordered = tuple(answers[version] for version in started.order.versions if version in answers)
    together = Answers(answers=ordered, environment=environment)
    approvals = require_certificates(together, case.rehearsal, case.override)
    remarks = tuple(warnings_of(together, case.override))
    for line in remarks:
        log_line(line, logging.WARNING)
    certificates = {one.version: one.certificate for one in ordered if one.certificate is not None}
    proofs = {
        version: Proof(
            certificate=approval.certificate,
            approved_by=approval.approved_by,
            schema_before=certificates[version].schema_before if version in certificates else "",
        )
        for version, approval in approvals.by_version.items()
    }
    return replace(started, order=replace(started.order, proofs=proofs), certificates=certificates, remarks=remarks)


def _references(survey: Survey, started: Started) -> Iterator[TargetReport]:
    seen: set[tuple[str, tuple[str, ...]]] = set()
    wanted = set(started.order.versions)
    for report in survey.reports:
        kind = report.target.server, report.pending
        if report.state is TargetState.READY and wanted & set(report.pending) and kind not in seen:
            seen.add(kind)
            yield report
