"""Whatever a program of the user's shuts is opened again by the other one, however often either was interrupted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from squizzle.errors import FencingFailedError
from squizzle.postgres.access import Connection
from squizzle.postgres.secret import Secret
from squizzle.recovery.fences.book import FenceBook
from squizzle.recovery.fences.command import CommandFence
from squizzle.recovery.fences.records import FenceState
from squizzle.settings.fences import CommandSettings
from tests.support.holds import hold

pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Writes what it is told into a file, then does what the file `does` says."""
    path = tmp_path / "switch it; off"
    path.write_text('#!/bin/sh\necho "$*" >> "$(dirname "$0")/told"\n. "$(dirname "$0")/does"\n', encoding="utf-8")
    path.chmod(0o755)
    (tmp_path / "does").touch()
    return path


@pytest.fixture
def fence(program: Path, control: Connection) -> CommandFence:
    return CommandFence(settings_of(program), FenceBook(control))


def settings_of(program: Path) -> CommandSettings:
    return CommandSettings(
        name=str(program.parent),  # nobody else's
        close=(str(program), "off", "$HOME; *"),
        open=(str(program), "on"),
        timeout=timedelta(seconds=60),
        environment=(("QUEUE_TOKEN", Secret("Planted-queue-88")),),
    )


def told(program: Path) -> list[str]:
    path = program.parent / "told"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_each_program_runs_once_for_all_holds_without_a_shell_between(fence: CommandFence, program: Path) -> None:
    assert fence.look().state is FenceState.OPEN
    assert fence.put_up(hold("first")).state is FenceState.FENCED
    assert fence.put_up(hold("second")).detail == "it was shut already"
    assert fence.take_down("first").holds == (hold("second"),)
    assert told(program) == ["off $HOME; *"]
    assert fence.take_down("second").state is FenceState.OPEN
    assert fence.take_down("second").state is FenceState.OPEN
    assert told(program) == ["off $HOME; *", "on"]
    fence.take_down(None)
    assert told(program)[2:] == ["on"]


def test_a_program_that_fails_is_told_with_its_last_words_but_no_secret_and_runs_again(
    fence: CommandFence, program: Path
) -> None:
    does = program.parent / "does"
    does.write_text('echo "cannot log in with $QUEUE_TOKEN" >&2; exit 3', encoding="utf-8")
    with pytest.raises(FencingFailedError, match=r"ended with exit code 3; it said: cannot log in with \*{8}"):
        fence.put_up(hold())
    look = fence.look()
    assert (look.state, look.holds) == (FenceState.UNKNOWN, (hold(),))
    does.write_text("", encoding="utf-8")
    assert fence.put_up(hold()).state is FenceState.FENCED
    does.write_text("exit 1", encoding="utf-8")
    with pytest.raises(FencingFailedError, match=r"not known to be opened: .* it said nothing"):
        fence.take_down("recovery")
    assert fence.look().state is FenceState.UNKNOWN
    does.write_text("", encoding="utf-8")
    assert fence.take_down("recovery").state is FenceState.OPEN
    assert told(program) == ["off $HOME; *", "off $HOME; *", "on", "on"]


def test_a_program_that_hangs_is_ended(program: Path, control: Connection) -> None:
    (program.parent / "does").write_text("echo patience; exec sleep 600", encoding="utf-8")
    settings = CommandSettings(name=str(program), close=(str(program),), open=("x",), timeout=timedelta(seconds=0.5))
    with pytest.raises(FencingFailedError, match=r"took longer than 0:00:00\.5"):
        CommandFence(settings, FenceBook(control)).put_up(hold())


def test_a_program_that_is_not_there_is_told(control: Connection, tmp_path: Path) -> None:
    settings = CommandSettings(name=str(tmp_path), close=("no-such-program",), open=("no-such-program",))
    with pytest.raises(FencingFailedError, match="there is no program 'no-such-program'"):
        CommandFence(settings, FenceBook(control)).put_up(hold())
