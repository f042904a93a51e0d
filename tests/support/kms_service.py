"""A KMS of our own on loopback: GenerateDataKey and Decrypt of the JSON protocol, with the service's own refusals."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ALIAS = "alias/backups"
ARN = "arn:aws:kms:eu-central-1:111122223333:key/0b1f"
OTHER = "arn:aws:kms:eu-central-1:111122223333:key/77aa"


@dataclass
class Kms:
    """What the service knows: keys by name, and what it wrapped for whom."""

    endpoint: str = ""
    keys: dict[str, str] = field(default_factory=lambda: {ALIAS: ARN, ARN: ARN, OTHER: OTHER})
    wrapped: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)
    refusal: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, action: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(action)
        key = self.keys.get(request["KeyId"])
        if self.refusal or key is None:
            return 400, {"__type": self.refusal or "NotFoundException", "message": "no"}
        context = json.dumps(request.get("EncryptionContext"))
        if action == "GenerateDataKey":
            plain, blob = secrets.token_bytes(32), base64.b64encode(secrets.token_bytes(60)).decode()
            self.wrapped[blob] = (key, context, plain)
            return 200, {"KeyId": key, "Plaintext": base64.b64encode(plain).decode(), "CiphertextBlob": blob}
        found = self.wrapped.get(request["CiphertextBlob"])
        if found is None or found[1] != context:
            return 400, {"__type": "InvalidCiphertextException"}
        if found[0] != key:
            return 400, {"__type": "IncorrectKeyException"}
        return 200, {"KeyId": key, "Plaintext": base64.b64encode(found[2]).decode()}


@contextmanager
def kms_service() -> Iterator[Kms]:
    """Run the service."""
    kms = Kms()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = kms.answer(self.headers["X-Amz-Target"].partition(".")[2], request)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kms.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kms
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
