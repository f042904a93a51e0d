"""The child process that parses what could end a process: `serve` is all that it runs.

It answers one request after the other and ends when its standard input does, however its parent ended. What it takes
at the most is limited by the kernel, so an orphan in the middle of a statement ends as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

# A request: how many bytes of UTF-8 follow.
REQUEST = struct.Struct("!Q")
# An answer: its kind, a number that belongs to it, and how many bytes follow.
ANSWER = struct.Struct("!cQQ")
# A serialized ParseResult; the number is how many messages it nests, SHALLOW when it is not more.
TREE = b"T"
# What protobuf reads without being told to (kUpb_WireFormat_DefaultDepthLimit).
SHALLOW = 100
# No tree; what follows is the reason, the number the character where the grammar stopped, from 1; 0 for none.
ERROR = b"E"

# 4 MiB of calls of functions, the worst shape, took 750 MB (measured); the interpreter has about 100 MB of addresses.
_MOST_MEMORY_BYTES = 1 << 30
# Of the processor, so that an orphan ends; a parent that used it up starts another child.
_MOST_CPU_S = 600


def serve() -> None:
    """Answer requests from standard input on standard output until there are no more."""
    _limit_ourselves()
    import postgast  # noqa: PLC0415 - within the limits

    requests = sys.stdin.buffer
    # What the library in C prints when it runs out of memory is no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while (head := requests.read(REQUEST.size)) and len(head) == REQUEST.size:
        text = requests.read(*REQUEST.unpack(head))
        kind, number, content = _parse(postgast, text)
        _answer(answers, kind, number, content)


def allow_deep_trees(*, allow: bool) -> None:
    """Let protobuf, in this whole process, read trees of more than `SHALLOW` messages in each other, or not any more.

    Only the implementation in C can be told so; with any other such trees stay unread (DecodeError).
    """
    try:
        from google._upb import _message  # noqa: PLC0415 - not everywhere
    except ImportError:
        return
    _message.SetAllowOversizeProtos(allow)


def depth_of(tree: Any) -> int:
    """How many messages a tree nests at the most. One level after the other: this does not recurse.

    Args:
        tree: A message of protobuf.
    """
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [part for message in level for part in _parts(message)]
    return depth


def _limit_ourselves() -> None:
    # A core file would hold the text of a statement.
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, _MOST_MEMORY_BYTES),
        (resource.RLIMIT_CPU, _MOST_CPU_S),
    ):
        # macOS refuses a limit of addresses; there the time alone is limited, by the parent.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def _parse(postgast: Any, text: bytes) -> tuple[bytes, int, bytes]:
    result = postgast.native.lib.pg_query_parse_protobuf(text)
    try:
        if result.error:
            error = result.error.contents
            return ERROR, max(0, error.cursorpos), error.message or b""
        tree = ctypes.string_at(result.parse_tree.data, result.parse_tree.len)
    finally:
        postgast.native.lib.pg_query_free_protobuf_parse_result(result)
    return TREE, _decoded_depth(postgast.pg_query_pb2.ParseResult, tree), tree


def _decoded_depth(kind: Any, tree: bytes) -> int:
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - within the limits

    try:
        kind.FromString(tree)
    except DecodeError:
        allow_deep_trees(allow=True)
        decoded = kind.FromString(tree)
        allow_deep_trees(allow=False)
    else:
        return SHALLOW
    return depth_of(decoded)


def _parts(message: Any) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.message_type is not None:
            yield from value if field.is_repeated else (value,)


def _answer(answers: BinaryIO, kind: bytes, number: int, content: bytes) -> None:
    answers.write(ANSWER.pack(kind, number, len(content)))
    answers.write(content)
    answers.flush()
