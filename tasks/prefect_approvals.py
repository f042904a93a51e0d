"""Runs that wait for an answer, by Prefect's API: for those who answer elsewhere than on its pages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.utilities.urls import url_for

from squizzle.approvals.asked import Asked, WaitingApproval, read_asked
from squizzle.approvals.messages import Kept
from squizzle.approvals.slack_blocks import Outcome
from squizzle.errors import CloudError, CloudUnavailableError, InvalidInputError, RefusedError
from squizzle.postgres.decisions import Answer, Entry

# What the server gives at once.
_PAGE = 200
# Between the pause and the saved form lie milliseconds, in which an answer is refused.
_TRIES = 25
_PAUSE_S = 0.2
_PREFIX = "squizzle_slack_"


class PrefectApprovals:
    """The runs of one Prefect that wait for an answer. Every call raises CloudError where Prefect does not answer."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client

    def waiting(self) -> tuple[WaitingApproval, ...]:
        """All that wait, the one that waits longest first."""
        with translated():
            found = [self._waiting(run) for run in self._paused({})]
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.asked_at))

    def find(self, run: str) -> WaitingApproval:
        """The one that is meant.

        Args:
            run: The id of a run, its name, or a part of its name.

        Raises:
            RefusedError: It does not wait for an approval of ours, or several that are called so do.
        """
        if _is_id(run):
            with translated():
                waiting = map(self._waiting, self._paused({"id": {"any_": [run]}}))
                found = [one for one in waiting if one is not None]
        else:
            found = _called(run, self.waiting())
        if not found:
            raise RefusedError(
                f"run {run!r} does not wait for an approval: it was answered, has ended, or is unknown",
                hint="`squizzle approvals` lists those that wait",
            )
        if len(found) > 1:
            ids = ", ".join(one.run_id for one in found)
            raise RefusedError(f"{len(found)} runs called {run!r} wait", hint=f"give the id of one: {ids}")
        return found[0]

    def answer(self, meant: WaitingApproval | Kept, entry: Entry) -> None:
        """Let the run go on with an answer to exactly that question.

        Raises:
            RefusedError: The answer does not count, the run asks something else by now, or it was answered.
        """
        current = self.find(meant.run_id)
        if current.plan_digest != meant.plan_digest:
            raise RefusedError(
                f"the plan of run {current.run_name!r} changed since it was shown", hint="look at it again, then answer"
            )
        if current.pause != meant.pause:
            raise RefusedError(
                f"run {current.run_name!r} was answered and asks again", hint="look at it again, then answer"
            )
        if objection := current.asked.objection(entry):
            raise RefusedError(objection, hint="nothing was answered; the run still waits")
        form = {"decision": entry.answer.value, "approver": entry.by, "comment": entry.comment}
        if current.asked.name_to_type:
            form["typed_name"] = entry.typed
        self._resume(current, form)

    def outcome(self, run_id: str, pause: str) -> Outcome:
        """What became of a question that waits no more."""
        # As Prefect calls what belongs to a pause.
        key = f"paused-{pause}-"
        with translated():
            try:
                run = self._client.read_flow_run(UUID(run_id))
            except ObjectNotFound:
                return Outcome(entry=None, at=None, objection="", state="")
            found = self._client.filter_flow_run_input(UUID(run_id), key, limit=_PAGE, exclude_keys=set())
        by_key = {one.key.removeprefix(key): one for one in found}
        state = run.state_name or ""
        if "response" not in by_key:
            return Outcome(entry=None, at=None, objection="", state=state)
        given = by_key["response"].decoded_value
        entry = Entry(
            answer=Answer(str(given["decision"])),
            by=str(given["approver"]),
            comment=str(given.get("comment") or ""),
            typed=str(given.get("typed_name") or ""),
        )
        asked = read_asked(by_key["schema"].decoded_value) if "schema" in by_key else None
        objection = asked.objection(entry) if asked else ""
        return Outcome(entry=entry, at=by_key["response"].created, objection=objection, state=state)

    def kept(self) -> tuple[Kept, ...]:
        """The messages that stand for questions."""
        found: list[dict[str, Any]] = []
        page: list[dict[str, Any]] = []
        with translated():
            while not found or len(page) == _PAGE:
                wanted = {"variables": {"name": {"like_": _PREFIX}}, "limit": _PAGE, "offset": len(found)}
                page = self._client.request("POST", "/variables/filter", json=wanted).json()
                found += page
                if not page:
                    break
        return tuple(Kept.read(one["value"]) for one in found if one["name"].startswith(_PREFIX))

    def reserve(self, kept: Kept) -> bool:
        """Note that a message is about to be posted; False where somebody else noted it."""
        with translated():
            try:
                self._client.create_variable(VariableCreate(name=_name(kept), value=kept.document(), tags=["squizzle"]))
            except ObjectAlreadyExists:
                return False
        return True

    def keep(self, kept: Kept) -> None:
        """Note what became of it."""
        with translated():
            self._client.update_variable(VariableUpdate(name=_name(kept), value=kept.document()))

    def forget(self, kept: Kept) -> None:
        """Nothing will come of it any more."""
        with translated():
            try:
                self._client.delete_variable_by_name(_name(kept))
            except ObjectNotFound:
                return

    def _paused(self, wanted: Mapping[str, object]) -> Iterator[FlowRun]:
        query = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PAUSED"]}}, **wanted})
        offset = 0
        while True:
            page = self._client.read_flow_runs(
                flow_run_filter=query, sort=FlowRunSort.START_TIME_ASC, limit=_PAGE, offset=offset
            )
            yield from page
            if len(page) < _PAGE:
                return
            offset += _PAGE

    def _waiting(self, run: FlowRun) -> WaitingApproval | None:
        state = run.state
        keyset = state.state_details.run_input_keyset if state else None
        if state is None or not keyset:
            return None
        schema = self._input(run.id, keyset["schema"])
        asked: Asked | None = read_asked(schema) if schema else None
        if asked is None:
            return None
        return WaitingApproval(
            run_id=str(run.id),
            run_name=run.name or "",
            pause=state.state_details.pause_key or "",
            asked=asked,
            text=str(self._input(run.id, keyset["description"], empty="")),
            asked_at=state.timestamp,
            expires_at=state.state_details.pause_timeout,
            url=url_for(run) or "",
        )

    def _input(self, run_id: UUID, key: str, *, empty: object = None) -> dict[str, object]:
        try:
            text = self._client.read_flow_run_input(run_id, key)
        except httpx.HTTPStatusError as exc:
            if exc.response.status_code == httpx.codes.NOT_FOUND:
                return cast("dict[str, object]", empty)
            raise
        return cast("dict[str, object]", json.loads(text))

    def _resume(self, waiting: WaitingApproval, form: dict[str, str]) -> None:
        for _ in range(_TRIES):
            with translated():
                result = self._client.resume_flow_run(UUID(waiting.run_id), run_input=form)
            if result.status is SetStateStatus.ACCEPT:
                return
            reason = getattr(result.details, "reason", "") or "Prefect gives no reason"
            if "schema not found" not in reason:
                break
            time.sleep(_PAUSE_S)
        raise RefusedError(
            f"Prefect does not take the answer to run {waiting.run_name!r}: {reason}",
            hint="`squizzle approvals` says whether it still waits",
        )


