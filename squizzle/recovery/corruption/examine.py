"""Examining a damaged cluster: a copy first, then evidence, then what can be saved and what is lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg

from squizzle.backups.store import BackupStore
from squizzle.errors import ConnectionFailedError, CouldNotVerifyError, InvalidInputError, ToolError
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.translation import translate_error
from squizzle.recovery.corruption.advice import refuse_shredding
from squizzle.recovery.corruption.copying import DamagedCopy, Source, damaged_copy, superuser_of
from squizzle.recovery.corruption.from_backup import look_in_backup
from squizzle.recovery.corruption.records import Constraint, DamagedRelation, Examination, Role
from squizzle.recovery.corruption.salvage import Patient, Salvage, patients_of, prove_reindex
from squizzle.recovery.corruption.scanning import Scan, fork_of, main_file, scan_copy, write_file
from squizzle.recovery.corruption.structure import (
    Relation,
    check_relations,
    name_by_file,
    name_damage,
    prepare_amcheck,
    read_relations,
)
from squizzle.recovery.corruption.vanished import suspects_among, vanished_pages

SUMS_FILE = "SHA256SUMS"
LOST_FILE = "lost-keys.tsv"
VALUES_FILE = "lost-values.tsv"
COPY_FOLDER = "cluster"
REPORT_FILE = "report.md"
EVIDENCE_FOLDER = Path(".squizzle") / "corruption"
"""Where evidence goes unless somebody says otherwise; each examination has a folder of its own in there."""

# Reading by page number (TID range scans) and amcheck for tables came with it.
_FIRST_MAJOR = 14
# What tables are rewritten by without their rows being asked for: not worth saving, or made from others.
_NOT_DUMPED = frozenset({Role.TABLE, Role.TOAST, Role.TOAST_INDEX, Role.SEQUENCE})
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What an examination is to do.

    Attributes:
        folder: Where evidence goes; made, or empty.
        with_rest: Whether the rest of the database is saved, too, so that a whole one can be made of it.
        keep_copy: Whether the untouched copy of the cluster is kept in the folder.
        store: Where backups lie that may have what is lost; None to ask none.
        backup_id: Which is asked; empty for the newest whole one.
    """

    folder: Path
    with_rest: bool = False
    keep_copy: bool = True
    store: BackupStore | None = None
    backup_id: str = ""


# The original


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What the original server says without reading a table.

    Attributes:
        failures: Checksums that failed since its counters began; None without checksums.
    """

    failures: int | None


_ZEROING = """
    SELECT format('ALTER %s RESET zero_damaged_pages', CASE
               WHEN s.setrole = 0 THEN format('DATABASE %I', d.datname)
               WHEN s.setdatabase = 0 THEN format('ROLE %I', r.rolname)
               ELSE format('ROLE %I IN DATABASE %I', r.rolname, d.datname) END)
    FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE coalesce(d.datname, current_database()) = current_database()
      AND EXISTS (SELECT FROM unnest(s.setconfig) c WHERE c IN ('zero_damaged_pages=on', 'zero_damaged_pages=true',
                  'zero_damaged_pages=1', 'zero_damaged_pages=yes'))
    UNION ALL
    SELECT CASE source WHEN 'client' THEN 'take zero_damaged_pages out of the options of this connection'
                       ELSE 'ALTER SYSTEM RESET zero_damaged_pages; SELECT pg_reload_conf()' END
    FROM pg_settings
    WHERE name = 'zero_damaged_pages' AND setting = 'on' AND source NOT IN ('database', 'user', 'database user')
"""
_REWRITING = """
    SELECT format('SELECT pg_cancel_backend(%s)', pid) FROM pg_stat_progress_cluster WHERE datname = current_database()
