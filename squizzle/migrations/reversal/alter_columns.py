"""Each subcommand of ALTER TABLE that is about one column, turned round. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.alter_parts import Altered, Handler, Part, Phase
from squizzle.migrations.reversal.columns import (
    column_attributes,
    column_text,
    compression_text,
    identity_text,
    not_null_text,
    sequence_options,
    storage_text,
    type_of,
)
from squizzle.migrations.reversal.definitions import Address, Column, Lost, LostColumn
from squizzle.migrations.reversal.foreign_options import options_back
from squizzle.migrations.reversal.lossless import back_from_wider, keeps_every_value
from squizzle.migrations.reversal.records import Reversibility
from squizzle.migrations.reversal.remaking import restoring
from squizzle.migrations.reversal.saving import NOTHING, Saved, save_column
from squizzle.migrations.reversal.trees import literal, quoted, type_text


def _add(command: Tree, altered: Altered) -> Iterator[Part]:
    name = getattr(command, "def").column_def.colname
    if command.missing_ok and altered.relation.column(name) is not None:
        yield Part(reason="it was there already, so nothing was added", certain=True)
        return
    drop = altered.alter(f"DROP COLUMN {quoted(name)}")
    yield Part(statements=(drop,), phase=Phase.TAKE_AWAY, reason="the new column is dropped", certain=True)


def _drop(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is None:
        yield Part(reason="there was no such column, so nothing was dropped", certain=command.missing_ok)
        return
    addresses = [_address(altered, command.name)]
    addresses += [Address(kind="column of", names=(one, command.name)) for one in _descendants(altered)]
    lost = altered.definitions.lost(addresses)
    others = tuple(one for one in lost.columns if one.name != command.name or one.table == "")
    rest = _without_columns(lost, others)
    made = [altered.alter(f"ADD COLUMN {column_text(column, altered.relation, identity=True)}")]
    saved = save_dropped(column, altered)
    fill = saved.restore
    counted = bool(lost.sequences) or column.sequence is not None
    dependent = restoring(altered.definitions, rest)
    # The default of a serial column counts with a sequence that went with it.
    counters = tuple(text for text in dependent if text.startswith("CREATE SEQUENCE"))
    dependent = tuple(text for text in dependent if text not in counters)
    statements = (*counters, *made, *fill, *column_attributes(altered.name, column), *dependent)
    yield Part(
        statements=_without_identity_twice(statements, column),
        phase=Phase.BRING_BACK,
        reversibility=_what_comes_back(column, bool(fill) and not counted, bool(lost.unknown)),
        reason=_reason(column, altered, bool(fill), lost.unknown) + (_POSITION_LOST if counted else ""),
        save=saved.saving,
    )


_POSITION_LOST = "; the position of its sequence is lost: setval() puts it behind the highest value"


def _without_identity_twice(statements: tuple[str, ...], column: Column) -> tuple[str, ...]:
    """A dump adds identity by itself; ADD COLUMN has said it already."""
    if not column.identity:
        return statements
    return tuple(text for text in statements if "ADD GENERATED" not in text)


def _descendants(altered: Altered) -> tuple[str, ...]:
    return altered.definitions.descendants(altered.name)


def _without_columns(lost: Lost, kept: tuple[LostColumn, ...]) -> Lost:
    return replace(lost, columns=kept)


def _address(altered: Altered, column: str) -> Address:
    return Address(kind="column of", names=(altered.name, column))


def save_dropped(column: Column, altered: Altered) -> Saved:
    """How the values of a column that is dropped are kept; nothing where they are not, or cannot be."""
    relation = altered.relation
    inherited = relation.kind == "r" and bool(_descendants(altered))
    if not altered.context.saves or column.generated or inherited:
        return NOTHING
    if not relation.row_key or column.name in relation.row_key:
        return NOTHING
    return save_column(relation, altered.name, column, altered.context)


def _what_comes_back(column: Column, saved: bool, unknown: bool) -> Reversibility:  # noqa: FBT001
    if unknown:
        return Reversibility.LOSSY
    return Reversibility.EXACT if saved or column.generated else Reversibility.LOSSY


def _reason(column: Column, altered: Altered, saved: bool, unknown: tuple[str, ...]) -> str:  # noqa: FBT001
    place = "" if column.last else "; it comes back as the last column"
    if unknown:
        return f"no definition that can be read of {', '.join(unknown)}{place}"
    what = f"{altered.name}.{quoted(column.name)}"
    if saved:
        return f"the values of {what} come back from where they were saved{place}"
    if column.generated:
        return f"the values of {what} are computed again{place}"
    fails = "; NOT NULL fails while there are rows without a value" if column.not_null and not column.default else ""
    return (
        f"the column comes back, the values of {what} do not: take them from a backup or from a point in time before"
        f" the script, or save them first with --save-rows{place}{fails}"
    )


def _default(command: Tree, altered: Altered) -> Iterator[Part]:
    yield from _default_back(altered, command.name)


def _default_back(altered: Altered, name: str) -> Iterator[Part]:
    column = altered.relation.column(name)
    if column is None or column.generated:
        return
    if column.default is None:
        yield Part(statements=(altered.alter(f"ALTER COLUMN {quoted(name)} DROP DEFAULT"),), phase=Phase.TAKE_AWAY)
    else:
        yield Part(statements=(altered.alter(f"ALTER COLUMN {quoted(name)} SET DEFAULT {column.default}"),))


def _set_not_null(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is not None and not column.not_null:
        yield Part(statements=(altered.alter(f"ALTER COLUMN {quoted(command.name)} DROP NOT NULL"),))


def _drop_not_null(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is not None and column.not_null:
        reason = "NOT NULL again; fails, and changes nothing, while a row has no value"
        yield Part(statements=(not_null_text(altered.name, column),), reason=reason)


def _type(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is None:
        return
    name, old = quoted(command.name), type_of(column)
    new = type_text(getattr(command, "def").column_def.type_name)
    using = bool(getattr(command, "def").column_def.HasField("raw_default"))
    if column.default is not None and not column.generated:
        yield Part(statements=(altered.alter(f"ALTER COLUMN {name} DROP DEFAULT"),), phase=Phase.TAKE_AWAY)
        yield Part(statements=(altered.alter(f"ALTER COLUMN {name} SET DEFAULT {column.default}"),))
    kept = not using and keeps_every_value(column.type, new)
    yield Part(
        statements=(altered.alter(f"ALTER COLUMN {name} TYPE {old}{_using(column, new, kept=kept)}"),),
        phase=Phase.TYPE,
        reversibility=Reversibility.EXACT if kept else Reversibility.LOSSY,
        reason=_type_reason(column, new, kept=kept),
    )


def _type_reason(column: Column, new: str, *, kept: bool) -> str:
    if kept:
        return f"{column.type} again; fails, and changes nothing, when a newer value does not fit"
    return f"{column.type} again, from the values as {new}: what that type did not keep is lost; take it from a backup"


def _using(column: Column, new: str, *, kept: bool) -> str:
    """From a type that kept every value only what fits; from others the plain cast, or by way of text."""
    if column.generated:
        return ""
    name = quoted(column.name)
    if kept:
        back = back_from_wider(name, column.type, new)
        return f" USING {back}" if back else ""
    direct = keeps_every_value(column.type, new) or keeps_every_value(new, column.type)
    return f" USING {name}::{column.type}" if direct else f" USING {name}::text::{column.type}"


def _statistics(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is None:  # of an index, by number
        number = command.num
        found = altered.relation.columns[number - 1] if 0 < number <= len(altered.relation.columns) else None
        old = found.statistics if found else -1
        yield Part(statements=(altered.alter(f"ALTER COLUMN {number} SET STATISTICS {old}"),))
        return
    yield Part(statements=(altered.alter(f"ALTER COLUMN {quoted(command.name)} SET STATISTICS {column.statistics}"),))


def _storage(command: Tree, altered: Altered) -> Iterator[Part]:
    if column := altered.relation.column(command.name):
        yield Part(statements=(altered.alter(f"ALTER COLUMN {quoted(command.name)} {storage_text(column)}"),))


def _compression(command: Tree, altered: Altered) -> Iterator[Part]:
    if column := altered.relation.column(command.name):
        yield Part(statements=(altered.alter(f"ALTER COLUMN {quoted(command.name)} {compression_text(column)}"),))


def _options(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is None:
        return
    name = quoted(command.name)
    given = [one.def_elem.defname for one in getattr(command, "def").list.items]
    gone = [one for one in given if one not in column.options]
    back = [f"{one} = {column.options[one]}" for one in given if one in column.options]
    if gone:
        yield Part(statements=(altered.alter(f"ALTER COLUMN {name} RESET ({', '.join(gone)})"),))
    if back:
        yield Part(statements=(altered.alter(f"ALTER COLUMN {name} SET ({', '.join(back)})"),))


def _foreign_options(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    given = [one.def_elem for one in getattr(command, "def").list.items]
    text = options_back(given, column.foreign_options if column else {})
    if text:
        yield Part(statements=(altered.alter(f"ALTER COLUMN {quoted(command.name)} OPTIONS ({text})"),))


def _add_identity(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    statement = altered.alter(f"ALTER COLUMN {quoted(command.name)} DROP IDENTITY")
    yield Part(statements=(statement,), phase=Phase.TAKE_AWAY)
    if column is not None:
        yield from _default_back(altered, command.name)


_HOW = {"a": "ALWAYS", "d": "BY DEFAULT"}


def _set_identity(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is None or column.sequence is None:
        return
    options = " ".join(f"SET {one}" for one in _each_option(sequence_options(column.sequence)))
    how = _HOW[column.identity]
    restarts = any(one.def_elem.defname == "restart" for one in getattr(command, "def").list.items)
    yield Part(
        statements=(altered.alter(f"ALTER COLUMN {quoted(command.name)} SET GENERATED {how} {options}"),),
        reversibility=Reversibility.LOSSY if restarts else Reversibility.EXACT,
        reason="the position of its sequence before RESTART is lost" if restarts else "",
    )


def _each_option(text: str) -> list[str]:
    words = text.split()
    pairs: list[list[str]] = []
    for word in words:
        if word in {"INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "NO"} or (
            word == "CYCLE" and (not pairs or pairs[-1] != ["NO"])
        ):
            pairs.append([word])
        else:
            pairs[-1].append(word)
    return [" ".join(one) for one in pairs]


def _drop_identity(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is None or not column.identity:
        yield Part(reason="there was no identity to drop", certain=command.missing_ok)
        return
    name = quoted(command.name)
    sequence = column.sequence.name if column.sequence else ""
    highest = f"SELECT max({name}) FROM {altered.name}"
    behind = f"SELECT pg_catalog.setval({literal(sequence)}, coalesce(({highest}), 0) + 1, false)"
    yield Part(
        statements=(altered.alter(f"ALTER COLUMN {name} ADD {identity_text(column)}"), behind),
        phase=Phase.BRING_BACK,
        reversibility=Reversibility.LOSSY,
        reason="the position of its sequence is lost; it goes on behind the highest value",
    )


def _expression(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is not None and column.generated:
        yield Part(
            statements=(altered.alter(f"ALTER COLUMN {quoted(command.name)} SET EXPRESSION AS ({column.default})"),)
        )


def _drop_expression(command: Tree, altered: Altered) -> Iterator[Part]:
    column = altered.relation.column(command.name)
    if column is None or not column.generated:
        yield Part(reason="it was not generated", certain=command.missing_ok)
        return
    lost = altered.definitions.lost([_address(altered, command.name)])
    if lost.tables or [one for one in lost.columns if one.name != command.name]:
        yield Part(reversibility=Reversibility.NONE, reason=f"other data depends on {quoted(command.name)}")
        return
    drop = (*lost.drop, altered.alter(f"DROP COLUMN {quoted(command.name)}"))
    made = altered.alter(f"ADD COLUMN {column_text(column, altered.relation, identity=False)}")
    rest = restoring(altered.definitions, _without_columns(lost, ()))
    yield Part(
        statements=(*drop, made, *column_attributes(altered.name, column), *rest),
        phase=Phase.BRING_BACK,
        reason="dropped and made again as a generated column, at the end" if not column.last else "made again",
    )


COLUMN_HANDLERS: dict[int, Handler] = {
    pb.AT_AddColumn: _add,
    pb.AT_DropColumn: _drop,
    pb.AT_ColumnDefault: _default,
    pb.AT_SetNotNull: _set_not_null,
    pb.AT_DropNotNull: _drop_not_null,
    pb.AT_AlterColumnType: _type,
    pb.AT_SetStatistics: _statistics,
    pb.AT_SetStorage: _storage,
    pb.AT_SetCompression: _compression,
    pb.AT_SetOptions: _options,
    pb.AT_ResetOptions: _options,
    pb.AT_AlterColumnGenericOptions: _foreign_options,
    pb.AT_AddIdentity: _add_identity,
    pb.AT_SetIdentity: _set_identity,
    pb.AT_DropIdentity: _drop_identity,
    pb.AT_SetExpression: _expression,
    pb.AT_DropExpression: _drop_expression,
}
