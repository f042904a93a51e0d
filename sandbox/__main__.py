"""`python -m sandbox up|down|status`."""

from __future__ import annotations

import argparse
import sys

from sandbox.stack import Stack
from squizzle.cli.output import print_error, say
from squizzle.errors import SquizzleError


def main() -> int:
    """Run one of the three commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="sandbox", description="PostgreSQL, Prefect, a worker and every deployment.")
    parser.add_argument("command", choices=["up", "down", "status"])
    command = parser.parse_args().command
    stack = Stack()
    try:
        if command == "down":
            stopped = stack.down()
            say(f"stopped: {', '.join(stopped) or 'nothing was running'}")
            return 0
        if command == "status":
            print("\n".join(f"{name}: {state}" for name, state in stack.status().items()))
            return 0
        return _up(stack)
    except SquizzleError as exc:
        print_error(exc, as_json=False)
        return exc.code


def _up(stack: Stack) -> int:
    try:
        address = stack.up(say)
    except BaseException:
        say("starting did not work out; stopping what was started")
        stack.down()
        raise
    print(f"""
Prefect's UI        {address}
Start a drill       {address}/deployments  ->  drill  ->  Run
Its report          open the run, then its Artifacts tab
PostgreSQL          block "sandbox" of type "PostgreSQL Database"
To recover          block "playground": break that database, then start the deployment recover
Try migrations      export DATABASE_URL='{stack.playground_url()}'
Logs                {stack.records.folder}
Stop everything     make down""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
