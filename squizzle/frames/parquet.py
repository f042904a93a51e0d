"""Frames as Parquet, and many of them made one in bounded memory (docs/adr/0041)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from squizzle.errors import BackupDamagedError

ENTRY = "entry"
"""The column that says which sweep or drill a row is of; it tells rows that are in two files."""

# Among what is said of the file as a whole; readers of Parquet that do not know it pass over it. In the file the name
# stands before a mark of a text, its length, and the text.
_SEAL = "squizzle_sha256"
_UNSEALED = "0" * 64
_SEAL_MARK = _SEAL.encode() + b"\x18\x40"
# A group of rows is read and written as a whole: 80 MB of 60 columns.
_ROWS_AT_ONCE = 100_000


def to_parquet(frame: pd.DataFrame) -> bytes:
    """A frame as bytes, compressed, with a hash over all of them."""
    return _written([pa.Table.from_pandas(frame, preserve_index=False)])


def from_parquet(content: bytes, *, wants: Callable[[str], bool] | None = None, source: str) -> pd.DataFrame:
    """The frame of some bytes.

    Args:
        content: What `to_parquet` or `merge` made.
        wants: Says of a column whether it is read; None for all.
        source: Where it comes from, for the message.

    Raises:
        BackupDamagedError: It is no Parquet, or damaged.
    """
    with _clear_damage(source):
        file = _opened(content)
        chosen = None if wants is None else [one for one in file.schema_arrow.names if wants(one)]
        frame: pd.DataFrame = file.read(columns=chosen).to_pandas()
        return frame


def merge(contents: Sequence[bytes]) -> bytes:
    """Several frames as one; rows of an entry that an earlier one has are left out, columns that one lacks are empty.

    Raises:
        BackupDamagedError: One of them cannot be read, or their columns are not of one kind.
    """
    with _clear_damage("a frame"):
        return _written(_rows_once(contents))


def check(content: bytes, *, source: str) -> None:
    """Read all of it.

    Raises:
        BackupDamagedError: It cannot be read.
    """
    from_parquet(content, source=source)


def _rows_once(contents: Sequence[bytes]) -> Iterator[pa.Table]:
    files = [_opened(one) for one in contents]
    schema = pa.unify_schemas([file.schema_arrow.remove_metadata() for file in files], promote_options="permissive")
    seen: set[str] = set()
    waiting: list[pa.Table] = []
    for file in files:
        here: set[str] = set()
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            here.update(pc.unique(table[ENTRY]).to_pylist())
            if seen:
                known = pc.is_in(table[ENTRY], value_set=pa.array(sorted(seen), type=table.schema.field(ENTRY).type))
                table = table.filter(pc.invert(known))
            waiting.append(_with_columns(table, schema))
            if sum(one.num_rows for one in waiting) >= _ROWS_AT_ONCE:
                yield pa.concat_tables(waiting)
                waiting = []
        seen |= here
    yield pa.concat_tables([*waiting, schema.empty_table()])


def _with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _written(tables: Iterator[pa.Table] | Sequence[pa.Table]) -> bytes:
    target = io.BytesIO()
    writer: pq.ParquetWriter | None = None
    for table in tables:
        writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd")
        if table.num_rows or not target.tell():
            writer.write_table(table.combine_chunks())
    if writer is not None:
        writer.add_key_value_metadata({_SEAL: _UNSEALED})
        writer.close()
    return _sealed(target.getvalue())


def _sealed(content: bytes) -> bytes:
    """With the hash of the file as it is with zeros in the hash's place."""
    place = content.rfind(_SEAL_MARK) + len(_SEAL_MARK)
    seal = hashlib.sha256(content).hexdigest().encode()
    return content[:place] + seal + content[place + len(seal) :]


def _opened(content: bytes) -> pq.ParquetFile:
    """The file, once its hash was compared; one of a version that wrote none is taken as it is."""
    place = content.rfind(_SEAL_MARK)
    if place >= 0:
        place += len(_SEAL_MARK)
        found = content[place : place + len(_UNSEALED)]
        before = content[:place] + _UNSEALED.encode() + content[place + len(_UNSEALED) :]
        if hashlib.sha256(before).hexdigest().encode() != found:
            raise ValueError("its hash is another one")
    return pq.ParquetFile(io.BytesIO(content))


@contextmanager
def _clear_damage(source: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as exc:  # OSError: what cannot be decompressed
        raise BackupDamagedError(
            f"{source} is no frame that can be read: {exc if type(exc) is ValueError else type(exc).__name__}",
            hint="no backup is concerned; what is drawn over time lacks it",
        ) from exc
