"""Backups whose rows lie outside of the store, at a provider: asking for them, and having them removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from squizzle.backups.proofs import Verdict
from squizzle.backups.records import Backup


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a provider says about the rows of a backup.

    Attributes:
        verdict: `fail`: they are gone, or others than the manifest says; `could_not_verify`: it did not answer.
        sentences: What was found, one short sentence each; none when all is well.
        details: Figures.
    """

    verdict: Verdict
    sentences: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """Where the rows of some backups lie."""

    def look(self, backup: Backup) -> Finding:
        """Whether the rows are still there as the manifest says. Nothing is changed."""

    def remove(self, backup: Backup) -> None:
        """Have the rows removed, for good; nothing happens when they are gone already.

        Raises:
            RefusedError: They are none of ours; they stay.
            CloudError: The provider refused or stayed out of reach; they may be there still.
        """
