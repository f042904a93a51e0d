"""The second opinion decides nothing, not even by staying silent."""

from __future__ import annotations

from pathlib import Path

from squizzle.analysis.findings import Severity
from squizzle.analysis.lint import Script, lint_scripts
from squizzle.analysis.squawk import ask_squawk, find_squawk
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


def test_one_that_it_does_not_get_through_costs_only_itself(tmp_path: Path) -> None:
    """Many are asked about together; one of them hangs it."""
    asked = tmp_path / "asked"
    program = tmp_path / "squawk"
    program.write_text(
        f"""#!/bin/sh
        for file; do case "$file" in *.sql) echo "$file" >> {asked}; esac; done
        for file; do case "$file" in *.sql) grep -q hang "$file" && exec sleep 60; esac; done
        for file; do :; done
        echo '[{{"file": "'$file'", "line": 0, "column": 0, "rule_name": "r", "message": "m", "help": null}}]'
        """,
        encoding="utf-8",
    )
    program.chmod(0o755)
    texts = {"a.sql": "SELECT 1;", "b.sql": "SELECT 'hang';", "c.sql": "SELECT 2;"}
    scripts = [Script(text=text, source=source) for source, text in texts.items()]

    found = ask_squawk(program, scripts, (), patience_s=1.0)

    assert [(one.file, one.rule) for one in found] == [
        ("a.sql", "squawk:r"),
        ("b.sql", "squawk:no-answer"),
        ("c.sql", "squawk:r"),
    ]
    assert len(asked.read_text(encoding="utf-8").splitlines()) == 3 + 3


def test_what_it_says_of_many_stands_with_each() -> None:
    program = find_squawk()
    assert program is not None, "squizzle[squawk] is a part of what make setup installs"
    change = "ALTER TABLE t ADD COLUMN b varchar(9);"
    texts = [change, "SELECT 1;", f"SELECT 'ä';\n{change}", f"-- {'x' * 70_000}\n{change}", change]
    scripts = [Script(text=text, source=f"{number}.sql") for number, text in enumerate(texts)]

    found = [one for one in ask_squawk(program, scripts, ()) if one.name == "prefer-text-field"]

    assert [(one.file, one.line) for one in found] == [("0.sql", 1), ("2.sql", 2), ("3.sql", 2), ("4.sql", 1)]
