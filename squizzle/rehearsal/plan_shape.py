"""What a plan of PostgreSQL's is made of, without its numbers: which node reads which relation by which index. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# A plan over a thousand partitions says the same a thousand times.
_WIDTH = 400
_BY_INDEX = frozenset({"Index Scan", "Index Only Scan", "Bitmap Heap Scan"})
_WHOLE = "Seq Scan"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanShape:
    """One plan.

    Attributes:
        text: Its nodes, each with what it works on, the inner ones in parentheses.
        cost: What the planner thinks that it costs, in its own unit.
        indexed: How often each relation is read through an index.
        whole: How often each relation is read from its first row to its last.
        indexes: The indexes that are used.
    """

    text: str
    cost: float
    indexed: Mapping[str, int] = field(default_factory=dict)
    whole: Mapping[str, int] = field(default_factory=dict)
    indexes: frozenset[str] = frozenset()

    def lost_indexes(self, before: PlanShape) -> tuple[str, ...]:
        """Relations that `before` reads through an index, and that this plan reads as a whole instead."""
        return tuple(
            relation
            for relation, times in sorted(before.indexed.items())
            if self.indexed.get(relation, 0) < times and self.whole.get(relation, 0) > before.whole.get(relation, 0)
        )


def read_shape(plan: Mapping[str, Any]) -> PlanShape:
    """The shape of a plan that EXPLAIN (VERBOSE, FORMAT JSON) shows under "Plan"."""
    nodes = tuple(_nodes(plan))
    text = _text(plan)
    return PlanShape(
        text=text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…",
        cost=float(plan.get("Total Cost", 0.0)),
        indexed=Counter(name for kind, name, _ in nodes if kind in _BY_INDEX),
        whole=Counter(name for kind, name, _ in nodes if kind == _WHOLE),
        indexes=frozenset(index for _, _, index in nodes if index),
    )


def _nodes(plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Kind, relation and index of each node."""
    yield plan["Node Type"], _relation(plan), plan.get("Index Name", "")
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _relation(plan: Mapping[str, Any]) -> str:
    name = str(plan.get("Relation Name", ""))
    return f"{plan['Schema']}.{name}" if name and "Schema" in plan else name


def _text(plan: Mapping[str, Any]) -> str:
    kind = plan["Operation"] if plan["Node Type"] == "ModifyTable" else plan["Node Type"]
    words = [f"Parallel {kind}" if plan.get("Parallel Aware") else str(kind)]
    if "Index Name" in plan:
        words.append(f"using {plan['Index Name']}")
    if relation := _relation(plan):
        words.append(f"on {relation}")
    inner = list(dict.fromkeys(_text(one) for one in plan.get("Plans", ())))
    return " ".join(words) + (f" ({', '.join(inner)})" if inner else "")
