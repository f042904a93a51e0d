"""Everything that can be looked at without Prefect, in the order in which one thing needs another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from squizzle.config import Config, load_config, resolve_environment, resolve_url
from squizzle.doctor.database import look_at_database
from squizzle.doctor.findings import Finding, State, looked
from squizzle.doctor.machine import look_at_embedded, look_at_machine
from squizzle.doctor.store import look_at_store
from squizzle.errors import SquizzleError
from squizzle.migrations.layouts import detect_layout, read_migrations
from squizzle.migrations.layouts.flyway_settings import placeholders_of
from squizzle.numbers import number_of

# As many databases at one time; one that does not answer takes ten seconds.
_AT_ONCE = 8


def examine(config_file: Path | None, only: tuple[str, ...], environ: dict[str, str]) -> Iterator[Finding]:
    """Look at the machine, the configuration, each configured database, and the store.

    Args:
        config_file: squizzle.toml; None for the one that is found from here.
        only: These environments; all of the file, and DATABASE_URL, when empty.
        environ: The environment; passwords are in it.

    Yields:
        Each finding, in a fixed order. What cannot be read is a finding itself, and nothing is raised for it.
    """
    yield from looked("this machine", look_at_machine)
    yield from looked("embedded PostgreSQL", look_at_embedded)
    try:
        config = load_config(config_file)
    except SquizzleError as exc:
        yield Finding(name="squizzle.toml", state=State.PROBLEM, detail=exc.message, hint=exc.hint)
        return
    yield _configuration(config)
    yield from looked("migrations", partial(_migrations, config, environ))
    checks = _databases(config, only, environ)
    if not checks:
        yield Finding(
            name="databases",
            state=State.NOT_LOOKED,
            detail="none is configured",
            hint="[environments.NAME] in squizzle.toml, or DATABASE_URL",
        )
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for findings in pool.map(lambda one: looked(*one), checks):
            yield from findings
    yield from looked("store", partial(look_at_store, config.backups))


def _configuration(config: Config) -> Finding:
    counts = {"environments": config.environments, "fleets": config.fleets, "fences": config.fences}
    told = (
        f"{number_of(len(config.notify.channels), 'channel')} of [notify]"
        if config.notify.channels
        else "nobody is told of alerts"
    )
    detail = ", ".join(f"{len(found)} {what}" for what, found in counts.items())
    return Finding(
        name="squizzle.toml",
        state=State.OK if config.notify.channels else State.WARNING,
        detail=f"{detail}; {told}",
        hint=""
        if config.notify.channels
        else "[notify] says who is told, and by which channel; `squizzle notify --test`",
    )


def _migrations(config: Config, environ: dict[str, str]) -> Iterator[Finding]:
    """Read the folder, unless it is the default one and nobody made it."""
    folder = config.migrations
    if not folder.is_dir():
        detail = f"there is no folder {folder}"
        yield Finding(name="migrations", state=State.NOT_LOOKED, detail=detail, hint="`squizzle init` makes it")
        return
    layout = detect_layout(folder) if config.layout == "auto" else config.layout
    found = read_migrations(folder, layout, placeholders=placeholders_of(environ))
    yield Finding(name="migrations", detail=f"{number_of(len(found), 'version')} in {folder}, laid out as {layout}")


def _databases(
    config: Config, only: tuple[str, ...], environ: dict[str, str]
) -> list[tuple[str, Callable[[], Iterator[Finding]]]]:
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        (name, partial(_environment, config, name, environ)) for name in only or sorted(config.environments)
    ]
    if not only and (url := environ.get("DATABASE_URL")):
        checks.append(("DATABASE_URL", partial(_by_url, config, url)))
    return checks


def _environment(config: Config, name: str, environ: dict[str, str]) -> Iterator[Finding]:
    access, target = resolve_environment(config, name, schema=None, environ=environ)
    yield from look_at_database(name, access, target, config.programs)


def _by_url(config: Config, url: str) -> Iterator[Finding]:
    access, target = resolve_url(config, url, schema=None)
    yield from look_at_database("DATABASE_URL", access, target, config.programs)
