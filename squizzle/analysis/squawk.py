"""A second opinion: squawk, where it is installed. Its findings are shown as notes and decide nothing.

Facts from squawk 2.70's own help and output: JSON is a list; lines and columns are counted from 0; it ends with 1 when
it found something.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.lint import Script
from squizzle.errors import ToolError
from squizzle.processes import bare_environment

# Its time grows with the square of a statement's length: 7 s of the processor for 860 KB (measured with 2.70.0).
_PATIENCE_S = 20.0
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
    found = [one for script in scripts for one in _ask(program, script, major, patience_s)]
    return tuple(one for one in found if (one.file, one.line) not in taken or one.rule == _NO_ANSWER)


def _ask(program: Path, script: Script, major: int, patience_s: float) -> list[Finding]:
    command = [
        str(program),
        "--reporter=json",
        f"--pg-version={major}.0",
        "--assume-in-transaction",
        f"--exclude={','.join(_NOT_ASKED)}",
        "--stdin-filepath=script.sql",
    ]
    try:
        # In a folder without a configuration of its own.
        done = subprocess.run(
            command,
            input=script.text.encode(),
            capture_output=True,
            check=False,
            timeout=patience_s,
            cwd="/",
            env=bare_environment(),
        )
        return [_finding(script, one) for one in json.loads(done.stdout)]
    except subprocess.TimeoutExpired:
        return [_no_answer(script, patience_s)]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ToolError(
            f"squawk cannot be asked about {script.source}: {exc}",
            hint="run it by itself to see why, or set squawk = false in [lint]",
        ) from exc


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
