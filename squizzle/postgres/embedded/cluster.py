"""One embedded database cluster: made, started, stopped, looked at and destroyed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from squizzle.errors import EmbeddedServerError, InvalidInputError

from . import ownership
from .base_folder import refuse_long_socket_path
from .data_folder import append_settings, fill_data_folder, make_empty, set_random_password
from .guardian import PATIENCE_S
from .launch import launch
from .layout import Layout, remove_contents, remove_folder
from .ownership import Ownership
from .runtime import Runtime
from .server import LOOPBACK, SUPERUSER, PidFile, ServerAddress, running_server
from .settings import render_settings
from .status import ClusterStatus, status_of
from .stopping import stop_server

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
_MINUTE = timedelta(minutes=1)
_POLL_S = 0.05


def is_cluster_name(text: str) -> bool:
    """Says whether a cluster may have this name."""
    return _NAME.fullmatch(text) is not None


class Cluster:
    """A database cluster of this machine, by name. The object holds nothing: any process may make one of that name.

    The process that creates a cluster or starts it guarded owns it: other processes can ask about it and connect to
    it, but not change it, until the owner destroys it, starts it to last, or ends. Not for several threads at once.

    Args:
        runtime: Binaries, base folder and account.
        name: Up to 40 small letters, digits, `-` and `_`.

    Raises:
        InvalidInputError: The name is unusable, or makes the socket's path too long.
    """

    def __init__(self, runtime: Runtime, name: str) -> None:
        if not is_cluster_name(name):
            raise InvalidInputError(
                f"{name!r} is not a name for an embedded cluster",
                hint="Use up to 40 small letters, digits, - and _, beginning with a letter or digit.",
            )
        self.runtime = runtime
        self.name = name
        self.layout = Layout(folder=runtime.base / name)
        refuse_long_socket_path(self.layout.sockets)

    def status(self) -> ClusterStatus:
        """Looks at the cluster; needs no lock and changes nothing."""
        return status_of(self.layout)

    def restore(self, fill: Callable[[Path], None]) -> None:
        """Makes the cluster out of somebody else's data folder, such as a backup's.

        Args:
            fill: Fills the empty folder that it is given with a whole data folder, pg_hba.conf and settings included.

        Raises:
            InvalidInputError: There is something of this name. Nothing was changed.
            EmbeddedServerError: Another process owns it; or what `fill` raises. What is left counts as half-made.
        """
        self._make(lambda: self._fill_with(fill))

    def create(self, settings: Mapping[str, str] = _NO_SETTINGS, *, from_template: bool = True) -> None:
        """Makes the cluster: checksums on, UTF8, C.UTF-8, trust on its private socket, a random password over TCP.

        What a killed process left half-made is removed and made anew. This process owns the cluster afterwards.

        Args:
            settings: Server settings for postgresql.conf, values unquoted.
            from_template: Whether it may be a copy of a template, which is several times faster. All copies have the
                same system identifier; False when PostgreSQL has to tell this cluster's WAL from another's.

        Raises:
            InvalidInputError: A setting is unusable, or there is something of this name. Nothing was changed.
            EmbeddedServerError: Another process owns it, or a program failed; what is left counts as half-made.
        """
        lines = render_settings(settings)
        self._make(lambda: self._fill(lines, from_template=from_template))

    def _make(self, fill: Callable[[], None]) -> None:
        refused = frozenset(ClusterStatus) - {ClusterStatus.MISSING, ClusterStatus.HALF_MADE}
        self._refuse_if(*refused)
        owned_before = ownership.owned(self.layout) is not None
        self._make_folder_and_own_it()
        try:
            self._refuse_if(*refused)  # asked again: whom we waited for may have made it
            fill()
        except BaseException:
            if not owned_before:
                ownership.give_up(self.layout)
            raise

    def start(self, *, guarded: bool, patience: timedelta = _MINUTE) -> ServerAddress:
        """Starts the server on a free port and waits until it takes connections, through crash recovery if need be.

        A server that runs already stays as it is, guarded or not, and its address is returned.

        Args:
            guarded: True: the server is stopped when this process ends, even by SIGKILL. False: it lasts, and this
                process does not own the cluster any more.
            patience: How long to wait for another process that works on the cluster, and then for the server.

        Raises:
            InvalidInputError: There is no such cluster. Nothing was changed.
            EmbeddedServerError: Another process owns it, or the server did not start; then the end of its log is in
                the message. No server was left running.
        """
        self._refuse_if(ClusterStatus.MISSING, ClusterStatus.FOREIGN, ClusterStatus.HALF_MADE)
        goes_on_owning = ownership.owned(self.layout) is not None
        try:
            server = self._wait_for_our_turn(patience)
            if server is None:
                server = self._launch(guarded=guarded, patience=patience)
                goes_on_owning = guarded
            return self._address_of(server)
        finally:
            if not goes_on_owning:
                ownership.give_up(self.layout)

    def stop(self, mode: Literal["fast", "immediate"] = "fast", *, patience: timedelta = _MINUTE) -> None:
        """Stops the server, whoever started it; a stopped one stays stopped. A process that owns it goes on doing so.

        Args:
            mode: "fast" ends all sessions and writes a checkpoint; "immediate" does without, as a crash would.
            patience: How long a fast stop may take before it becomes an immediate one.

        Raises:
            InvalidInputError: There is no such cluster. Nothing was changed.
            EmbeddedServerError: Another process owns the cluster, or the server does not end.
        """
        self._refuse_if(ClusterStatus.MISSING, ClusterStatus.FOREIGN)
        if running_server(self.layout.data) is None and ownership.owned(self.layout) is None:
            return
        with self._owning(patience) as owner:
            stop_server(self.layout, owner, mode, patience=patience)

    def address(self) -> ServerAddress:
        """Returns how to reach the running server, whichever process started it.

        Raises:
            EmbeddedServerError: No server runs, or it does not take connections yet or any more.
        """
        server = running_server(self.layout.data)
        if server is None or not server.accepts_connections:
            raise EmbeddedServerError(
                f"no address: the embedded cluster {self.name} is {self.status().words}", hint="start it first"
            )
        return self._address_of(server)

    def destroy(self) -> None:
        """Stops the server and removes the cluster's folder with all that is in it; nothing to do when it is missing.

        Raises:
            InvalidInputError: The folder is none of ours. It was not touched.
            EmbeddedServerError: Another process owns it, or the server does not end. What is left counts as
                half-made, or is as it was.
        """
        self._refuse_if(ClusterStatus.FOREIGN)
        if self.status() is not ClusterStatus.MISSING:
            with self._owning(_MINUTE) as owner:
                self._destroy_as(owner)
        ownership.give_up(self.layout)

    def destroy_if_abandoned(self) -> bool:
        """Destroys the cluster if its owner is dead and it was never started to last.

        Returns:
            Whether it did; False too when the owner lives or the folder is none of ours.

        Raises:
            EmbeddedServerError: The server of a dead owner does not end.
        """
        if ownership.owned(self.layout) is not None or not self._is_abandonable():
            return False
        try:
            owner = ownership.take(self.layout)
        except FileNotFoundError:  # somebody else was faster
            return False
        if owner is None:
            return False
        try:
            is_abandoned = self._is_abandonable()
            if is_abandoned:
                self._destroy_as(owner)
            return is_abandoned
        finally:
            ownership.give_up(self.layout)

    def _is_abandonable(self) -> bool:
        return self.layout.marker.exists() and not self.layout.lasting_mark.exists()

    def _refuse_if(self, *refused: ClusterStatus) -> None:
        status = self.status()
        if status not in refused:
            return
        hints = {
            ClusterStatus.MISSING: "Create it first.",
            ClusterStatus.HALF_MADE: "Create it again, or destroy it.",
            ClusterStatus.FOREIGN: f"Look at what {self.layout.folder} is, or use another name.",
        }
        raise InvalidInputError(
            f"the embedded cluster {self.name} is {status.words}",
            hint=hints.get(status, "Destroy it first, or use another name."),
        )

    def _make_folder_and_own_it(self) -> None:
        """Makes the folder and takes its lock, before the marker says that there is a cluster."""
        owner = None
        while owner is None:
            self.layout.folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # destroyed in between
                owner = ownership.take(self.layout, wait=_MINUTE)
                if owner is None:
                    raise self._owned_by_another()
        # The account must pass; whoever else passes finds nothing open inside.
        self.layout.folder.chmod(0o711 if self.runtime.runs_as_other else 0o700)

    def _fill(self, setting_lines: str, *, from_template: bool) -> None:
        layout, runtime = self.layout, self.runtime
        layout.marker.touch(mode=0o600)
        remove_contents(layout)
        make_empty(runtime, layout.sockets)
        make_empty(runtime, layout.archive)
        unfinished = layout.unfinished_data()
        make_empty(runtime, unfinished)
        fill_data_folder(runtime, unfinished, from_template=from_template)
        password = set_random_password(runtime, unfinished)
        layout.password_file.touch(mode=0o600)
        layout.password_file.write_text(f"*:*:*:*:{password}\n")
        append_settings(runtime, unfinished, setting_lines)
        unfinished.rename(layout.data)

    def _fill_with(self, fill: Callable[[Path], None]) -> None:
        layout, runtime = self.layout, self.runtime
        layout.marker.touch(mode=0o600)
        remove_contents(layout)
        make_empty(runtime, layout.sockets)
        make_empty(runtime, layout.archive)
        unfinished = layout.unfinished_data()
        unfinished.mkdir(mode=0o700)  # ours until it is filled: nobody can put a link where we write
        fill(unfinished)
        for path in unfinished.rglob("*"):
            runtime.hand_over(path)
        runtime.hand_over(unfinished)
        layout.password_file.touch(mode=0o600)
        unfinished.rename(layout.data)

    def _wait_for_our_turn(self, patience: timedelta) -> PidFile | None:
        """Waits until a server runs, and returns it, or until this process owns the stopped cluster: then None."""
        begin = time.monotonic()
        while True:
            owner = self._take()
            # In this order: once the lock is ours and there is no server, nobody else starts one.
            server = running_server(self.layout.data)
            waited_s = time.monotonic() - begin
            if owner is not None and server is None:
                self._refuse_if(ClusterStatus.HALF_MADE)
                return None
            if server is not None and server.accepts_connections and self._will_stay(owner, waited_s):
                return server
            if waited_s > patience.total_seconds():
                raise self._owned_by_another() if owner is None else self._unsettled()
            time.sleep(_POLL_S)

    def _will_stay(self, owner: Ownership | None, waited_s: float) -> bool:
        """Tells a server that goes on running from one whose owner was just killed and whose guardian is about to act.

        Such a one has a free lock, which is ours by now. If it is still there after the guardian's time, it has no
        guardian: somebody started it by hand.
        """
        is_guarded_by_us = owner is not None and owner.guardian is not None
        is_kept = owner is None or is_guarded_by_us or self.layout.lasting_mark.exists()
        return is_kept or waited_s > PATIENCE_S + 1

    def _launch(self, *, guarded: bool, patience: timedelta) -> PidFile:
        owner = self._take()
        if owner is None:
            raise self._owned_by_another()
        owner.bury_guardian()
        if not guarded:
            # Before the server runs: killed right after it started, we must not leave one that looks abandoned.
            self.layout.lasting_mark.touch(mode=0o600)
        server, guardian = launch(self.runtime, self.layout, patience=patience)
        if guarded:
            owner.guardian = guardian
        else:
            guardian.release()
        return server

    def _destroy_as(self, owner: Ownership) -> None:
        stop_server(self.layout, owner, "immediate", patience=_MINUTE)
        remove_contents(self.layout)
        remove_folder(self.layout)

    @contextmanager
    def _owning(self, patience: timedelta) -> Iterator[Ownership]:
        """Owns the cluster for a while, or goes on owning it."""
        owned_before = ownership.owned(self.layout) is not None
        owner = self._take(patience)
        if owner is None:
            raise self._owned_by_another()
        try:
            yield owner
        finally:
            if not owned_before:
                ownership.give_up(self.layout)

    def _take(self, wait: timedelta = timedelta(0)) -> Ownership | None:
        try:
            return ownership.take(self.layout, wait=wait)
        except FileNotFoundError:
            raise InvalidInputError(
                f"the embedded cluster {self.name} was destroyed by another process",
                hint="run the same again: a new one is made",
            ) from None

    def _owned_by_another(self) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"process {ownership.holder(self.layout)} owns the embedded cluster {self.name}",
            hint="Use another name, or end that process.",
        )

    def _unsettled(self) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"the server of the embedded cluster {self.name} is still {self.status().words}",
            hint=f"Look at its log, {self.layout.log}.",
        )

    def _address_of(self, server: PidFile) -> ServerAddress:
        return ServerAddress(
            socket_folder=self.layout.sockets,
            host=LOOPBACK,
            port=server.port,
            user=SUPERUSER,
            password_file=self.layout.password_file,
            pid=server.pid,
            data_folder=self.layout.data,
        )
