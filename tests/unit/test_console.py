"""The sandbox's page of messages: what comes from outside is text, and stays after a restart."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.console import serve
from squizzle.notify.records import Link, Moment, Notification
from squizzle.notify.wording import document
from squizzle.severity import Severity


@contextmanager
def console(file: Path) -> Iterator[str]:
    with serve(0, file) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def said(title: str, moment: Moment) -> dict[str, Any]:
    return document(
        Notification(
            key="a",
            moment=moment,
            severity=Severity.CRITICAL,
            title=title,
            at=datetime(2026, 3, 1, 12, tzinfo=UTC),
            source="shops",
            facts=(("target", "main/shop_07"),),
            links=(Link(name="run", url="javascript:alert(1)"),),
        )
    )


def send(address: str, content: object) -> None:
    urllib.request.urlopen(address, data=json.dumps(content).encode()).close()  # noqa: S310 - an address of ours


def read(address: str) -> str:
    with urllib.request.urlopen(address) as answer:  # noqa: S310 - an address of ours
        return str(answer.read().decode())


def test_messages_are_shown_newest_first_as_text_and_are_there_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "messages.jsonl"
    with console(file) as address:
        assert "Nobody was told anything yet." in read(address)
        send(address, said("a <script>", Moment.BEGINS))
        send(address, said("it is well", Moment.ENDS))
    with console(file) as address:
        shown = read(address)

    assert "<script>" not in shown
    assert "javascript:" not in shown
    assert shown.index("[RESOLVED] it is well") < shown.index("[CRITICAL] a &lt;script&gt;") < shown.rindex("shop_07")


def test_what_is_no_message_is_refused_and_not_kept(tmp_path: Path) -> None:
    with console(tmp_path / "messages.jsonl") as address:
        for wrong in ({}, [], {**said("a", Moment.SAID), "facts": [1]}):
            with pytest.raises(urllib.error.HTTPError, match="400"):
                send(address, wrong)
        assert json.loads(read(f"{address}messages.json")) == []
