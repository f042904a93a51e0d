"""The proof that a drill touched nothing but its own: what lies around it is looked at before and after, and compared.

What could not be looked at is said, and never counts as untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from squizzle.backups.space import size_words
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.archive import ArchivedFile, WalArchive
from squizzle.errors import SquizzleError
from squizzle.numbers import number_of
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect
from squizzle.postgres.identity import read_identity
from squizzle.postgres.translation import translated
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database, digest_schema
from squizzle.proof.records import DatabaseDigest
from squizzle.recovery.scratch import is_of_a_drill

MOST_BYTES = 2 << 30
"""A larger database is not read twice for a drill: some minutes of a server's disk is what a proof may cost."""

_DATABASES = """
    SELECT d.datname, pg_database_size(d.oid), EXISTS (
        SELECT FROM pg_stat_activity a WHERE a.datid = d.oid AND a.backend_type = 'client backend'
        AND a.application_name NOT LIKE 'squizzle%'
    )
    FROM pg_database d WHERE d.datallowconn AND NOT d.datistemplate ORDER BY 1
"""
# With what each may do, and what is set for it.
_ROLES = """
    SELECT r.rolname, format('%s %s', to_jsonb(r) - 'rolpassword', (
        SELECT array_agg(m.roleid::regrole::text ORDER BY 1) FROM pg_auth_members m WHERE m.member = r.oid))
    FROM pg_roles r ORDER BY 1
"""
_SERVER = "SELECT system_identifier::text, timeline_id::text FROM pg_control_system(), pg_control_checkpoint()"


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a drill must leave as it is, at one moment.

    Attributes:
        where: The server, for a person.
        server: System identifier and timeline.
        databases: Schema, rows and sequences of every database but those of drills.
        identities: Who each of them says it is; empty where nothing was written.
        roles: Every role but those of drills, with what it may.
        written: Databases that somebody else has a session in: their rows may change by themselves.
        archive: Of each cluster, what of its log is archived.
        backups: The ids of the store's backups.
        not_seen: What could not be looked at, one sentence each.
    """

    where: str
    server: tuple[str, ...] = ()
    databases: Mapping[str, DatabaseDigest] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    archive: Mapping[str, tuple[ArchivedFile, ...]] = field(default_factory=dict)
    backups: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Untouched:
    """Before and after, compared.

    Attributes:
        changed: What is not as it was, one sentence each; none where all is.
        not_seen: What could not be compared, one sentence each.
        seen: What was compared and found equal, for a person.
    """

    changed: tuple[str, ...]
    not_seen: tuple[str, ...]
    seen: str

    @property
    def is_so(self) -> bool | None:
        """Whether all is as it was; None where nobody may say so."""
        if self.changed:
            return False
        return None if self.not_seen else True

    @property
    def words(self) -> str:
        """For a report."""
        return "; ".join(self.changed or self.not_seen) or self.seen


def look_around(
    access: ServerAccess,
    store: BackupStore | None,
    archive: WalArchive | None,
    *,
    books: bool,
    most_bytes: int = MOST_BYTES,
) -> Surroundings:
    """Look at a server and a store; nothing is changed, and nothing that fails is an error.

    Args:
        access: The server.
        store: Its backups; None for none.
        archive: The archive of its log; None for none.
        books: Whether the rows of Squizzle's own tables count: a recovery keeps its books beside what it recovers.
        most_bytes: Of a larger database only the schema is read.
    """
    not_seen: list[str] = []
    databases: dict[str, DatabaseDigest] = {}
    identities: dict[str, str] = {}
    server: tuple[str, ...] = ()
    roles: dict[str, str] = {}
    sizes: list[tuple[str, int, bool]] = []
    try:
        with connect(access, CONTROL_DATABASE, purpose="look around", read_only=True) as control:
            server, roles, sizes = _read_server(control)
    except SquizzleError as exc:
        not_seen.append(f"{access.where} could not be looked at: {exc.message}")
    for name, size, _written in sizes:
        try:
            with connect(access, name, purpose="look around", read_only=True) as connection:
                identity = read_identity(connection)
                identities[name] = str(identity.id) if identity else ""
                databases[name] = _digest(connection, rows=size <= most_bytes, books=books)
        except SquizzleError as exc:
            not_seen.append(f"{name} could not be looked at: {exc.message}")
        if size > most_bytes:
            not_seen.append(f"{name} has {size_words(size)}, so only its schema was compared and not its rows")
    archived, backups = _read_archive(archive, not_seen), _read_backups(store, not_seen)
    return Surroundings(
        where=access.where,
        server=server,
        databases=databases,
        identities=identities,
        roles=roles,
        written=frozenset(name for name, _size, written in sizes if written),
        archive=archived,
        backups=backups,
        not_seen=tuple(dict.fromkeys(not_seen)),
    )


def _read_server(control: Connection) -> tuple[tuple[str, ...], dict[str, str], list[tuple[str, int, bool]]]:
    with translated(doing="look around"):
        server = control.execute(_SERVER).fetchone() or ()
        roles = {name: text for name, text in control.execute(_ROLES) if not is_of_a_drill(name)}
        sizes = [row for row in control.execute(_DATABASES).fetchall() if not is_of_a_drill(row[0])]
    return tuple(server), roles, sizes


def _digest(connection: Connection, *, rows: bool, books: bool) -> DatabaseDigest:
    if rows:
        return digest_database(connection, bookkeeping=books)
    return DatabaseDigest(schema=digest_schema(connection), tables=(), sequences={})


def _read_backups(store: BackupStore | None, not_seen: list[str]) -> tuple[str, ...]:
    try:
        return tuple(store.list_ids()) if store is not None else ()
    except SquizzleError as exc:
        not_seen.append(f"the store could not be looked at: {exc.message}")
        return ()


def _read_archive(archive: WalArchive | None, not_seen: list[str]) -> dict[str, tuple[ArchivedFile, ...]]:
    try:
        return {one: archive.files(one) for one in archive.clusters()} if archive is not None else {}
    except SquizzleError as exc:
        not_seen.append(f"the archive could not be looked at: {exc.message}")
        return {}


def compare_surroundings(before: Surroundings, after: Surroundings) -> Untouched:
    """Everything that is not as it was before a drill. Pure.

    A server that lives goes on archiving its log: whole segments may come behind those that were there, on timelines
    that were there. Rows that others may have written meanwhile prove nothing.
    """
    changed = [*_of_server(before, after), *_of_archive(before.archive, after.archive)]
    changed += [f"backup {one} is gone from the store" for one in before.backups if one not in after.backups]
    not_seen = dict.fromkeys((*before.not_seen, *after.not_seen))
    for name in sorted(before.databases.keys() & after.databases.keys()):
        comparison = compare_digests(before.databases[name], after.databases[name])
        changed += [f"{name}: {sentence}" for sentence in comparison.other_sentences()]
        rows = comparison.row_sentences()
        if rows and name in before.written | after.written:
            not_seen[f"{name}: others wrote to it meanwhile, so its rows say nothing about the drill"] = None
        else:
            changed += [f"{name}: {sentence}" for sentence in rows]
    return Untouched(changed=tuple(changed), not_seen=tuple(not_seen), seen=_seen(after))


def _of_server(before: Surroundings, after: Surroundings) -> Iterator[str]:
    if not (before.server and after.server):
        return  # that it was not seen is said already
    if before.server != after.server:
        yield f"{before.where} was {' on timeline '.join(before.server)} and is {' on timeline '.join(after.server)}"
    for what, was, now in (
        ("database", before.identities, after.identities),
        ("role", before.roles, after.roles),
    ):
        yield from (f"{what} {name} is gone" for name in sorted(was.keys() - now.keys()) if _was_looked_at(name, after))
        yield from (f"{what} {name} is new" for name in sorted(now.keys() - was.keys()) if _was_looked_at(name, before))
        yield from (
            f"{what} {name} is another one" for name in sorted(was.keys() & now.keys()) if was[name] != now[name]
        )


def _was_looked_at(name: str, found: Surroundings) -> bool:
    return not any(sentence.startswith(f"{name} could not") for sentence in found.not_seen)


def _of_archive(
    before: Mapping[str, tuple[ArchivedFile, ...]], after: Mapping[str, tuple[ArchivedFile, ...]]
) -> Iterator[str]:
    for cluster in sorted(before.keys() | after.keys()):
        was = {one.name: one for one in before.get(cluster, ())}
        now = {one.name: one for one in after.get(cluster, ())}
        timelines = {name[:8] for name in was}
        for name in sorted(was.keys() | now.keys()):
            if name not in now:
                yield f"{name} is gone from the archive of {cluster}"
            elif name not in was and name[:8] not in timelines:
                yield f"{name} is new in the archive of {cluster}: a timeline that was not there"
            elif name in was and (was[name].size_bytes, was[name].stored_at) != (
                now[name].size_bytes,
                now[name].stored_at,
            ):
                yield f"{name} in the archive of {cluster} was written again"


def _seen(found: Surroundings) -> str:
    rows = sum(digest.rows for digest in found.databases.values())
    files = sum(len(one) for one in found.archive.values())
    databases = f"{number_of(len(found.databases), 'database')} with {number_of(rows, 'row')}"
    beside = f"{number_of(len(found.roles), 'role')}, {number_of(len(found.backups), 'backup')}"
    return f"{databases}, {beside} and {number_of(files, 'file')} of archived log are as before"