@contextmanager
def open_approvals() -> Iterator[PrefectApprovals]:
    """The runs of the Prefect that the environment or the profile names.

    Raises:
        InvalidInputError: None is named.
    """
    with open_prefect() as client:
        yield PrefectApprovals(client)


@contextmanager
def open_prefect() -> Iterator[SyncPrefectClient]:
    """The Prefect that the environment or the profile names; never one that is started for this.

    Raises:
        InvalidInputError: None is named.
    """
    if not PREFECT_API_URL.value():
        raise InvalidInputError(
            "no Prefect server is named", hint="set PREFECT_API_URL, such as http://127.0.0.1:4200/api"
        )
    with get_client(sync_client=True) as client:
        yield client


@contextmanager
def translated() -> Iterator[None]:
    """What Prefect's API answers, as an error of ours; what is not there, or there already, passes."""
    try:
        yield
    except (ObjectNotFound, ObjectAlreadyExists):
        raise
    except httpx.HTTPStatusError as exc:
        status = exc.response.status_code
        hint = "set PREFECT_API_AUTH_STRING or PREFECT_API_KEY" if status in {401, 403} else "look at the server's log"
        kind = CloudUnavailableError if status >= httpx.codes.INTERNAL_SERVER_ERROR else CloudError
        raise kind(f"Prefect's API answers {status}", hint=hint) from exc
    except httpx.HTTPError as exc:
        raise CloudUnavailableError(
            f"Prefect's API at {PREFECT_API_URL.value()} does not answer: {type(exc).__name__}",
            hint="start it, or correct PREFECT_API_URL",
        ) from exc


def _name(kept: Kept) -> str:
    return f"{_PREFIX}{kept.key}"


def _called(name: str, waiting: tuple[WaitingApproval, ...]) -> list[WaitingApproval]:
    """Those of that very name; else those that have it as a part, where `to` may be typed for an arrow."""
    exactly = [one for one in waiting if one.run_name == name]
    part = _typed(name)
    return exactly or [one for one in waiting if part and part in _typed(one.run_name)]


def _typed(name: str) -> str:
    return " ".join(name.casefold().replace("→", "to").replace("->", "to").split())


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