"""
_FAILURES = "SELECT sum(checksum_failures)::bigint FROM pg_stat_database"


def look_at_original(source: Source, target: Target) -> Look:
    """Ask the running original what it knows of its damage; nothing of a table is read, nothing changed.

    Raises:
        IdentityMismatchError: It is another database than was meant.
        RefusedError: Something empties damaged pages there at this moment, in the only copy there is.
        CouldNotVerifyError: Its version is too old.
    """
    with connect(source.access, source.database, purpose="examine", read_only=True) as connection:
        _refuse_old(connection.info.server_version // 10000)
        check_identity(read_identity(connection), target.expected, database=source.database)
        try:
            zeroing = [command for (command,) in connection.execute(_ZEROING)]
            rewriting = [command for (command,) in connection.execute(_REWRITING)]
            row = connection.execute(_FAILURES).fetchone()
        except psycopg.Error as exc:
            raise translate_error(exc, doing="ask the server about its damage", needs="pg_read_all_stats") from exc
    refuse_shredding(source.database, zeroing=zeroing, rewriting=rewriting)
    return Look(failures=row[0] if row else None)


def _refuse_old(major: int) -> None:
    if major < _FIRST_MAJOR:
        raise CouldNotVerifyError(
            f"PostgreSQL {major} cannot read a table page by page",
            hint=f"from {_FIRST_MAJOR} on it can; keep a copy of the data folder, and restore from a backup",
        )


# The copy


def evidence_folder(place: Path, database: str, now: datetime) -> Path:
    """The folder of one examination."""
    safe = "".join(one if one.isalnum() or one in "._-" else "_" for one in database)
    return place.absolute() / f"{safe}-{now:%Y%m%dT%H%M%SZ}"


def examine(source: Source, target: Target, wish: Wish, *, now: datetime, say: Say = lambda _text: None) -> Examination:
    """Find out on a copy what is damaged, keep the evidence, save what can be read, and list what cannot.

    The original is only read: by pg_basebackup, or as files. Everything else happens in the copy, which is gone
    afterwards but for what the folder holds.

    Args:
        source: The damaged cluster.
        target: The database whose rows matter, and who the caller means by it.
        wish: What is to be done.
        now: The time.
        say: Told what happens.

    Raises:
        InvalidInputError: The folder for the evidence is not empty, or the source cannot be copied. Nothing was
            changed.
        IdentityMismatchError, RefusedError: See `look_at_original`. Nothing was copied.
        CouldNotVerifyError: The copy does not start, or a library is missing here; the evidence is in the folder.
        ToolError: There is no room, or the cluster cannot be copied.
    """
    _make_empty(wish.folder)
    failures = None if source.data_folder else look_at_original(source, target).failures
    keep_at = wish.folder / COPY_FOLDER if wish.keep_copy else None
    with damaged_copy(source, keep_at=keep_at, say=say) as copy:
        _refuse_old(copy.runtime.major)
        scan = _scan(copy, wish.folder, say)
        draft = Examination(
            database=source.database,
            source=source.words,
            at=now,
            folder=wish.folder,
            checksums=scan.checksums,
            failures=failures,
            pages_read=scan.pages_read,
            relations=(),
            doubts=(scan.doubt,) if scan.doubt else (),
            copy_kept=COPY_FOLDER if keep_at else "",
        )
        try:
            understood = _understand(copy, target, scan, say)
        except (CouldNotVerifyError, ConnectionFailedError) as exc:
            # The catalogue itself: which relations there are nobody knows any more, but files have names.
            doubt = f"the copy cannot be asked which relations there are: {exc.message}"
            found = replace(draft, relations=name_by_file(scan.pages), doubts=(*draft.doubts, doubt))
        else:
            found = _save(
                copy, target, wish, scan, replace(draft, doubts=(*draft.doubts, *understood.doubts)), understood, say
            )
    _write_lists(found)
    _write_sums(wish.folder)
    return found


def _scan(copy: DamagedCopy, folder: Path, say: Say) -> Scan:
    say("starting the copy, to bring it to the end of its log")
    try:
        copy.start()
    except CouldNotVerifyError as exc:
        scan = scan_copy(copy.runtime, copy.data, folder)
        _write_sums(folder)
        exc.add_note(f"{len(scan.pages)} of its {scan.pages_read:,} pages are damaged; they are kept in {folder}")
        raise
    copy.stop()
    say("looking at every page")
    scan = scan_copy(copy.runtime, copy.data, folder)
    say(f"{len(scan.pages)} of {scan.pages_read:,} pages are damaged; they are kept in {folder}")
    copy.start()
    return scan


@contextmanager
def _session(copy: DamagedCopy, database: str) -> Iterator[Connection]:
    with copy.connect_again(database) as connection:
        try:
            yield connection
        except psycopg.Error as exc:
            raise translate_error(exc, doing="examine the copy") from exc


@dataclass(frozen=True, kw_only=True, slots=True)
class _Understood:
    """What the copy says about itself.

    Attributes:
        relations: All of the database.
        damage: What is wrong with which.
        patients: Tables to be salvaged.
        mended: What was mended in the copy.
        constraints: Foreign keys.
        doubts: What could not be looked at.
    """

    relations: tuple[Relation, ...]
    damage: tuple[DamagedRelation, ...]
    patients: tuple[Patient, ...]
    mended: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    doubts: tuple[str, ...]


def _understand(copy: DamagedCopy, target: Target, scan: Scan, say: Say) -> _Understood:
    superuser_of(copy, target.database)
    with _session(copy, target.database) as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
        relations = read_relations(connection)
        unchecked = prepare_amcheck(connection)
    blocks = _damaged_blocks(relations, scan)
    say("checking tables and indexes against each other")
    findings, doubts = ((), (unchecked,)) if unchecked else check_relations(copy, target.database, relations, blocks)
    vanished, unsure = vanished_pages(
        copy,
        target.database,
        suspects_among(relations, scan.empty),
        relations=relations,
        broken={*blocks, *(one.relation for one in findings)},
        checksums=scan.checksums,
    )
    known = {(page.file, page.block) for page in scan.pages}
    pages = (*scan.pages, *(page for page in vanished if (page.file, page.block) not in known))
    with _session(copy, target.database) as connection:
        databases, here = _databases(connection)
        damage = name_damage(relations, pages, findings, databases, here, checksums=scan.checksums)
        damage = prove_reindex(connection, damage)
        constraints = _constraints(connection)
        patients, mended = patients_of(connection, relations, damage)
    return _Understood(
        relations=relations,
        damage=damage,
        patients=patients,
        mended=mended,
        constraints=constraints,
        doubts=(*doubts, *unsure),
    )


def _save(
    copy: DamagedCopy, target: Target, wish: Wish, scan: Scan, draft: Examination, understood: _Understood, say: Say
) -> Examination:
    found = replace(draft, relations=understood.damage, constraints=understood.constraints, mended=understood.mended)
    if not understood.patients and (found.is_sound or not wish.with_rest):
        return found
    left_out = sorted({one.table for one in understood.damage if one.role in _NOT_DUMPED})
    salvage = Salvage(copy, target.database, wish.folder, checksums=scan.checksums, say=say)
    saved, rest, troubles = salvage.run(understood.patients, left_out, with_rest=wish.with_rest)
    backup_id = ""
    if wish.store is not None and saved:
        say("asking a backup for the rows that were not saved")
        saved, backup_id, unasked = look_in_backup(
            copy, target.database, saved, wish.folder, store=wish.store, backup_id=wish.backup_id
        )
        troubles = (*troubles, *unasked)
    unknown = [f"which rows of {one.table} are lost: {one.lost_unknown}" for one in saved if one.lost is None]
    return replace(found, saved=saved, dump=rest, backup_id=backup_id, doubts=(*found.doubts, *troubles, *unknown))


def _damaged_blocks(relations: tuple[Relation, ...], scan: Scan) -> dict[str, set[int]]:
    by_file = {one.file: one.name for one in relations}
    blocks: dict[str, set[int]] = {}
    for page in scan.pages:
        name = by_file.get(main_file(page.file))
        if name is not None and not fork_of(page.file):
            blocks.setdefault(name, set()).add(page.block)
    return blocks


def _databases(connection: Connection) -> tuple[dict[int, str], int]:
    rows = connection.execute("SELECT oid::bigint, datname, datname = current_database() FROM pg_database").fetchall()
    return {oid: name for oid, name, _ in rows}, next(oid for oid, _, ours in rows if ours)


_CONSTRAINTS = """
    SELECT format('%I.%I', n.nspname, c.relname), k.conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND c.oid >= 16384 ORDER BY 1, 2
