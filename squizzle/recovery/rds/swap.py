"""The restored instance gets the damaged one's name: two renames that are not one step, so they are written down first.

An instance's name is its address. Between the two renames nobody has the name, and its address leads nowhere; clients
that keep an old answer of DNS go on to the old instance for a while. So the application must be fenced before, and the
old instance be closed to it by its security groups if that matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from squizzle.backups.rds.service import PATIENT, Waiting
from squizzle.backups.rds.states import Judgement, judge_instance
from squizzle.backups.sealed import open_sealed, seal
from squizzle.errors import BackupDamagedError, DatabaseState, InvalidInputError, RecoveryError
from squizzle.recovery.rds.service import Found, InstanceService, RecoveryApi, Tell

SWAPS_FOLDER = "swaps"
# CreateDBInstance: 1 to 63 letters, digits and single hyphens, begins with a letter, does not end with a hyphen.
_NAME = re.compile(r"[a-z](?:-?[a-z0-9]){0,62}")
_LONGEST_NAME = 63
# Busy for a moment; after a lost reply renamed already, or the name is taken by this very instance.
_LOOK_AGAIN = ("InvalidDBInstanceState", "DBInstanceNotFound", "DBInstanceAlreadyExists")
# A rename that was accepted and that RDS shows nothing of is asked for again after this.
_ASK_AGAIN = timedelta(minutes=5)


class Texts(Protocol):
    """Where the journal lies: any store of backups, which is not on the instance."""

    def put_text(self, path: str, text: str) -> None:
        """Write a small text durably."""

    def texts(self, folder: str) -> Mapping[str, str]:
        """The small texts in a folder, by their names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """Two instances that change names.

    Attributes:
        name: The name that clients use.
        old_id: `DbiResourceId` of the damaged instance, which has the name.
        restored: The name of the restored instance.
        new_id: `DbiResourceId` of the restored instance.
        keep_as: The name that the damaged one is kept under.
    """

    name: str
    old_id: str
    restored: str
    new_id: str
    keep_as: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SwappedInstances:
    """What a swap left.

    Attributes:
        name: The name that clients use; it is the restored instance now.
        resource_id: Its id.
        endpoint: Its host, as before.
        kept_as: The damaged instance; nothing was deleted, its automated backups neither.
        duration: How long it took.
    """

    name: str
    resource_id: str
    endpoint: str
    kept_as: str
    duration: timedelta


def swap_instances(
    client: RecoveryApi,
    journal: Texts,
    *,
    name: str,
    restored: str,
    keep_as: str,
    waiting: Waiting = PATIENT,
    tell: Tell = lambda _progress: None,
) -> SwappedInstances:
    """Give the restored instance the damaged one's name. Safe to repeat, and to go on with after a kill at any moment.

    Who is who is written into the journal, by the ids that stay, before anything is renamed. Both are rebooted by RDS.

    Args:
        client: Of boto3, for RDS (`open_rds`).
        journal: Where it is written down.
        name: The name that clients use.
        restored: The restored instance.
        keep_as: The name that the damaged one is kept under.
        waiting: Deadline and pace.
        tell: Called at every look.

    Raises:
        InvalidInputError: A name that RDS does not take; nothing was renamed.
        RecoveryError: An instance is missing, is not available or has changes pending, or a name is taken; the message
            says what was renamed.
        CloudError, CloudUnavailableError: RDS refused or stayed out of reach; the same call goes on.
    """
    names = (name.lower(), restored.lower(), keep_as.lower())
    _check_names(*names)
    service = InstanceService(client, waiting, tell)
    swap = _begin(service, journal, *names) or _written_down(journal, *names)
    old, new = _places(service, swap)
    if new != swap.name:
        if old == swap.name:
            _refuse_unready(service, swap)
            _rename(service, swap.name, swap.keep_as, swap.old_id)
        service.leave(
            f"{swap.old_id} is {swap.keep_as} now, and nobody has the name {swap.name} before the same command has"
            " gone on"
        )
        _rename(service, swap.restored, swap.name, swap.new_id)
    service.leave(f"{swap.new_id} has the name {swap.name}")
    done = service.until_ready(swap.name, resource_id=swap.new_id)
    return SwappedInstances(
        name=swap.name,
        resource_id=swap.new_id,
        endpoint=done.facts.endpoint,
        kept_as=swap.keep_as,
        duration=service.elapsed,
    )


def finish_swap(
    client: RecoveryApi,
    journal: Texts,
    *,
    name: str,
    waiting: Waiting = PATIENT,
    tell: Tell = lambda _progress: None,
) -> SwappedInstances | None:
    """Go on with a swap that was killed between its renames, so that somebody has the name again.

    Args:
        client: Of boto3, for RDS (`open_rds`).
        journal: Where swaps are written down.
        name: The name that clients use.
        waiting: Deadline and pace.
        tell: Called at every look.

    Returns:
        What the swap left; None when somebody has the name, or no swap of it was begun.

    Raises:
        RecoveryError, CloudError, CloudUnavailableError: As `swap_instances`.
    """
    name = name.lower()
    begun = [one for one in journal.texts(SWAPS_FOLDER) if one.startswith(f"{name}.") and one.endswith(".json")]
    service = InstanceService(client, waiting, tell)
    if not begun or service.find(name) is not None:
        return None
    for file in begun:
        _name, restored, keep_as, _json = file.split(".")
        kept = service.find(keep_as)
        if kept is not None and kept.facts.resource_id == _written_down(journal, name, restored, keep_as).old_id:
            return swap_instances(
                client, journal, name=name, restored=restored, keep_as=keep_as, waiting=waiting, tell=tell
            )
    return None


