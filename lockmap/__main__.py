"""`make lockmap`: measure the map on every server at hand, and render its page."""

from __future__ import annotations

from pathlib import Path

from lockmap.probe import as_map, measure
from squizzle.analysis.locks import maps
from squizzle.analysis.locks.lock_map import known_majors, lock_map, write_map
from squizzle.postgres.access import ServerAccess
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.embedded.runtime import Runtime
from squizzle.reports.lock_pages import PAGE, render

# Debian's and the PGDG's folders.
_SYSTEM = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"))


def main() -> None:
    """Write the maps of the embedded server and of each one that the system has."""
    folder = Path(next(iter(maps.__path__)))
    measured = set()
    for runtime in _runtimes():
        with throwaway_cluster(
            "lockmap", settings=drill_settings(runtime.major, throwaway=True), runtime=runtime
        ) as at:
            runs, _kin = measure(ServerAccess(host=str(at.socket_folder), port=at.port, user=at.user))
        path = folder / f"postgresql_{runtime.major}.json"
        path.write_text(write_map(as_map(runs, runtime.major)), encoding="utf-8")
        measured.add(runtime.major)
        print(f"PostgreSQL {runtime.major}: {len(runs)} runs, written to {path.relative_to(Path.cwd())}", flush=True)
    for major in sorted(set(known_majors()) - measured):
        print(f"PostgreSQL {major}: no server at hand, its map was left as it is", flush=True)
    PAGE.write_text(render([lock_map(major) for major in known_majors()]), encoding="utf-8")
    print(f"rendered {PAGE}", flush=True)


def _runtimes() -> list[Runtime]:
    folders = [folder for base, pattern in _SYSTEM for folder in sorted(Path(base).glob(pattern))]
    found = [find_runtime(bin_folder=folder) for folder in folders] + [find_runtime()]
    return list({runtime.major: runtime for runtime in found}.values())


if __name__ == "__main__":
    main()
