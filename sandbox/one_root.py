"""A file with one certificate of a trusted root, for clients of Prefect that talk to this machine without TLS.

Prefect makes a new client for nearly everything it asks, and each reads all trusted roots, whatever its address: 20 ms
of CPU time (measured), half of what the question costs. Where the API is `http://127.0.0.1`, none of them is needed.
"""

from __future__ import annotations

import os
from pathlib import Path

import certifi

VARIABLE = "PREFECT_API_SSL_CERT_FILE"
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def one_root(folder: Path) -> str:
    """Write the file; the value for `VARIABLE` in the environment of whoever asks an API on this machine.

    Args:
        folder: Where; it must exist. The file is there afterwards, whole, whoever else writes it at the same time.

    Raises:
        OSError: It cannot be written.
    """
    file = folder / "one-root.pem"
    roots = certifi.contents()
    first = roots[roots.index(_BEGIN) : roots.index(_END)]
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.write_text(f"{first}{_END}\n", encoding="ascii")
    part.replace(file)
    return str(file)
