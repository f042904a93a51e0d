"""What a project says about rehearsals. Imported by every verb, so it imports next to nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


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
    signing_key_env: str | None = None
