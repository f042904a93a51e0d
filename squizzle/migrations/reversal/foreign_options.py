"""Options of foreign servers, wrappers, tables and columns, set back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.trees import literal, quoted


def options_back(given: Sequence[Tree], before: Mapping[str, str]) -> str:
    """What stands in OPTIONS (…) so that foreign options become what they were."""
    actions = []
    for option in given:
        name, old = quoted(option.defname), before.get(option.defname)
        if option.defaction == pb.DEFELEM_DROP:
            if old is not None:
                actions.append(f"ADD {name} {literal(old)}")
        elif old is None:
            actions.append(f"DROP {name}")
        else:
            actions.append(f"SET {name} {literal(old)}")
    return ", ".join(actions)