"""


def _constraints(connection: Connection) -> tuple[Constraint, ...]:
    rows = connection.execute(_CONSTRAINTS).fetchall()
    return tuple(Constraint(table=table, name=name, definition=text) for table, name, text in rows)


# The folder


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InvalidInputError(
                f"{folder} is not empty: evidence of one examination is not mixed with another's",
                hint="name a new folder",
            )
    except OSError as exc:
        raise ToolError(f"the folder {folder} cannot be used: {exc.strerror}", hint="name another folder") from exc


def _write_lists(found: Examination) -> None:
    keys = [f"{one.table}\t{_cell(key)}\n" for one in found.saved for key in one.lost or ()]
    values = [
        f"{one.table}\t{_cell(one.row)}\t{_cell(one.column)}\t{_cell(one.why)}\n"
        for table in found.saved
        for one in table.lost_values
    ]
    if keys:
        write_file(found.folder / LOST_FILE, "".join(["table\tkey\n", *keys]).encode())
    if values:
        write_file(found.folder / VALUES_FILE, "".join(["table\trow\tcolumn\twhy\n", *values]).encode())


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _write_sums(folder: Path) -> None:
    """In the form of `sha256sum --check`; the kept cluster is not hashed, its damaged pages are."""
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] != COPY_FOLDER:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    write_file(folder / SUMS_FILE, "".join(lines).encode())
