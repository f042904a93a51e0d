"""Every verb of the command: what it says of itself, by what people want to do."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

import click

from squizzle.cli.main import app

# Each verb once; a test says which is forgotten.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Begin": ("init", "new", "adopt", "doctor", "grants", "completion"),
    "Write a migration": ("lint", "plan", "generate-rollback"),
    "Prove it": ("rehearse", "certificates", "drill"),
    "Bring it out": ("status", "apply", "rollback", "verify", "digest"),
    "A fleet": ("fleet", "roll-out", "reconcile", "approvals", "approve"),
    "Back up": (
        "backup",
        "backups",
        "verify-backup",
        "changelog",
        "archive-wal",
        "fetch-wal",
        "receive-wal",
        "restore-point",
        "wal",
    ),
    "When something went wrong": (
        "runbook",
        "assess",
        "recover",
        "restore",
        "undo",
        "rebuild",
        "salvage",
        "corruption",
        "fence",
        "terminate",
        "unfence",
        "switch-over",
        "copies",
        "locks",
        "triggers",
    ),
    "Know how it is": ("health", "silence", "silences", "incidents", "hands-off", "queries", "metrics"),
    "Run the flows and tell people": ("serve", "notify", "watchdogs"),
}

# What `common_options` adds, and what every verb has.
_COMMON = frozenset(["--env", "--url", "--config", "--migrations", "--layout", "--schema", "--json", "--yes", "--help"])
_INTRODUCTION = """\
# The command line

Every verb of `squizzle`, as `squizzle VERB --help` says it (rendered by `make docs`).

Verbs, options, environments, fleets, versions and backups are completed by the shell once
[`squizzle completion`](#squizzle-completion) has told it how.

## Options of many verbs

Most verbs take all of these; they are not told again below.

| option | |
|---|---|
| `--env NAME` | An environment of [squizzle.toml](configuration.md). |
| `--url URL` | A connection string; without it `DATABASE_URL`, whose password nobody else can read. |
| `--config FILE` | squizzle.toml. |
| `--migrations DIR` | The migrations folder. |
| `--layout NAME` | How the migrations folder is laid out. |
| `--schema NAME` | The schema that scripts work in and that holds the history. |
| `--json` | One JSON document on standard output; what is for people goes to standard error. |
| `--yes` | Answer a question with yes; never an approval. |

## While it works

What lasts over two seconds shows how far it is on standard error, where that is a terminal: a bar, the share that
is done, about how long the rest will take. *about 12 GB* is an estimate (of the server, of the backup before);
more than was expected is said, and the bar then only moves. Bars are gone when the work is done. There
are none in a file, in a pipe, beside `--json`, and with `TERM=dumb`.

Colours are for a terminal, too. `NO_COLOR=1`, or `squizzle --no-color VERB`, switches them off there.

## Exit codes

| exit code | meaning |
|---|---|
| 0 | done, and it is as it should be |
| 1 | a general error; `lint` found an error; something waits to be looked at |
| 2 | configuration or usage: nothing was begun |
| 3 | no connection |
| 4 | the account or its password is not accepted |
| 5 | versions conflict |
| 6 | a file is not the one that was applied |
| 7 | a rollback or a recovery failed |
| 8 | a lock was not granted in time |
| 9 | refused: policy, identity, or nobody approved |
| 10 | could not verify: nothing may be concluded |
| 130 | interrupted (Ctrl-C) |

An error with `--json` is `{"error": {"code", "message", "hint", "database_state"}}`. The state is one of those that
[every error names](migrations.md).
"""


def render_command_line() -> str:
    """The whole page."""
    root = click.Context(app, info_name="squizzle")
    parts = [_INTRODUCTION, _contents()]
    for title, verbs in GROUPS.items():
        parts.append(f"## {title}\n")
        for name in verbs:
            parts += _described(app, name, root)
    return "\n".join(parts)


def _contents() -> str:
    rows = []
    for title, verbs in GROUPS.items():
        links = ", ".join(f"[`{verb}`](#squizzle-{verb})" for verb in verbs)
        rows.append(f"| [{title}](#{title.lower().replace(' ', '-')}) | {links} |")
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def _described(group: click.Group, name: str, above: click.Context) -> Iterator[str]:
    command = group.get_command(above, name)
    if command is None:
        raise LookupError(f"{above.command_path} has no verb {name}")
    context = click.Context(command, info_name=name, parent=above)
    yield f"### {context.command_path}\n"
    yield f"`{context.command_path} {' '.join(command.collect_usage_pieces(context))}`\n"
    yield _help(command.help or "") + "\n"
    options = [
        one for one in command.get_params(context) if isinstance(one, click.Option) and not _COMMON & {*one.opts}
    ]
    if records := [record for option in options if (record := option.get_help_record(context))]:
        yield "\n".join(["| option | |", "|---|---|", *(_row(*record) for record in records)]) + "\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _described(command, below, context)


def _help(text: str) -> str:
    """Paragraphs as they are; what click leaves unwrapped is an example."""
    shown = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        title, _, rest = paragraph.partition("\n")
        if title != "\b":
            shown.append(paragraph)
        elif rest.startswith("Examples:"):
            shown.append("```sh\n" + inspect.cleandoc(rest.partition("\n")[2]) + "\n```")
        else:
            shown.append("```text\n" + rest + "\n```")
    return "\n\n".join(shown)


def _row(names: str, text: str) -> str:
    return f"| `{names.replace('|', chr(92) + '|')}` | {text.replace('|', chr(92) + '|')} |"
