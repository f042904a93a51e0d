"""The second opinion decides nothing, not even by staying silent."""

from __future__ import annotations

from pathlib import Path

from squizzle.analysis.findings import Severity
from squizzle.analysis.lint import Script, lint_scripts
from squizzle.analysis.squawk import ask_squawk
from tests.support.rules import TODAY


def test_a_script_that_squawk_does_not_get_through_is_a_note(tmp_path: Path) -> None:
    program = tmp_path / "squawk"
    program.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    program.chmod(0o755)
    script = Script(text="DELETE FROM t;", source="x.sql")
    ours = lint_scripts([script], today=TODAY).findings

    [note] = ask_squawk(program, [script], ours, patience_s=0.1)

    assert (note.rule, note.severity) == ("squawk:no-answer", Severity.INFO)
    assert "0.1 s" in note.message
