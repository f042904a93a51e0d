"""Dead-man switches: automations of Prefect's that tell people what did not happen.

They are Prefect's, so they are down when Prefect is; `squizzle metrics` is for those who watch from outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from prefect.automations import AutomationCore, CallWebhook, DoNothing, EventTrigger, Posture, SendNotification
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound

from squizzle.durations import words
from squizzle.errors import InvalidInputError
from tasks.prefect_approvals import translated
from tasks.watched import Sign

# Whose they are: names are not unique, and people have automations of their own.
OWN = "squizzle-watchdog"
ANY = ("*",)
# What the server gives at once.
_PAGE = 200
_WEBHOOK = "webhook"
# The server looks every five seconds, and refuses less than this.
_SHORTEST = timedelta(seconds=10)
_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling")
_BEAT = "prefect.flow-run.heartbeat"
# A server that does not know its own address gives no link.
_LINK = "(flow_run.name ~ ' ' ~ (flow_run|ui_url or ''))|trim"
_RUN = f"{{% if flow_run %}}{{{{ {_LINK} }}}}{{% else %}}See the automation's page.{{% endif %}}"


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchLimits:
    """How long something may be missing before people are told; each at least 10 s.

    Attributes:
        sweep: A sweep that was taken, of each fleet.
        backup: A backup whose files were read again, of each database.
        drill: A drill that passed.
        approval: A person's answer.
        beat: A sign of life of a running rollout; Prefect's runs give one every 3 minutes.
    """

    sweep: timedelta = timedelta(minutes=15)
    backup: timedelta = timedelta(hours=26)
    drill: timedelta = timedelta(days=35)
    approval: timedelta = timedelta(hours=1)
    beat: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What is watched.

    Attributes:
        fleets: Names of fleets, one automation each; `*` for one that any fleet keeps quiet.
        databases: The same of databases, as `ENVIRONMENT/NAME`.
        limits: How long something may be missing.
    """

    fleets: tuple[str, ...] = ANY
    databases: tuple[str, ...] = ANY
    limits: WatchLimits = WatchLimits()


class Change(StrEnum):
    """What became of one automation."""

    MADE = "made"
    CHANGED = "changed"
    SAME = "as it was"
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Watchdog:
    """One automation after `set_watchdogs`.

    Attributes:
        name: Its name.
        change: What became of it.
        is_on: Whether it is switched on; people switch them off on its page.
        is_heard: Whether anybody is told; else it only shows on its page.
    """

    name: str
    change: Change
    is_on: bool
    is_heard: bool

    @property
    def barks_unheard(self) -> bool:
        """Whether it is there, and nobody is told."""
        return self.change is not Change.REMOVED and not self.is_heard


def set_watchdogs(client: SyncPrefectClient, watched: Watched, *, block: str | None = None) -> tuple[Watchdog, ...]:
    """Make the automations of ours what they should be; safe to repeat.

    One that is as it should be is left alone, so that its time runs on. One that was switched off stays off. Ours that
    are not wanted any more go. Nobody else's are touched.

    Args:
        client: Of the Prefect whose runs are watched.
        watched: What is watched.
        block: Who is told: `slack-webhook/ops`, or another block of Prefect's own for notifications, or `webhook/NAME`.
            None: whoever was told before; at first nobody, and the automation only shows on its page.

    Raises:
        InvalidInputError: There is no such block, or it cannot tell anybody anything, or a time is too short.
        CloudError: Prefect does not answer; some may have been made, and the next call goes on.
    """
    told = None if block is None else _find(client, block)
    with translated():
        there = _own(client)
        done = []
        for wanted in _wanted(watched):
            same = [one for one in there if one.name == wanted.name]
            there = [one for one in there if one.name != wanted.name]
            done.append(_set(client, wanted, same, told))
        for one in there:
            client.delete_automation(one.id)
            done.append(_done(one, Change.REMOVED))
    return tuple(done)


def has_watchdogs(client: SyncPrefectClient) -> bool:
    """Whether there are automations of ours.

    Raises:
        CloudError: Prefect does not answer.
    """
    with translated():
        return bool(_own(client))


def remove_watchdogs(client: SyncPrefectClient) -> tuple[Watchdog, ...]:
    """Remove all automations of ours; nobody else's are touched.

    Raises:
        CloudError: Prefect does not answer; some may be gone.
    """
    with translated():
        there = _own(client)
        for one in there:
            client.delete_automation(one.id)
    return tuple(_done(one, Change.REMOVED) for one in there)


# --- what is wanted --------------------------------------------------------------------------------------------------


