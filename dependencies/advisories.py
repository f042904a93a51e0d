"""Whether anybody has warned of what is installed with Squizzle: `python -m dependencies.advisories FOLDER`.

Asks by pip-audit (Apache-2.0), which lives in a virtual environment of its own: it needs thirty packages that Squizzle
does not. Where no advisory service can be reached it says so, and that is no failure: nobody was asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WANTED = "pip-audit>=2.10,<3"
_SERVICES = ("pypi", "osv")
# Of this release everybody warns (CVE-2020-1747), so a service that does not is none: a mirror of packages alone
# answers "not found", which pip-audit would take for "nothing known".
_KNOWN_TO_BE_BAD = "pyyaml==5.3"
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a service says.

    Attributes:
        warned: A line for each advisory: package, version, advisory, versions that mend it.
        asked: How many packages it knows.
        unknown: The names of those that it does not know.
    """

    warned: tuple[str, ...]
    asked: int
    unknown: tuple[str, ...]


def ask(program: Path, requirements: Path) -> tuple[str, Answer] | None:
    """What the first service that answers knows of packages.

    Args:
        program: pip-audit.
        requirements: One `name==version` a line.

    Returns:
        The service's name and its answer; None when none is reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.txt"
        trial.write_text(f"{_KNOWN_TO_BE_BAD}\n", encoding="utf-8")
        for service in _SERVICES:
            if (tried := _ask(program, service, trial)) and tried.warned:
                answer = _ask(program, service, requirements)
                return (service, answer) if answer else None
    return None


def main(folder: Path) -> int:
    """Look, and say what was found; 1 when somebody warns of a package, else 0.

    Args:
        folder: Where pip-audit is, or shall be installed.
    """
    program = _installed(folder)
    found = ask(program, _ROOT / "constraints.txt") if program else None
    if found is None:
        print(f"Advisories: not looked: {'no service' if program else 'pip-audit could not be installed'}.")
        return 0
    service, answer = found
    for line in answer.warned:
        print(f"error: {line}", file=sys.stderr)
    unknown = f"; not known there: {', '.join(answer.unknown)}" if answer.unknown else ""
    print(f"Advisories: {len(answer.warned)} for {answer.asked} packages, by {service}{unknown}.")
    return bool(answer.warned)


def _installed(folder: Path) -> Path | None:
    program = folder / "bin" / "pip-audit"
    if program.exists():
        return program
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _WANTED]
    for command in ([sys.executable, "-m", "venv", str(folder)], pip):
        if subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            return None
    return program


def _ask(program: Path, service: str, requirements: Path) -> Answer | None:
    """One run of pip-audit; it installs and resolves nothing. None when it has no answer."""
    options = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", "--timeout=15"]
    done = subprocess.run(
        [program, f"--vulnerability-service={service}", f"--requirement={requirements}", *options],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return Answer(
        warned=tuple(line for one in packages for line in _advisories(one)),
        asked=sum("skip_reason" not in one for one in packages),
        unknown=tuple(one["name"] for one in packages if "skip_reason" in one),
    )


def _advisories(package: dict[str, Any]) -> Iterator[str]:
    for one in package.get("vulns", ()):
        mended = ", ".join(one["fix_versions"]) or "no version"
        yield f"{package['name']} {package['version']}: {one['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
