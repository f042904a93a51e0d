"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib.machinery
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "prefect",
    "pandas",
    "pyarrow",
    "matplotlib",
    "boto3",
    "botocore",
    "alembic",
    "sqlalchemy",
    "kubernetes",
    "yaml",
)


def modules_after(program: str, folder: Path) -> set[str]:
    """The modules that a fresh interpreter has imported when the program ends."""
    report = "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)), file=sys.__stderr__)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + report], cwd=folder, check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


COMMANDS = """
from squizzle.cli.main import run
assert run(["--help"]) == 0
assert run(["status", "--help"]) == 0
assert run(["apply", "--help"]) == 0
assert run(["status", "--url", "nonsense"]) == 2
"""


@pytest.mark.parametrize("program", ["import squizzle.cli.main", COMMANDS], ids=["import", "commands"])
def test_the_command_starts_without_what_only_some_verbs_need(project_root: Path, program: str) -> None:
    imported = modules_after(program, project_root)

    assert "squizzle.cli.main" in imported
    assert {name for name in imported if name.split(".")[0] in HEAVY} == set()


def test_status_starts_without_the_grammar(project_root: Path) -> None:
    # It parses nothing, is typed the most, and the grammar is a fifth of what it would load.
    program = 'from squizzle.cli.main import run\nassert run(["status", "--url", "nonsense"]) == 2'

    imported = modules_after(program, project_root)

    assert "squizzle.migrations.history" in imported
    assert {name for name in imported if name.split(".")[0] in {"postgast", "google"}} == set()


def flow_files(project_root: Path) -> list[Path]:
    found = sorted(path for path in (project_root / "flows").rglob("*.py") if path.name != "__init__.py")
    assert found
    return found


def test_no_flow_file_has_the_name_of_a_package_that_could_be_imported(project_root: Path) -> None:
    # Prefect's loader puts a flow's folder first on the import path, so such a file would be imported instead.
    elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != project_root / "flows"]

    taken = [
        path.name
        for path in flow_files(project_root)
        if path.stem in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(path.stem, elsewhere)
    ]

    assert taken == []


# What a form is made of: imported by the flows, and never loaded as one.
FORMS = {"forms.py", "roll_out_fields.py"}


def test_no_class_is_defined_in_a_flow_file(project_root: Path) -> None:
    defined = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in flow_files(project_root)
        if path.name not in FORMS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]

    assert defined == []


# Not flows themselves: their forms and names, and the parts that others go through.
NO_FLOWS = FORMS | {"run_names.py", "take_back.py", "ways_back.py"}

# Nor are the verbs of the command that run one, and how each disaster is played.
NO_FLOW_FOLDERS = {"disasters", "verbs"}


def test_every_flow_file_defines_one_flow(project_root: Path) -> None:
    flows = {
        path.name: sum(is_flow(node) for node in ast.parse(path.read_text(encoding="utf-8")).body)
        for path in flow_files(project_root)
        if path.name not in NO_FLOWS and path.parent.name not in NO_FLOW_FOLDERS
    }

    assert set(flows.values()) == {1}, flows


def is_flow(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    names = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
    return any(isinstance(name, ast.Name) and name.id == "flow" for name in names)


# Written in two parts, so that this file does not hold what it looks for.
ELSEWHERE = re.compile(
    rb"--(?:extra-)?index" + rb"-url|--find" + rb"-links|PIP_(?:EXTRA_)?INDEX" + rb"_URL|pypi\.org/" + rb"simple"
    rb"|registry\.npm" + rb"js\.org|://[^/\s]*artifact" + rb"ory|files\.python" + rb"hosted\.org",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "line",
    ["pip install --index" + "-url https://x", "--EXTRA-INDEX" + "-URL=x", "https://pypi.org/" + "simple/click"],
)
def test_the_address_of_a_registry_is_recognised(line: str) -> None:
    assert ELSEWHERE.search(line.encode())


def test_no_file_says_which_registry_packages_come_from(project_root: Path) -> None:
    # That is the business of whoever installs: a mirror in a file would break everybody else.
    if shutil.which("git") is None or not (project_root / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - the one on PATH
        cwd=project_root,
        check=True,
        capture_output=True,
    ).stdout
    files = [project_root / name.decode() for name in listed.split(b"\0") if name]

    assert len(files) > 50
    assert [path.name for path in files if path.is_file() and ELSEWHERE.search(path.read_bytes())] == []
