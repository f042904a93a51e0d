"""golang-migrate's layout: `0001_name.up.sql` and `0001_name.down.sql`, also written `_up.sql` and `_down.sql`.

Facts from golang-migrate's sources (`source/parse.go`): a name is digits, `_`, a title, `.up.` or `.down.`, an
extension; the digits are the version and are compared as a number; files with other names are passed over. Runners that
people wrote themselves mix in `_up.sql`. sqlx reads the same names, and `0001_name.sql` beside them as a migration
without a way back (sqlx, `migrate/migration_type.rs`); golang-migrate itself passes such a file over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from squizzle.migrations.layouts.files import checksum, list_folder, plain_files, read_present, refuse_strays
from squizzle.migrations.layouts.order import in_order
from squizzle.migrations.layouts.pairing import Script, pair_scripts
from squizzle.migrations.records import Labels, Migration

_PAIRED = re.compile(r"(?P<number>[0-9]+)_(?:(?P<name>.*)[._])?(?P<direction>up|down)\.sql")
_DOTTED = re.compile(r"[0-9]+_(?:.*\.)?(?:up|down)\.sql")
_BARE = re.compile(r"(?P<number>[0-9]+)_(?P<name>[^.]+)\.sql")
_WANTED = "<number>_<name>.up.sql or <number>_<name>.down.sql"
# How sqlx is told to run a file outside a transaction: the very first words of it.
_ALONE = "-- no-transaction"


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Every migration of the folder, lowest number first. Nothing else is touched.

    A down script belongs to the up script of its number, else to the one of its name (`pair_scripts`).

    Raises:
        InvalidInputError: A name with a slip, a step that is no SQL, a down script that fits no up script, or a file
            that cannot be used. Nothing was changed.
        VersionConflictError: Two up scripts have the same number.
    """
    root = folder.resolve()
    files = plain_files(list_folder(folder))
    ups, downs = _sort_out(files)
    known = {script.path for script in (*ups, *downs)}
    refuse_strays((file for file in files if file not in known), wanted=_WANTED)
    ways_back = pair_scripts(ups, downs)
    migrations = [(up.number, _read(up, ways_back.get(up.path), root=root)) for up in ups]
    return in_order(migrations, tool="golang-migrate")


def has_pairs(names: Iterable[str]) -> bool:
    """Whether file names show this layout: `.up.sql`, or a `_down.sql` that undoes another file.

    `_up.sql` and `_down.sql` alone show nothing: `5_sign_up.sql` and `6_tear_down.sql` are names like any other.
    """
    names = tuple(names)
    if any(_DOTTED.fullmatch(name) for name in names):
        return True
    ups, downs = _sort_out(Path(name) for name in names)
    spoken = {up.name for up in ups if _PAIRED.fullmatch(up.path.name)}
    same = {(up.number, up.name) for up in ups}
    return any(down.name in spoken or (down.number, down.name) in same for down in downs)


def declared_alone(text: str) -> bool | None:
    """False when the script asks to run outside a transaction, else None."""
    return False if text.startswith(_ALONE) else None


def _sort_out(files: Iterable[Path]) -> tuple[list[Script], list[Script]]:
    ups: list[Script] = []
    downs: list[Script] = []
    for file in files:
        match = _PAIRED.fullmatch(file.name) or _BARE.fullmatch(file.name)
        if match is None:
            continue
        parts = match.groupdict()
        number = parts["number"]
        script = Script(number=int(number), version=number, name=parts["name"] or number, path=file)
        (downs if parts.get("direction") == "down" else ups).append(script)
    return ups, downs


def _read(up: Script, down: Path | None, *, root: Path) -> Migration:
    up_sql = read_present(up.path, root=root)
    down_sql = read_present(down, root=root) if down else None
    return Migration(
        version=up.version,
        name=up.name,
        up_sql=up_sql,
        down_sql=down_sql,
        verify_sql=None,
        checksum=checksum(up_sql),
        source=up.path,
        labels=Labels(up=up.path.name, down=down.name if down else ""),
        in_transaction=declared_alone(up_sql),
        down_in_transaction=declared_alone(down_sql or ""),
    )
