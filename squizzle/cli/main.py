"""The command: finds the verb, loads only what that verb needs, and turns errors into messages and exit codes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from squizzle import __version__
from squizzle.cli.output import print_error
from squizzle.errors import DatabaseState, InvalidInputError, SquizzleError
from squizzle.interrupts import note_interrupts, was_interrupted
from squizzle.reports.headway import shown_at_terminal

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

VERB_GROUP = "squizzle.verbs"

# Loaded when called: importing psycopg costs more than all of `squizzle --help`.
_VERBS = {
    "adopt": "squizzle.cli.adopt",
    "apply": "squizzle.cli.migrate",
    "archive-wal": "squizzle.cli.archive_wal",
    "assess": "squizzle.cli.assess",
    "backup": "squizzle.cli.backup",
    "backups": "squizzle.cli.backups",
    "certificates": "squizzle.cli.certificates",
    "changelog": "squizzle.cli.changelog",
    "completion": "squizzle.cli.completion",
    "copies": "squizzle.cli.switch_over",
    "corruption": "squizzle.cli.corruption",
    "digest": "squizzle.cli.inspect",
    "fence": "squizzle.cli.fence",
    "fetch-wal": "squizzle.cli.fetch_wal",
    "fleet": "squizzle.cli.fleet",
    "generate-rollback": "squizzle.cli.reverse",
    "grants": "squizzle.cli.grants",
    "hands-off": "squizzle.cli.silence",
    "health": "squizzle.cli.health",
    "incidents": "squizzle.cli.incidents",
    "init": "squizzle.cli.scaffold",
    "lint": "squizzle.cli.lint",
    "locks": "squizzle.cli.locks",
    "metrics": "squizzle.cli.metrics",
    "new": "squizzle.cli.scaffold",
    "plan": "squizzle.cli.plan",
    "queries": "squizzle.cli.queries",
    "rebuild": "squizzle.cli.rebuild",
    "receive-wal": "squizzle.cli.receive_wal",
    "restore": "squizzle.cli.restore",
    "restore-point": "squizzle.cli.restore_point",
    "rollback": "squizzle.cli.migrate",
    "runbook": "squizzle.cli.runbook",
    "salvage": "squizzle.cli.salvage",
    "silence": "squizzle.cli.silence",
    "silences": "squizzle.cli.silence",
    "status": "squizzle.cli.status",
    "switch-over": "squizzle.cli.switch_over",
    "terminate": "squizzle.cli.fence",
    "triggers": "squizzle.cli.triggers",
    "unfence": "squizzle.cli.fence",
    "undo": "squizzle.cli.undo",
    "verify": "squizzle.cli.inspect",
    "verify-backup": "squizzle.cli.verify_backup",
    "wal": "squizzle.cli.wal",
}

# An interrupted program says so by 128 + SIGINT, as shells do.
_INTERRUPTED = 130


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted({*_VERBS, *_plugged()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in _VERBS:
            command = getattr(import_module(_VERBS[cmd_name]), cmd_name.replace("-", "_"))
        else:
            plugged = _plugged()
            command = plugged[cmd_name].load() if cmd_name in plugged else None
        return command if isinstance(command, click.Command) else None


def _plugged() -> dict[str, EntryPoint]:
    """Verbs of other packages: those that run a whole procedure are Prefect flows, which we never import."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms that a verb of ours need not wait for

    return {point.name: point for point in entry_points(group=VERB_GROUP)}


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="squizzle")
@click.option(
    "--no-color",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=lambda _context, _option, value: os.environ.__setitem__("NO_COLOR", "1") if value else None,
    help="No colours at a terminal either, as with NO_COLOR=1; anywhere else there are none.",
)
def app() -> None:
    """Get PostgreSQL migrations out safely, and the database back when one goes wrong.

    Exit codes, where a verb says nothing else: 0 done; 1 general error; 2 configuration or usage; 3 no connection;
    4 account or password; 5 versions conflict; 6 a file was changed; 7 rollback or recovery failed; 8 a lock was not
    granted; 9 refused; 10 could not verify; 130 interrupted.

    \b
    Examples:
      squizzle status --env staging
      squizzle apply --all --env staging
      squizzle drill
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process with the exit code of the contract."""
    # Looking for cycles to free is 5 % of a command that ends at once, and a long one makes hardly any.
    gc.set_threshold(50_000)
    given = list(sys.argv[1:] if arguments is None else arguments)
    note_interrupts()
    code = run(given or ["--help"])
    # The process ends: Python need not look through all that was loaded once more (half a second behind a flow).
    gc.freeze()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    as_json = "--json" in arguments
    try:
        with shown_at_terminal(as_json=as_json):
            result = app.main(args=arguments, prog_name="squizzle", standalone_mode=False)
    except SquizzleError as exc:
        print_error(exc, as_json=as_json)
        return exc.code
    except click.ClickException as exc:
        print_error(InvalidInputError(exc.format_message(), hint="squizzle --help"), as_json=as_json)
        return InvalidInputError.code
    except (click.Abort, KeyboardInterrupt):
        return _interrupted()
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
        return 1
    except Exception as exc:  # noqa: BLE001 - what is no driver's error is raised again
        return _unexpected(exc, as_json=as_json)
    return result if isinstance(result, int) else 0


def _unexpected(exc: Exception, *, as_json: bool) -> int:
    error = _from_driver(exc)
    if error is not None:
        print_error(error, as_json=as_json)
        return error.code
    if was_interrupted():
        # Some library made another error of it.
        return _interrupted()
    raise exc


def _interrupted() -> int:
    click.echo("interrupted; `squizzle status` says what was finished", err=True)
    return _INTERRUPTED


def _from_driver(exc: Exception) -> SquizzleError | None:
    """The error of ours for a driver's that met no one on its way: the connection was lost in the middle of a question.

    None for anything else, which is a defect of ours and is shown as one.
    """
    if "psycopg" not in sys.modules:
        return None
    import psycopg  # noqa: PLC0415 - it is there already, or nobody can have raised its errors

    from squizzle.postgres.translation import translate_error  # noqa: PLC0415

    if not isinstance(exc, psycopg.Error):
        return None
    error = translate_error(exc, doing="go on", database_state=DatabaseState.UNKNOWN)
    error.hint = error.hint or "look at `squizzle status`, then run the same again"
    return error
