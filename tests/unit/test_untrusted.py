"""Nothing that somebody else may have written is ever turned into objects, or run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOMS = ("squizzle", "blocks", "tasks", "flows", "sandbox")
# Reading any of these formats runs what is in it. `multiprocessing` sends them from process to process.
RUNS_WHAT_IT_READS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"} | {
    "multiprocessing"
}
NEVER_CALLED = {"eval", "exec", "read_pickle", "to_pickle", "unsafe_load", "full_load", "UnsafeLoader", "FullLoader"}
BAD = """
import pickle
from multiprocessing import Pool
from yaml import UnsafeLoader, load
@flow(name="x", persist_result=True)
def one(): eval("1"); pandas.read_pickle("x"); numpy.load("x", allow_pickle=True); load("x", Loader=Loader)
@task
def two(): ...
@flow(name="y", persist_result=False, result_serializer="pickle")
def three(): subprocess.run("x", shell=True)
"""


def complaints(text: str) -> Iterator[str]:
    """What a module does that it must not."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = {one.name for one in node.names}
            yield from sorted(
                ({one.split(".")[0] for one in {*names, module}} & RUNS_WHAT_IT_READS) | names & NEVER_CALLED
            )
        elif isinstance(node, ast.Call):
            yield from calls(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Without brackets Prefect's own default counts, which a setting of the machine changes.
            yield from (
                one.id for one in node.decorator_list if isinstance(one, ast.Name) and one.id in {"flow", "task"}
            )


def calls(node: ast.Call) -> Iterator[str]:
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    given = {one.arg: one.value for one in node.keywords}
    loader = given.get("Loader")
    is_safe = loader is None or (isinstance(loader, ast.Name) and loader.id == "SafeLoader")
    if name in NEVER_CALLED or not is_safe or {"allow_pickle", "shell", "result_serializer"} & given.keys():
        yield name
    if isinstance(node.func, ast.Name) and name in {"flow", "task"}:
        kept = given.get("persist_result")
        if not isinstance(kept, ast.Constant) or kept.value is not False:
            yield name


def test_what_must_not_be_is_noticed() -> None:
    assert sorted(complaints(BAD)) == sorted(
        [
            "pickle",
            "multiprocessing",
            "UnsafeLoader",
            "flow",
            "eval",
            "read_pickle",
            "load",
            "load",
            "task",
            "flow",
            "run",
        ]
    )


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_that_is_read_is_run_and_prefect_keeps_no_results(room: str, project_root: Path) -> None:
    # Prefect keeps results as pickles: whoever may write to its storage could run code in every worker.
    files = sorted((project_root / room).rglob("*.py"))

    assert files
    found = {str(file): list(complaints(file.read_text(encoding="utf-8"))) for file in files}
    assert {file: words for file, words in found.items() if words} == {}


def test_markdown_is_published_without_tags_by_everybody(project_root: Path) -> None:
    publishing = "from prefect.artifacts import"
    files = [path for room in ROOMS for path in sorted((project_root / room).rglob("*.py"))]

    found = [
        path.name
        for path in files
        if publishing in (text := path.read_text(encoding="utf-8"))
        and any(
            isinstance(node, ast.ImportFrom) and node.module == "prefect.artifacts" and "markdown" in ast.unparse(node)
            for node in ast.walk(ast.parse(text))
        )
    ]
    assert found == ["markdown_artifact.py"]
