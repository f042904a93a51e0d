"""Each subcommand of ALTER TABLE that is about the table itself, turned round. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.alter_columns import COLUMN_HANDLERS
from squizzle.migrations.reversal.alter_constraints import CONSTRAINT_HANDLERS
from squizzle.migrations.reversal.alter_parts import Altered, Handler, Part, Phase
from squizzle.migrations.reversal.definitions import Switch
from squizzle.migrations.reversal.foreign_options import options_back
from squizzle.migrations.reversal.records import Reversibility
from squizzle.migrations.reversal.trees import literal, quoted, range_name

_FIRES = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def _owner(_: Tree, altered: Altered) -> Iterator[Part]:
    owner = altered.definitions.owner(altered.address)
    yield Part(statements=(altered.alter(f"OWNER TO {owner}"),))


def _cluster(_: Tree, altered: Altered) -> Iterator[Part]:
    index = altered.relation.clustered_on
    yield Part(statements=(altered.alter(f"CLUSTER ON {index}" if index else "SET WITHOUT CLUSTER"),))


def _persistence(_: Tree, altered: Altered) -> Iterator[Part]:
    word = "UNLOGGED" if altered.relation.persistence == "u" else "LOGGED"
    yield Part(statements=(altered.alter(f"SET {word}"),))


def _method(_: Tree, altered: Altered) -> Iterator[Part]:
    yield Part(statements=(altered.alter(f"SET ACCESS METHOD {altered.relation.method}"),))


def _tablespace(_: Tree, altered: Altered) -> Iterator[Part]:
    yield Part(statements=(altered.alter(f"SET TABLESPACE {altered.relation.tablespace}"),))


def _options(command: Tree, altered: Altered) -> Iterator[Part]:
    given = [one.def_elem for one in getattr(command, "def").list.items]
    back, gone = [], []
    for option in given:
        before = altered.relation.toast_options if option.defnamespace == "toast" else altered.relation.options
        name = f"toast.{option.defname}" if option.defnamespace == "toast" else option.defname
        value = before.get(option.defname)
        if value is None:
            gone.append(name)
        else:
            back.append(f"{name} = {literal(value)}")
    if gone:
        yield Part(statements=(altered.alter(f"RESET ({', '.join(dict.fromkeys(gone))})"),), phase=Phase.TAKE_AWAY)
    if back:
        yield Part(statements=(altered.alter(f"SET ({', '.join(dict.fromkeys(back))})"),))


def _switches(kind: str) -> Handler:
    def handler(command: Tree, altered: Altered) -> Iterator[Part]:
        known = altered.relation.triggers if kind == "TRIGGER" else altered.relation.rules
        if command.name:
            chosen = [one for one in known if one.name == command.name]
        else:
            everything = command.subtype in {pb.AT_EnableTrigAll, pb.AT_DisableTrigAll}
            chosen = [one for one in known if everything or not one.internal]
        yield Part(statements=tuple(_switch(kind, one, altered) for one in chosen))

    return handler


def _switch(kind: str, one: Switch, altered: Altered) -> str:
    return altered.alter(f"{_FIRES[one.enabled]} {kind} {quoted(one.name)}")


def _row_security(_: Tree, altered: Altered) -> Iterator[Part]:
    word = "ENABLE" if altered.relation.row_security else "DISABLE"
    yield Part(statements=(altered.alter(f"{word} ROW LEVEL SECURITY"),))


def _force_row_security(_: Tree, altered: Altered) -> Iterator[Part]:
    word = "FORCE" if altered.relation.force_row_security else "NO FORCE"
    yield Part(statements=(altered.alter(f"{word} ROW LEVEL SECURITY"),))


_IDENTITY = {"d": "DEFAULT", "n": "NOTHING", "f": "FULL"}


def _replica_identity(_: Tree, altered: Altered) -> Iterator[Part]:
    relation = altered.relation
    what = _IDENTITY.get(relation.replica_identity) or f"USING INDEX {relation.replica_index}"
    yield Part(statements=(altered.alter(f"REPLICA IDENTITY {what}"),), phase=Phase.LAST)


def _inherit(command: Tree, altered: Altered) -> Iterator[Part]:
    parent = range_name(getattr(command, "def").range_var)
    yield Part(statements=(altered.alter(f"NO INHERIT {parent}"),), phase=Phase.TAKE_AWAY)


def _no_inherit(command: Tree, altered: Altered) -> Iterator[Part]:
    parent = range_name(getattr(command, "def").range_var)
    yield Part(statements=(altered.alter(f"INHERIT {parent}"),), phase=Phase.BRING_BACK)


def _of_type(_: Tree, altered: Altered) -> Iterator[Part]:
    before = altered.relation.of_type
    yield Part(statements=(altered.alter(f"OF {before}" if before else "NOT OF"),))


def _attach(command: Tree, altered: Altered) -> Iterator[Part]:
    part = range_name(getattr(command, "def").partition_cmd.name)
    if altered.word == "INDEX":
        yield Part(reversibility=Reversibility.NONE, reason="an attached index cannot be detached")
        return
    reason = "detached again; indexes and constraints that ATTACH PARTITION made on it stay"
    statement = altered.alter(f"DETACH PARTITION {part}")
    yield Part(statements=(statement,), phase=Phase.TAKE_AWAY, reason=reason)


def _detach(command: Tree, altered: Altered) -> Iterator[Part]:
    name = range_name(getattr(command, "def").partition_cmd.name)
    part = altered.definitions.relation(name)
    bound = part.bound if part else None
    if bound is None:
        yield Part(reversibility=Reversibility.NONE, reason=f"the bounds of {name} were not found")
        return
    reason = "attached again; its rows are checked against the bounds"
    yield Part(statements=(altered.alter(f"ATTACH PARTITION {name} {bound}"),), phase=Phase.LAST, reason=reason)


def _foreign_options(command: Tree, altered: Altered) -> Iterator[Part]:
    given = [one.def_elem for one in getattr(command, "def").list.items]
    text = options_back(given, altered.relation.foreign_options)
    if text:
        yield Part(statements=(altered.alter(f"OPTIONS ({text})"),))


HANDLERS: dict[int, Handler] = {
    **COLUMN_HANDLERS,
    **CONSTRAINT_HANDLERS,
    pb.AT_ChangeOwner: _owner,
    pb.AT_ClusterOn: _cluster,
    pb.AT_DropCluster: _cluster,
    pb.AT_SetLogged: _persistence,
    pb.AT_SetUnLogged: _persistence,
    pb.AT_SetAccessMethod: _method,
    pb.AT_SetTableSpace: _tablespace,
    pb.AT_SetRelOptions: _options,
    pb.AT_ResetRelOptions: _options,
    pb.AT_EnableTrig: _switches("TRIGGER"),
    pb.AT_EnableAlwaysTrig: _switches("TRIGGER"),
    pb.AT_EnableReplicaTrig: _switches("TRIGGER"),
    pb.AT_DisableTrig: _switches("TRIGGER"),
    pb.AT_EnableTrigAll: _switches("TRIGGER"),
    pb.AT_DisableTrigAll: _switches("TRIGGER"),
    pb.AT_EnableTrigUser: _switches("TRIGGER"),
    pb.AT_DisableTrigUser: _switches("TRIGGER"),
    pb.AT_EnableRule: _switches("RULE"),
    pb.AT_EnableAlwaysRule: _switches("RULE"),
    pb.AT_EnableReplicaRule: _switches("RULE"),
    pb.AT_DisableRule: _switches("RULE"),
    pb.AT_EnableRowSecurity: _row_security,
    pb.AT_DisableRowSecurity: _row_security,
    pb.AT_ForceRowSecurity: _force_row_security,
    pb.AT_NoForceRowSecurity: _force_row_security,
    pb.AT_ReplicaIdentity: _replica_identity,
    pb.AT_AddInherit: _inherit,
    pb.AT_DropInherit: _no_inherit,
    pb.AT_AddOf: _of_type,
    pb.AT_DropOf: _of_type,
    pb.AT_AttachPartition: _attach,
    pb.AT_DetachPartition: _detach,
    pb.AT_GenericOptions: _foreign_options,
}
