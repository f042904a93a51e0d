"""What a project says about rehearsals, in `squizzle.toml` (`[rehearsal]`).

Imported by every verb, so it imports little itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from squizzle.postgres.access import ServerAccess, parse_url
from squizzle.settings.reader import Reader, variable_of


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalSettings:
    """`[rehearsal]`: what has to be proven before it is applied, and where it is rehearsed.

    Attributes:
        required_for: Environments in which nothing is applied without a certificate that matches.
        max_age: An older certificate no longer counts.
        max_backup_age: A rehearsal takes no older backup.
        server: Connection string, without a password, of the server to restore to; None for an embedded one.
        server_url_env: Instead of it: the variable that holds the whole connection string.
        mask: A script that masks the copy before anything of it is read; None for none.
        workload: Queries that are compared before and after; None for none.
        budget: A rehearsal that takes longer ends, and proves nothing.
        may_override: Whether something may be applied without a certificate by somebody who gives reason and name.
        same_schema: Whether a certificate of one database counts for others whose schema has the same digest.
        allow_minor: Whether a certificate counts on another minor version of the server.
        may_grow: Tables that log what is done, qualified and quoted: rows more after a rollback are no damage.
        signing_key_env: The variable with the key that certificates are signed with; None: they are not signed.
    """

    required_for: tuple[str, ...] = ("production",)
    max_age: timedelta = timedelta(days=7)
    max_backup_age: timedelta = timedelta(days=1)
    server: str | None = None
    server_url_env: str | None = None
    mask: Path | None = None
    workload: Path | None = None
    budget: timedelta = timedelta(hours=1)
    may_override: bool = True
    same_schema: bool = False
    allow_minor: bool = True
    may_grow: tuple[str, ...] = ()
    signing_key_env: str | None = None


def read_rehearsal(reader: Reader, value: object, folder: Path) -> RehearsalSettings:
    """The section; nothing is connected, and no variable is read.

    Args:
        reader: Of the file.
        value: The section.
        folder: The file's, which paths are seen from.

    Raises:
        InvalidInputError: A setting is unknown or wrong.
    """
    where, default = "rehearsal", RehearsalSettings()
    section = reader.section(value, where)
    mask, workload = (reader.text(section, where, name) for name in ("mask", "workload"))
    settings = RehearsalSettings(
        required_for=reader.texts(section, where, "required_for")
        if "required_for" in section
        else default.required_for,
        max_age=reader.duration(section, where, "max_age", default.max_age),
        max_backup_age=reader.duration(section, where, "max_backup_age", default.max_backup_age),
        server=reader.text(section, where, "server"),
        server_url_env=reader.text(section, where, "server_url_env"),
        mask=folder / mask if mask else None,
        workload=folder / workload if workload else None,
        budget=reader.duration(section, where, "budget", default.budget),
        may_override=reader.yes_or_no(section, where, "may_override", default=default.may_override),
        same_schema=reader.yes_or_no(section, where, "same_schema", default=default.same_schema),
        allow_minor=reader.yes_or_no(section, where, "allow_minor", default=default.allow_minor),
        may_grow=reader.texts(section, where, "may_grow"),
        signing_key_env=reader.text(section, where, "signing_key_env"),
    )
    reader.nothing_left(section, where)
    for name in ("max_age", "max_backup_age", "budget"):
        if getattr(settings, name) <= timedelta():
            reader.complain(f"{where}.{name}", "must be above zero")
    if settings.server and settings.server_url_env:
        reader.complain(where, "give either server or server_url_env")
    if settings.server and parse_url(settings.server)[0].password is not None:
        reader.complain(f"{where}.server", "holds a password; name server_url_env instead")
    return settings


def rehearsal_server(settings: RehearsalSettings, environ: Mapping[str, str]) -> ServerAccess | None:
    """The server to restore to; None for an embedded one.

    Raises:
        InvalidInputError: The variable is not set, or it is no connection string.
    """
    url = settings.server
    if settings.server_url_env:
        url = variable_of(settings.server_url_env, "[rehearsal] server_url_env", environ)
    return parse_url(url)[0] if url else None