def _wanted(watched: Watched) -> Iterator[AutomationCore]:
    limits = watched.limits
    for fleet in watched.fleets:
        yield _missing(Sign.SWEPT, fleet, limits.sweep, f"no sweep of {_named(fleet, 'any fleet')}")
    for database in watched.databases:
        yield _missing(Sign.SAVED, database, limits.backup, f"no backup of {_named(database, 'any database')}")
    yield _missing(Sign.DRILLED, "*", limits.drill, "no drill that passed")
    yield _automation(
        f"a run has waited for approval for {words(limits.approval)}",
        _RUN,
        _proactive(
            after=_states("Paused", "Suspended"),
            expect=_states("Running", "Scheduled", "Pending", "Resuming", *_ENDS),
            for_each={"prefect.resource.id"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            # Every deployment of ours has the tag, and its runs inherit it.
            match_related={"prefect.resource.id": "prefect.tag.squizzle", "prefect.resource.role": "tag"},
            within=limits.approval,
        ),
    )
    rollouts = {"prefect.resource.name": "roll-out", "prefect.resource.role": "flow"}
    yield _automation(
        "a rollout failed or crashed",
        _RUN,
        EventTrigger(
            posture=Posture.Reactive,
            expect=_states("Failed", "Crashed"),
            for_each={"prefect.resource.id"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=rollouts,
            threshold=1,
            within=timedelta(0),
        ),
    )
    yield _automation(
        f"a rollout has given no sign of life for {words(limits.beat)}",
        _RUN,
        _proactive(
            after={_BEAT},
            # Prefect's own recipe leaves out those who wait for a person, and takes them for dead.
            expect={_BEAT, *_states("Paused", "Suspended", *_ENDS)},
            for_each={"prefect.resource.id"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=rollouts,
            within=limits.beat,
        ),
    )


def _named(name: str, anything: str) -> str:
    return anything if name == "*" else name


def _states(*names: str) -> set[str]:
    return {f"prefect.flow-run.{name}" for name in names}


def _missing(sign: Sign, name: str, within: timedelta, what: str) -> AutomationCore:
    """Barks again and again until there is a sign, also where there never was one."""
    trigger = _proactive(expect={sign.value}, match={"prefect.resource.id": sign.resource(name)}, within=within)
    return _automation(f"{what} in {words(within)}", "Look at the deployment's runs and at its schedule.", trigger)


def _proactive(*, within: timedelta, **rest: Any) -> EventTrigger:
    if within < _SHORTEST:
        raise InvalidInputError(f"{words(within)} is too short", hint=f"Prefect takes {words(_SHORTEST)} or more")
    return EventTrigger(posture=Posture.Proactive, threshold=1, within=within, **rest)


def _automation(what: str, hint: str, trigger: EventTrigger) -> AutomationCore:
    return AutomationCore(
        name=f"squizzle: {what}", description=hint, tags=[OWN], trigger=trigger, actions=[DoNothing()]
    )


# --- who is told -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    id: UUID
    is_webhook: bool


def _find(client: SyncPrefectClient, block: str) -> _Told:
    slug, _, name = block.partition("/")
    if not name:
        raise InvalidInputError(f"{block!r} names no block", hint="write slack-webhook/NAME, or webhook/NAME")
    try:
        with translated():
            found = client.read_block_document_by_name(name, slug)
    except ObjectNotFound as exc:
        raise InvalidInputError(f"there is no block {block}", hint="make it on Prefect's page Blocks") from exc
    capabilities = found.block_schema.capabilities if found.block_schema else []
    if slug != _WEBHOOK and "notify" not in capabilities:
        raise InvalidInputError(
            f"Prefect's server cannot tell anybody anything by the block {block}",
            hint="name one of Prefect's own notification blocks, or webhook/NAME; ours work in flows only",
        )
    return _Told(id=found.id, is_webhook=slug == _WEBHOOK)


def _action(wanted: AutomationCore, told: _Told) -> CallWebhook | SendNotification:
    if not told.is_webhook:
        return SendNotification(block_document_id=told.id, subject=wanted.name, body=wanted.description)
    # Names of runs may hold quotation marks.
    run = "{% if flow_run %}{{ LINK|tojson }}{% else %}null{% endif %}".replace("LINK", f"({_LINK})")
    payload = f'{{"title": "{wanted.name}", "run": {run}}}'
    return CallWebhook(block_document_id=told.id, payload=payload)


# --- what is there ---------------------------------------------------------------------------------------------------


def _own(client: SyncPrefectClient) -> list[Automation]:
    found: list[Automation] = []
    while True:
        page = client.read_automations(limit=_PAGE, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return [one for one in found if OWN in one.tags]


def _set(
    client: SyncPrefectClient, wanted: AutomationCore, there: Sequence[Automation], told: _Told | None
) -> Watchdog:
    for twin in there[1:]:
        client.delete_automation(twin.id)
    old = there[0] if there else None
    actions = [_action(wanted, told)] if told is not None else list((old or wanted).actions)
    new = wanted.model_copy(update={"actions": actions, "enabled": old.enabled if old else True})
    if old is None:
        client.create_automation(new)
        return _done(new, Change.MADE)
    if _compared(old) == _compared(new):
        return _done(new, Change.SAME)
    client.update_automation(old.id, AutomationCore.model_validate(new.model_dump(exclude={"owner_resource"})))
    return _done(new, Change.CHANGED)


def _compared(one: AutomationCore) -> dict[str, Any]:
    return one.model_dump(include={"name", "description", "tags", "trigger", "actions", "enabled"})


def _done(one: AutomationCore, change: Change) -> Watchdog:
    is_heard = not any(isinstance(action, DoNothing) for action in one.actions)
    return Watchdog(name=one.name, change=change, is_on=one.enabled, is_heard=is_heard)
