"""The parser in a child process, for statements that could end the process that parses them.

libpg_query recurses without looking at its stack: a chain of 50,000 terms is a segmentation fault. Here it may be one.
The child is started for the first such statement and kept; it is started again after it died, and killed when a
statement takes too long. It ends with us, also when we are killed: its standard input ends then.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from squizzle.analysis.parser_child import ANSWER, REQUEST, TREE, allow_deep_trees
from squizzle.processes import Child

# Three times what the worst 1 MiB took on a busy machine (measured: 2.8 s for 250,000 calls, 0.5 s for rows).
PATIENCE_S = 10.0
# An idle child ends at once when its input does.
_LAST_PATIENCE_S = 2.0
# What an interpreter may need to find its own libraries; nothing else of ours reaches the child, no secret either.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from squizzle.analysis.parser_child import serve; serve()"


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedBytes:
    """A serialized ParseResult.

    Attributes:
        content: The protobuf message.
        depth: How many messages it nests; 100 also when there are fewer.
    """

    content: bytes
    depth: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NotParsed:
    """Why there is no tree.

    Attributes:
        reason: For a reader, after "because".
        place: The character where the grammar stopped, from 0.
        is_syntax: Whether the grammar refused the text; otherwise it was too much for the parser.
    """

    reason: str
    place: int = 0
    is_syntax: bool = False


_DIED = NotParsed(reason="the parser's process died of it: it nests too deeply, or takes too much memory")


class ParserProcess:
    """One child process, started when it is needed; any thread may ask, one at a time.

    Args:
        patience_s: How long a statement may take, in seconds.
    """

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._process: Child | None = None
        self._lock = threading.Lock()
        self._is_known = False
        self._answers = 0

    def parse(self, text: str) -> ParsedBytes | NotParsed:
        """Parse a text; never fails, and takes no longer than the patience and a start of the interpreter.

        Args:
            text: SQL without a NUL.
        """
        question = text.encode()
        with self._lock:
            had_answered = self._answers > 0
            answer = self._ask(question)
            # It may have died of what it did before (its processor time is limited), or somebody killed it.
            return self._ask(question) if answer is _DIED and had_answered else answer

    @contextlib.contextmanager
    def reading_deep_trees(self) -> Iterator[None]:
        """Read trees of more than 100 messages in each other: protobuf's leave, which holds for the whole process."""
        with self._lock:
            allow_deep_trees(allow=True)
            try:
                yield
            finally:
                allow_deep_trees(allow=False)

    def stop(self) -> None:
        """End the child, if there is one; the next text starts another."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._process.pid if self._process is not None else None

    def _ask(self, question: bytes) -> ParsedBytes | NotParsed:
        try:
            process = self._running()
        except OSError as exc:
            return NotParsed(reason=f"the parser's process could not be started ({exc.strerror or exc})")
        late = threading.Event()
        watch = threading.Timer(self._patience_s, _kill, (process, late))
        watch.daemon = True
        watch.start()
        answer = None
        try:
            answer = _exchange(process, question)
        finally:
            watch.cancel()
            watch.join()
            # Also after Ctrl-C: what it still has to say would be taken for the next answer.
            if answer is None or late.is_set():
                process.kill()
                self._end()
        if answer is not None:
            self._answers += 1
            return answer
        return NotParsed(reason=f"the parser ran out of time ({self._patience_s:g} s)") if late.is_set() else _DIED

    def _running(self) -> Child:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if not self._is_known:
            self._is_known = True
            atexit.register(self.stop)
            os.register_at_fork(after_in_child=self._forget)
        if self._process is None:
            self._answers = 0
            # -I: neither the folder we are in nor variables add places that modules come from; ours are said.
            self._process = Child(
                [sys.executable, "-I", "-c", _PROGRAM, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # No buffers: a fork of us would write their content, too.
                bufsize=0,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                # Ctrl-C at the terminal is for us.
                start_new_session=True,
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in _pipes(process):
            with contextlib.suppress(OSError):  # what it did not read is lost
                pipe.close()
        try:
            process.wait(_LAST_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _forget(self) -> None:
        """In a fork of us: the child is not ours, and the pipes to it are one too many."""
        process, self._process, self._lock = self._process, None, threading.Lock()
        if process is not None:
            for pipe in _pipes(process):
                with contextlib.suppress(OSError):
                    pipe.close()
            process.returncode = 0  # nobody here has to wait for it


def _kill(process: Child, late: threading.Event) -> None:
    late.set()
    process.kill()


def _pipes(process: Child) -> list[IO[bytes]]:
    return [pipe for pipe in (process.stdin, process.stdout) if pipe is not None]


def _exchange(process: Child, question: bytes) -> ParsedBytes | NotParsed | None:
    """One question and its answer; None when the child ended over it."""
    requests, answers = process.stdin, process.stdout
    if requests is None or answers is None:
        return None
    try:
        _write(requests, REQUEST.pack(len(question)) + question)
    except OSError:  # it died before it had read all of it
        return None
    head = _read(answers, ANSWER.size)
    if len(head) < ANSWER.size:
        return None
    kind, number, size = ANSWER.unpack(head)
    content = _read(answers, size)
    if len(content) < size:
        return None
    if kind == TREE:
        return ParsedBytes(content=content, depth=number)
    return NotParsed(reason=content.decode(errors="replace"), place=max(0, number - 1), is_syntax=True)


def _write(pipe: IO[bytes], content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[pipe.write(rest) :]


def _read(pipe: IO[bytes], size: int) -> bytes:
    """That many bytes, fewer when the child ended."""
    parts = []
    while size > 0 and (part := pipe.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
