"""A second opinion: squawk, where it is installed. Its findings are shown as notes and decide nothing.

Facts from squawk 2.70's own help and output: JSON is a list; lines and columns are counted from 0; it ends with 1 when
it found something.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.lint import Script
from squizzle.errors import ToolError
from squizzle.processes import bare_environment

# Its time grows with the square of a statement's length: 7 s of the processor for 860 KB (measured with 2.70.0).
_PATIENCE_S = 20.0
# One process looks at many small scripts, because starting it takes as long as most of them: 4,000 took 17 s of the
# processor one by one (measured). A script with more bytes is asked about by itself, so that the others need not wait.
_SMALL = 1 << 16
_TOGETHER = 400
_NO_ANSWER = "squawk:no-answer"
# What this engine makes unnecessary: it sets timeouts itself, and a script is undone or continued as a whole.
_NOT_ASKED = ("prefer-robust-stmts", "require-lock-timeout", "require-statement-timeout", "require-timeout-settings")


def find_squawk() -> Path | None:
    """The program: beside our own command first, then on PATH."""
    beside = Path(sys.executable).with_name("squawk")
    found = str(beside) if beside.exists() else shutil.which("squawk")
    return Path(found) if found else None


def ask_squawk(
    program: Path,
    scripts: Iterable[Script],
    ours: Sequence[Finding],
    *,
    major: int = 15,
    patience_s: float = _PATIENCE_S,
) -> tuple[Finding, ...]:
    """What squawk finds that we do not: its findings on lines where none of ours stands, as notes.

    Args:
        program: squawk itself.
        scripts: What to look at.
        ours: Our own findings.
        major: The oldest server version that the scripts have to run on.
        patience_s: How long it may look at one script, in seconds; one that takes longer gets a note instead.

    Raises:
        ToolError: It could not be run, or its answer is not understood.
    """
    taken = {(one.file, one.line) for one in ours}
    found = [one for group in _groups(scripts) for one in _ask(program, group, major, patience_s)]
    return tuple(one for one in found if (one.file, one.line) not in taken or one.rule == _NO_ANSWER)


def _groups(scripts: Iterable[Script]) -> Iterator[Sequence[Script]]:
    """Scripts that one process looks at, in their order."""
    group: list[Script] = []
    for script in scripts:
        is_small = len(script.text) <= _SMALL
        if group and (not is_small or len(group) == _TOGETHER):
            yield group
            group = []
        if is_small:
            group.append(script)
        else:
            yield [script]
    if group:
        yield group


def _ask(program: Path, scripts: Sequence[Script], major: int, patience_s: float) -> list[Finding]:
    """What it says of them; where it does not get through them together, each is asked about by itself."""
    try:
        # The scripts may be nobody else's business: the folder is ours alone.
        with tempfile.TemporaryDirectory(prefix="squizzle-lint-") as folder:
            files = {str(Path(folder) / f"{number}.sql"): script for number, script in enumerate(scripts)}
            for name, script in files.items():
                Path(name).write_bytes(script.text.encode())
            said = _run(program, list(files), major, patience_s)
            return [_finding(files[one["file"]], one) for one in _by_file(said, list(files))]
    except subprocess.TimeoutExpired:
        if len(scripts) == 1:
            return [_no_answer(scripts[0], patience_s)]
        return [one for script in scripts for one in _ask(program, [script], major, patience_s)]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        about = scripts[0].source if len(scripts) == 1 else f"{scripts[0].source} and {len(scripts) - 1} more"
        raise ToolError(
            f"squawk cannot be asked about {about}: {exc}",
            hint="run it by itself to see why, or set squawk = false in [lint]",
        ) from exc


def _run(program: Path, files: Sequence[str], major: int, patience_s: float) -> list[dict[str, Any]]:
    command = [
        str(program),
        "--reporter=json",
        f"--pg-version={major}.0",
        "--assume-in-transaction",
        f"--exclude={','.join(_NOT_ASKED)}",
        *files,
    ]
    # In a folder without a configuration of its own.
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=patience_s, cwd="/", env=bare_environment()
    )
    return list(json.loads(done.stdout))


def _by_file(said: Sequence[dict[str, Any]], files: Sequence[str]) -> list[dict[str, Any]]:
    """In the order of the files, whatever order they were looked at in; within one as it was said."""
    places = {file: place for place, file in enumerate(files)}
    return sorted(said, key=lambda one: places[one["file"]])


def _no_answer(script: Script, patience_s: float) -> Finding:
    """A second opinion that does not come stops nothing, and is missed in the open."""
    return Finding(
        file=script.source,
        line=1,
        column=1,
        rule=_NO_ANSWER,
        name="no-answer",
        severity=Severity.INFO,
        message=f"squawk said nothing about this script within {patience_s:g} s, and was given up",
        hint="ask it by itself, or set squawk = false in [lint]",
    )


def _finding(script: Script, found: dict[str, Any]) -> Finding:
    return Finding(
        file=script.source,
        line=int(found["line"]) + 1,
        column=int(found["column"]) + 1,
        rule=f"squawk:{found['rule_name']}",
        name=str(found["rule_name"]),
        severity=Severity.INFO,
        message=str(found["message"]),
        hint=str(found["help"] or ""),
    )
