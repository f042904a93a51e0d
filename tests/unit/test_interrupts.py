"""Ctrl-C that comes where Python or a library loses it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from squizzle import interrupts
from squizzle.cli import main as command
from squizzle.interrupts import heed_interrupt, note_interrupts, was_interrupted
from tasks.steps import keep_journal


@pytest.fixture(autouse=True)
def noting() -> Iterator[None]:
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    note_interrupts()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        interrupts._noted.clear()


class Loses:
    """Python prints what is raised in here, and forgets it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_behind_one_that_was_lost_no_other_step_begins_but_what_cleans_up_does() -> None:
    with keep_journal() as journal:

        def work() -> None:
            try:
                with journal.step("one"):
                    Loses()
                assert was_interrupted()
                with journal.step("two"):
                    raise AssertionError("it was begun")
            finally:
                with journal.step("clean up"):
                    pass

        with pytest.raises(KeyboardInterrupt):
            work()
    assert [one.title for one in journal.steps] == ["one", "clean up"]


def test_without_one_nothing_is_heeded() -> None:
    assert not was_interrupted()
    heed_interrupt()


def test_what_a_library_makes_of_it_is_told_as_what_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def library(**_options: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("the task's run is not set") from None

    monkeypatch.setattr(command.app, "main", library)
    assert command.run(["status"]) == 130
    assert "interrupted" in capsys.readouterr().err
    interrupts._noted.clear()
    monkeypatch.setattr(command.app, "main", lambda **_options: [].pop())
    with pytest.raises(IndexError):
        command.run(["status"])


def test_whoever_is_told_to_ignore_it_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    note_interrupts()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
