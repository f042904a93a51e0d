# ruff: noqa: ARG002 - a test says one answer for whatever is asked
"""A hand-written `Definitions`: what a test says that the database holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from squizzle.migrations.reversal.definitions import Address, Domain, Enum, Grant, Lost, Relation, SequenceFacts
from squizzle.migrations.reversal.trees import dotted


@dataclass(frozen=True, kw_only=True)
class Known:
    """Answers from dictionaries; names are as the statements under test write them."""

    relations: Mapping[str, Relation] = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    held: tuple[Grant, ...] = ()
    gone: Lost = field(default_factory=Lost)
    definitions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sequences: Mapping[str, SequenceFacts] = field(default_factory=dict)
    domains: Mapping[str, Domain] = field(default_factory=dict)
    enums: Mapping[str, Enum] = field(default_factory=dict)
    taken_names: frozenset[str] = frozenset()
    children: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    there: frozenset[str] = frozenset()
    old_schema: str = "public"
    writers: frozenset[str] = frozenset()

    def exists(self, address: Address) -> bool:
        return dotted(address.names) in {*self.there, *self.relations, *self.definitions}

    def comment(self, address: Address) -> str | None:
        return self.comments.get(dotted(address.names))

    def owner(self, address: Address) -> str | None:
        return self.owners.get(dotted(address.names))

    def schema(self, address: Address) -> str | None:
        return self.old_schema

    def grants(self, address: Address) -> tuple[Grant, ...]:
        return self.held

    def relation(self, name: str) -> Relation | None:
        return self.relations.get(name)

    def lost(self, addresses: Sequence[Address]) -> Lost:
        return self.gone

    def tables_lost(self, addresses: Sequence[Address]) -> tuple[str, ...]:
        return () if self.gone.columns else self.gone.tables

    def current_user(self) -> str:
        return "me"

    def made(self, address: Address) -> tuple[str, ...]:
        return self.definitions.get(dotted(address.names), ())

    def options(self, address: Address) -> Mapping[str, str]:
        return {}

    def sequence(self, address: Address) -> SequenceFacts | None:
        return self.sequences.get(dotted(address.names))

    def domain(self, address: Address) -> Domain | None:
        return self.domains.get(address.names[0])

    def enum(self, address: Address) -> Enum | None:
        return self.enums.get(address.names[0])

    def default_grants(self, role: str | None, schema: str | None, kind: str) -> tuple[Grant, ...]:
        return self.held

    def in_schema(self, schema: str, kinds: str) -> tuple[str, ...]:
        return tuple(self.relations)

    def descendants(self, name: str) -> tuple[str, ...]:
        return self.children.get(name, ())

    def taken(self, name: str, schema: str) -> bool:
        return name in self.taken_names

    def writing(self, names: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
        return tuple(name for name in names if dotted(name) in self.writers)
