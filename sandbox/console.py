"""`python -m sandbox.console PORT FILE`: a page with the messages that people would get, the newest first.

It takes the documents of a webhook channel (docs/notifications.md), only from this machine, and keeps them in a file.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# So many are shown; more nobody reads.
_MOST = 200
_LONGEST = 1_000_000

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0; background: #f6f6f7; color: #1d1c1d; }
header { background: #3b1440; color: #fff; padding: .7rem 1.2rem; font-weight: 600; }
main { max-width: 52rem; margin: 1rem auto; padding: 0 1rem; }
article { background: #fff; border-left: 5px solid #9a9a9a; border-radius: 4px; margin: .7rem 0; padding: .6rem .9rem; }
article.medium { border-color: #e0a100; } article.high { border-color: #e0601e; }
article.critical { border-color: #c2203d; } article.ends { border-color: #2a8a55; }
.when { color: #666; font-size: .85em; } h2 { font-size: 1em; margin: .1rem 0 .3rem; }
p { white-space: pre-wrap; margin: .3rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .3rem 0; }
dt { color: #666; } dd { margin: 0; }
"""


def page(messages: Iterable[Mapping[str, Any]]) -> str:
    """The page; what comes from documents is text and never markup.

    Args:
        messages: Documents, the newest first.
    """
    articles = "".join(_article(one) for one in messages) or "<p>Nobody was told anything yet.</p>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="3">'
        f"<title>Messages</title><style>{_STYLE}</style>"
        f"<header># alerts</header><main>{articles}</main></html>"
    )


def _article(message: Mapping[str, Any]) -> str:
    is_over = message["moment"] == "ends"
    severity = str(message["severity"])
    word = "RESOLVED" if is_over else severity.upper()
    facts = "".join(f"<dt>{escape(one['name'])}</dt><dd>{escape(one['value'])}</dd>" for one in message["facts"])
    links = " · ".join(
        f'<a href="{escape(one["url"])}">{escape(one["name"])}</a>'
        for one in message["links"]
        if one["url"].startswith(("http://", "https://"))
    )
    # The first 19 letters of an ISO time are day and second.
    when = f"{escape(message['source'])} · {escape(message['at'][:19].replace('T', ' '))} UTC"
    return (
        f'<article class="{"ends" if is_over else escape(severity)}"><div class="when">{when}</div>'
        f"<h2>[{escape(word)}] {escape(message['title'])}</h2><p>{escape(message['text'])}</p>"
        f"<dl>{facts}</dl><div>{links}</div></article>"
    )


class Messages:
    """What came, kept in a file: a line each.

    Args:
        file: Made when the first one comes.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._one_at_a_time = threading.Lock()
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self._newest = deque((json.loads(line) for line in lines[-_MOST:]), maxlen=_MOST)

    def add(self, document: Mapping[str, Any]) -> None:
        """Keep one.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: It is no document of a webhook channel.
        """
        page([document])
        with self._one_at_a_time, self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")
            self._newest.append(document)

    def newest_first(self) -> list[Mapping[str, Any]]:
        """Those that are shown."""
        with self._one_at_a_time:
            return list(reversed(self._newest))


def serve(port: int, file: Path) -> ThreadingHTTPServer:
    """A server on loopback that is ready to be asked; `serve_forever` answers."""
    messages = Messages(file)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/messages.json":
                self._answer(200, "application/json", json.dumps(messages.newest_first()))
            elif self.path == "/":
                self._answer(200, "text/html; charset=utf-8", page(messages.newest_first()))
            else:
                self._answer(404, "text/plain", "there is / and /messages.json\n")

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > _LONGEST:
                self._answer(413, "text/plain", f"longer than {_LONGEST} bytes\n")
                return
            try:
                messages.add(json.loads(self.rfile.read(length)))
            except (KeyError, TypeError, AttributeError, ValueError) as exc:
                self._answer(400, "text/plain", f"this is no document of a webhook channel: {exc!r}\n")
            else:
                self._answer(202, "text/plain", "")

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Nothing: the page shows what came."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
