"""The fence of anything else: two programs of the user's own."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace

from squizzle.errors import FencingFailedError
from squizzle.postgres.client_run import tail_of
from squizzle.processes import GuardedProcess
from squizzle.recovery.fences.book import FenceBook, Page, Step
from squizzle.recovery.fences.records import FenceKind, FenceState, FenceStatus, Hold, with_hold, without_hold
from squizzle.settings.fences import CommandSettings

_STATES = {Step.CLOSING: FenceState.UNKNOWN, Step.CLOSED: FenceState.FENCED, Step.OPENING: FenceState.UNKNOWN}
_MASK = "********"


class CommandFence:
    """A program that shuts something, and one that opens it again; both must be safe to repeat. A `Fence`.

    Nobody can be asked what is shut, so the step is noted before each program runs and after it has ended well: one
    that was killed in the middle is run again.

    Args:
        settings: The two programs.
        book: Where it is noted.
    """

    kind = FenceKind.COMMAND

    def __init__(self, settings: CommandSettings, book: FenceBook) -> None:
        self._settings = settings
        self._book = book
        self.name = f"command {settings.name}"

    def look(self) -> FenceStatus:
        """What the notes say."""
        return self._status(self._book.read(self.name), "")

    def put_up(self, hold: Hold) -> FenceStatus:
        """Run the program that shuts, unless that is done already.

        Raises:
            FencingFailedError: It failed or took too long; how far it came is unknown, and the hold is noted.
            DatabaseError: It cannot be noted; the program did not run, or its end is not noted.
        """
        with self._book.alone_with(self.name):
            page = self._book.read(self.name) or Page(found=FenceState.OPEN.value)
            is_done = page.step is Step.CLOSED and bool(page.holds)
            page = replace(page, holds=with_hold(page.holds, hold), step=Step.CLOSED if is_done else Step.CLOSING)
            self._book.write(self.name, page)
            if not is_done:
                self._run(self._settings.close, "shut")
                page = replace(page, step=Step.CLOSED)
                self._book.write(self.name, page)
        return self._status(page, "it was shut already" if is_done else "")

    def take_down(self, holder: str | None) -> FenceStatus:
        """Let go of a hold, and run the program that opens when it was the last one.

        Raises:
            FencingFailedError: It failed or took too long; how far it came is unknown, and the hold is still noted.
            DatabaseError: The notes cannot be read or changed.
        """
        with self._book.alone_with(self.name):
            page = self._book.read(self.name)
            rest = without_hold(page.holds, holder) if page else ()
            if page and rest:
                page = replace(page, holds=rest)
                self._book.write(self.name, page)
                return self._status(page, "others hold it")
            if page:
                self._book.write(self.name, replace(page, step=Step.OPENING))
            if page or holder is None:
                self._run(self._settings.open, "opened")
            self._book.remove(self.name)
        return self._status(None, "" if page or holder is None else "nobody has noted a fence")

    def _run(self, command: tuple[str, ...], done: str) -> None:
        program = shutil.which(command[0])
        if program is None:
            raise FencingFailedError(
                f"{self.name} is not {done}: there is no program {command[0]!r} that can be run",
                hint="give its whole path, and let this account execute it",
            )
        added = {name: value.reveal() for name, value in self._settings.environment}
        timeout = self._settings.timeout
        with tempfile.TemporaryFile() as output:
            with GuardedProcess(
                (program, *command[1:]), environment=os.environ | added, output=output, errors=output
            ) as process:
                code = process.wait(timeout.total_seconds())
            said = self._masked(tail_of(output))
        if code != 0:
            how = f"took longer than {timeout}" if code is None else f"ended with exit code {code}"
            words = f"it said: {said}" if said else "it said nothing"
            raise FencingFailedError(
                f"{self.name} is not known to be {done}: {command[0]} {how}; {words}",
                hint="mend what it complains about, then run the same again",
            )

    def _masked(self, text: str) -> str:
        for _, value in self._settings.environment:
            if value.reveal():
                text = text.replace(value.reveal(), _MASK)
        return text

    def _status(self, page: Page | None, detail: str) -> FenceStatus:
        state = _STATES[page.step] if page else FenceState.OPEN
        return FenceStatus(kind=self.kind, name=self.name, state=state, holds=page.holds if page else (), detail=detail)
