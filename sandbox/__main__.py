"""`python -m sandbox up|down|status|remove`."""

from __future__ import annotations

import argparse
import sys

from sandbox.stack import Stack
from squizzle.cli.output import print_error, say
from squizzle.errors import SquizzleError


def main() -> int:
    """Run one of the three commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="sandbox", description="PostgreSQL with forty shops, Prefect, a worker.")
    parser.add_argument("command", choices=["up", "down", "status", "remove"], help="remove: down, and its data goes.")
    command = parser.parse_args().command
    stack = Stack()
    try:
        if command in ("down", "remove"):
            stopped = stack.down()
            if command == "remove":
                stack.remove_data()
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
Messages            {stack.console()}
A fleet             forty shops:  . {stack.shops.entrance}  (docs/tour.md shows what to do with it)
Start a drill       {address}/deployments  ->  drill  ->  Run
Its report          open the run, then its Artifacts tab
PostgreSQL          block "sandbox" of type "PostgreSQL Database"
To recover          block "playground": break that database, then start the deployment recover
Try migrations      export DATABASE_URL='{stack.playground_url()}'
Logs                {stack.records.folder}
Stop everything     make down; make up goes on with the same data (python -m sandbox remove: it goes)""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
