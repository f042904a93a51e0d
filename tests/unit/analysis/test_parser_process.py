"""The parser's child: it may die of a statement, its parent may die, and nothing of either stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from postgast import pg_query_pb2

from squizzle.analysis.parser_process import NotParsed, ParsedBytes, ParserProcess

DEADLY = "SELECT " + "1+" * 60_000 + "1"


@pytest.fixture
def parser() -> Iterator[ParserProcess]:
    parser = ParserProcess()
    yield parser
    parser.stop()


def value_of(answer: ParsedBytes | NotParsed) -> str:
    assert isinstance(answer, ParsedBytes)
    select = pg_query_pb2.ParseResult.FromString(answer.content).stmts[0].stmt.select_stmt
    return str(select.target_list[0].res_target.val.a_const.sval.sval)


def test_one_child_parses_for_all_threads_until_a_statement_kills_it(parser: ParserProcess) -> None:
    texts = [f"{number}" + "x" * (number % 4 * 50_000) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(parser.parse, [f"SELECT '{text}'" for text in texts]))
    first = parser.pid
    died = parser.parse(DEADLY)
    after = parser.parse("SELECT 'after'")
    second = parser.pid
    parser.stop()

    assert [value_of(answer) for answer in answers] == texts
    assert isinstance(died, NotParsed)
    assert not died.is_syntax
    assert "died" in died.reason
    assert value_of(after) == "after"
    assert first is not None
    assert second is not None
    assert first != second
    # Neither runs, nor is a zombie left.
    assert not psutil.pid_exists(first)
    assert not psutil.pid_exists(second)


def test_a_child_that_somebody_killed_costs_no_answer(parser: ParserProcess) -> None:
    parser.parse("SELECT 'a'")
    assert parser.pid is not None
    os.kill(parser.pid, signal.SIGKILL)

    assert value_of(parser.parse("SELECT 'b'")) == "b"


def test_a_statement_that_takes_too_long_is_given_up() -> None:
    parser = ParserProcess(patience_s=0.01)

    answer = parser.parse("SELECT " + "f()," * 100_000 + "1")

    assert isinstance(answer, NotParsed)
    assert "ran out of time" in answer.reason
    assert parser.pid is None


def test_the_child_has_neither_our_secrets_nor_our_connections(
    parser: ParserProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hush")
    with socket.socket() as connection:
        connection.set_inheritable(True)
        parser.parse("SELECT 1")
    child = psutil.Process(parser.pid)

    assert set(child.environ()) <= {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LC_CTYPE"}
    assert child.num_fds() == 4  # of standard input, output and errors, and the answers


# Prints the child's id; a fork of the process parses as well, with a child of its own.
PROGRAM = """
import atexit, os, sys
from squizzle.analysis.parser_process import ParsedBytes, ParserProcess
parser = ParserProcess()
atexit.register(lambda: print("still there" if parser.pid else ""))  # after what is registered later
assert isinstance(parser.parse("SELECT 1"), ParsedBytes)
print(parser.pid, flush=True)
if not (fork := os.fork()):
    assert parser.pid is None
    assert isinstance(parser.parse("SELECT 2"), ParsedBytes)
    print(parser.pid, flush=True)
    sys.exit(3)
assert os.waitpid(fork, 0)[1] == 3 << 8
assert isinstance(parser.parse("SELECT 3"), ParsedBytes)
"""


@pytest.mark.parametrize(("last", "code"), [("", 0), ("os.kill(os.getpid(), 9)", -9)], ids=["ends", "is killed"])
def test_the_child_ends_with_its_parent(last: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + last], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (code, "")
    pids = [int(line) for line in done.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Orphans are init's to wait for, which may take it a while."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
