"""Run everything that kills, breaks and damages, count it, and write docs/reliability.md.

python -m tests.chaos [--seed N] [--processes N] [--page FILE] [PYTEST ARGUMENTS]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import squizzle
from squizzle.postgres.embedded import find_runtime
from tests.conftest import ROOT
from tests.integration.conftest import SYSTEM_FOLDERS
from tests.support import tally
from tests.support.reliability_page import PAGE, Run, reliability_page, repeating


def main() -> int:
    """Run it; 0 when nothing was broken that must never be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, help="decides where chance decides; one that a page names repeats its run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--page", type=Path, default=ROOT / PAGE)
    given, for_pytest = parser.parse_known_args()
    seed = tally.chosen_seed() if given.seed is None else given.seed
    chosen = " ".join(for_pytest)
    _say(f"seed {seed}: `{repeating(seed, chosen)}` repeats it")
    with tempfile.TemporaryDirectory(prefix="sqz-chaos-") as name:
        folder = Path(name)
        begun = time.monotonic()
        code = _run_tests(folder, seed, given.processes, for_pytest)
        run = replace(_read(folder, seed, timedelta(seconds=time.monotonic() - begun)), chosen=chosen)
    given.page.write_text(reliability_page(run), encoding="utf-8")
    _say(
        f"{run.number(tally.Kind.KILL)} kills, {run.number(tally.Kind.FLIP)} byte flips, {len(run.violations)} violations"
    )
    for one in run.violations:
        _say(f"violation: {one}")
    return code or bool(run.violations)


def _run_tests(folder: Path, seed: int, processes: int, arguments: list[str]) -> int:
    chosen = [
        "-m",
        "chaos or kills",
        "-n",
        str(processes),
        "--dist",
        "loadfile",
        "-o",
        "faulthandler_timeout=1500",
        f"--junitxml={folder / 'tests.xml'}",
    ]
    command = [sys.executable, "-m", "pytest", *chosen, *(arguments or ["tests"])]
    environment = os.environ | {tally.FILE: str(folder / "tally"), tally.SEED: str(seed)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _read(folder: Path, seed: int, duration: timedelta) -> Run:
    strikes = tally.read_tally(folder / "tally")
    report = folder / "tests.xml"
    cases = list(ET.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 - our own file
    failed = tuple(_name(one) for one in cases if one.find("failure") is not None or one.find("error") is not None)
    skips = [(one, found) for one in cases if (found := one.find("skipped")) is not None]
    return Run(
        version=squizzle.__version__,
        revision=_revision(),
        on=datetime.now(UTC).date(),
        postgres=_servers(),
        machine=f"{os.cpu_count()} processors, load {os.getloadavg()[2]:.1f} over its last 15 minutes",
        seed=seed,
        duration=duration,
        strikes=strikes,
        failed=failed,
        passed=len(cases) - len(failed) - len(skips),
        skipped=tuple(f"`{_name(one)}`: {found.get('message', '')}" for one, found in skips),
    )


def _name(case: ET.Element) -> str:
    """As pytest names it."""
    return f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"


def _servers() -> str:
    of_the_system = [find_runtime(bin_folder=path).version for path in SYSTEM_FOLDERS[-1:]]
    return ", ".join([f"{find_runtime().version} (embedded)", *of_the_system])


def _revision() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - the one on PATH
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
