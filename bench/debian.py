"""Programs of Debian that this machine lacks, unpacked into a folder of the project's own. Nothing is installed.

A package that is installed may start a server, or bring other versions of PostgreSQL's programs along; one that is only
unpacked cannot. Libraries that the machine lacks are unpacked beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import peers

# `make clean` removes it.
HOME = Path(__file__).parent.parent / ".squizzle" / "debian"
_SYSTEM = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
# The program needs the libraries that were unpacked with it, and what it starts must not see them.
_WRAPPER = '#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n'


def find_program(program: str, package: str) -> Path | None:
    """The system's program, else Debian's, which is fetched the first time; None where neither is to be had.

    Args:
        program: What it is called.
        package: Which package of Debian has it.
    """
    if found := shutil.which(program, path=_SYSTEM):
        return Path(found)
    wrapper = HOME / "bin" / program
    if not wrapper.exists():
        try:
            _fetch(program, package, wrapper)
        except (RuntimeError, OSError):  # no Debian, no network, or no such package
            return None
    return wrapper


def _fetch(program: str, package: str, wrapper: Path) -> None:
    folder = HOME / package
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        names = [package, *_missing_libraries(package, set())]
        subprocess.run(["apt-get", "download", *names], cwd=place, check=True, capture_output=True, timeout=120)  # noqa: S607
        folder.mkdir(parents=True, exist_ok=True)
        for archive in Path(place).glob("*.deb"):
            peers.run(["dpkg", "-x", str(archive), str(folder)])
    found = [path for path in folder.rglob(program) if path.is_file() and path.parent.name in {"bin", "sbin"}]
    if not found:
        raise RuntimeError(f"{package} has no {program}")
    libraries = {str(path.parent) for path in folder.rglob("lib*.so*")}
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole: whoever finds it uses it.
    draft = wrapper.with_suffix(".part")
    draft.write_text(_WRAPPER.format(libraries=os.pathsep.join(sorted(libraries)), program=found[0]), encoding="utf-8")
    draft.chmod(0o755)
    draft.rename(wrapper)


def _missing_libraries(package: str, seen: set[str]) -> Iterator[str]:
    """The libraries that it depends on and that are not installed, theirs included."""
    for name in libraries_of(peers.run(["apt-cache", "depends", package])):
        if name not in seen and not _is_installed(name):
            seen.add(name)
            yield name
            yield from _missing_libraries(name, seen)


def libraries_of(said: str) -> tuple[str, ...]:
    """The libraries in the words of `apt-cache depends`. Pure."""
    return tuple(re.findall(r"^ +(?:Pre)?Depends: (lib[^\s<>]+)$", said, re.MULTILINE))


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, check=False, capture_output=True, text=True).stdout == "installed"