def _check_names(*names: str) -> None:
    for one in names:
        if len(one) > _LONGEST_NAME or not _NAME.fullmatch(one):
            raise InvalidInputError(
                f"an instance cannot be called {one!r}; nothing was renamed",
                hint="1 to 63 letters, digits and single hyphens; begins with a letter, does not end with a hyphen",
            )
    if len(set(names)) != len(names):
        raise InvalidInputError(
            f"{', '.join(names)} must be three names; nothing was renamed", hint="choose another name to keep it under"
        )


def _file(name: str, restored: str, keep_as: str) -> str:
    return f"{name}.{restored}.{keep_as}.json"  # a name holds no dot


def _begin(service: InstanceService, journal: Texts, name: str, restored: str, keep_as: str) -> Swap | None:
    """Write down who is who; None when the names do not lie as at the beginning, so that it may have begun already."""
    old, new, taken = (service.find(one) for one in (name, restored, keep_as))
    if old is None or new is None or taken is not None:
        return None
    swap = Swap(
        name=name, old_id=old.facts.resource_id, restored=restored, new_id=new.facts.resource_id, keep_as=keep_as
    )
    document = {key: getattr(swap, key) for key in Swap.__slots__}
    journal.put_text(f"{SWAPS_FOLDER}/{_file(name, restored, keep_as)}", seal(document))
    return swap


def _written_down(journal: Texts, name: str, restored: str, keep_as: str) -> Swap:
    """The swap as an earlier try began it.

    Raises:
        RecoveryError: There was none.
    """
    file = _file(name, restored, keep_as)
    text = journal.texts(SWAPS_FOLDER).get(file)
    if text is None:
        raise RecoveryError(
            f"cannot give {restored} the name {name} and keep the old one as {keep_as}: the first two must exist, the"
            " last must not, and no swap of these three was begun; nothing was renamed",
            hint="look at `aws rds describe-db-instances`, and choose another name to keep the old one under",
        )
    document = open_sealed(text, f"{SWAPS_FOLDER}/{file}")
    try:
        return Swap(**{key: str(document[key]) for key in Swap.__slots__})
    except KeyError as exc:
        raise BackupDamagedError(
            f"{SWAPS_FOLDER}/{file} does not say {exc}", hint="look at `aws rds describe-db-instances`, rename by hand"
        ) from exc


def _places(service: InstanceService, swap: Swap) -> tuple[str, str]:
    """Under which of the three names the old and the new instance are now.

    While one is being renamed, RDS may answer to both of its names, or to none: then it is looked again.
    """
    while True:
        found = {one: service.find(one) for one in (swap.name, swap.restored, swap.keep_as)}
        at = {
            wanted: [one for one, there in found.items() if there is not None and there.facts.resource_id == wanted]
            for wanted in (swap.old_id, swap.new_id)
        }
        strangers = [
            one
            for one, there in found.items()
            if there is not None and there.facts.resource_id not in {swap.old_id, swap.new_id}
        ]
        if strangers:
            raise RecoveryError(
                f"the name {strangers[0]} belongs to another instance than when the swap began; it was left",
                hint="look at `aws rds describe-db-instances`; rename what is in the way, then run the same again",
                database_state=DatabaseState.UNKNOWN,
            )
        is_renaming = any(
            there is not None and judge_instance(there.facts.status) is Judgement.WAIT for there in found.values()
        )
        if at[swap.old_id] and at[swap.new_id] and not is_renaming:
            return at[swap.old_id][0], at[swap.new_id][0]
        service.pause(f"{swap.name}, {swap.restored} and {swap.keep_as}", "being renamed or busy")


def _refuse_unready(service: InstanceService, swap: Swap) -> None:
    """Refuse before the first rename what would stop between the two."""
    for name in (swap.name, swap.restored):
        found = service.find(name)
        problem = "gone" if found is None else _problem(found)
        if problem:
            raise RecoveryError(
                f"the instance {name} is {problem}; nothing was renamed",
                hint="a rename would apply what is pending at once: `aws rds describe-db-instances` shows it; wait or"
                " apply it, then run the same again",
            )


def _problem(found: Found) -> str:
    if judge_instance(found.facts.status) is not Judgement.READY:
        return found.facts.status
    pending = found.document.get("PendingModifiedValues")
    return f"waiting for changes ({', '.join(sorted(pending))})" if pending else ""


def _rename(service: InstanceService, name: str, to: str, resource_id: str) -> None:
    """Ask for a rename and wait for the new name: the old one may answer for a while."""
    arguments = {"DBInstanceIdentifier": name, "NewDBInstanceIdentifier": to, "ApplyImmediately": True}
    asked_at: timedelta | None = None
    while True:
        there = service.find(to)
        if there is not None and there.facts.resource_id == resource_id:
            break
        found = service.find(name)
        is_here = found is not None and found.facts.resource_id == resource_id
        if is_here and (asked_at is None or service.elapsed - asked_at >= _ASK_AGAIN):
            doing = f"rename {name} to {to}"
            if service.request(doing, service.client.modify_db_instance, arguments, fine=_LOOK_AGAIN):
                asked_at = service.elapsed
        service.pause(f"the instance {name} to become {to}", found.facts.status if found else "not shown")
    service.until_ready(to, resource_id=resource_id)
