"""Prefect's API as a process of its own: `python -m tasks.api_process PORT`; see `tasks.temporary_api`."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def main() -> None:
    """Serve until a signal ends it."""
    # What is loaded stays until the end: to look through it for garbage again and again, while it grows to a million
    # objects, is a fifth of the start (measured), and Prefect's clients wait for it.
    gc.disable()
    import uvicorn  # noqa: PLC0415 - everything is loaded behind the line above

    uvicorn.run(_loaded, factory=True, host="127.0.0.1", port=int(sys.argv[1]), lifespan="on", log_level="error")


def _loaded() -> FastAPI:
    from prefect.server.api.server import create_app  # noqa: PLC0415 - same

    app = create_app()
    gc.freeze()
    gc.enable()
    return app


if __name__ == "__main__":
    main()
