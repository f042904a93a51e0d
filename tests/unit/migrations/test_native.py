"""Reading the folder of migrations, and refusing what must not be skipped in silence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.errors import DatabaseState, InvalidInputError, VersionConflictError
from squizzle.migrations.layouts.files import checksum
from squizzle.migrations.layouts.native import read_migrations
from squizzle.migrations.records import Labels


def write(folder: Path, name: str, up: str | bytes = "SELECT 1;\n", **others: str | bytes) -> Path:
    """One version's folder, with `down` and `verify` when they are given."""
    version = folder / name
    version.mkdir(parents=True)
    for file, text in {"up": up, **others}.items():
        (version / f"{file}.sql").write_bytes(text if isinstance(text, bytes) else text.encode())
    return version


def test_migrations_come_oldest_first_with_all_their_scripts(tmp_path: Path) -> None:
    write(tmp_path, "10_ten", "SELECT 10;\n")
    write(tmp_path, "9_nine", "SELECT 9;\n", down="SELECT -9;\n", verify="SELECT true;\n")

    nine, ten = read_migrations(tmp_path)

    assert (nine.version, nine.name, nine.up_sql) == ("9", "nine", "SELECT 9;\n")
    assert (nine.down_sql, nine.verify_sql) == ("SELECT -9;\n", "SELECT true;\n")
    assert nine.source == tmp_path / "9_nine"
    assert nine.labels == Labels(up="9_nine/up.sql", down="9_nine/down.sql", verify="9_nine/verify.sql")
    assert nine.checksum == hashlib.sha256(b"SELECT 9;\n").hexdigest()
    assert (ten.version, ten.down_sql, ten.verify_sql) == ("10", None, None)


def test_the_name_is_everything_behind_the_first_underscore(tmp_path: Path) -> None:
    write(tmp_path, "1.2-rc1_add_user_names")

    (migration,) = read_migrations(tmp_path)

    assert (migration.version, migration.name) == ("1.2-rc1", "add_user_names")


def test_the_examples_migrations_are_read(shop: Path) -> None:
    migrations = read_migrations(shop / "migrations")

    assert [migration.version for migration in migrations] == [f"{number:04d}" for number in range(1, 13)]
    assert all(migration.down_sql and migration.verify_sql for migration in migrations)


def test_an_empty_folder_has_no_migrations(tmp_path: Path) -> None:
    assert read_migrations(tmp_path) == ()


def test_empty_scripts_are_scripts(tmp_path: Path) -> None:
    write(tmp_path, "1_nothing", "", down="", verify="")

    (migration,) = read_migrations(tmp_path)

    assert (migration.up_sql, migration.down_sql, migration.verify_sql) == ("", "", "")
    assert migration.checksum == hashlib.sha256(b"").hexdigest()


def test_hidden_folders_and_plain_files_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "1_one")
    for name in (".git", ".idea", "__pycache__"):
        write(tmp_path, name)
    (tmp_path / "README.md").write_text("what these are")
    (tmp_path / "2_two.sql").write_text("not of this layout")

    assert [migration.version for migration in read_migrations(tmp_path)] == ["1"]


# --- the same file on every machine --------------------------------------------------------------------------------

UNIX = "-- é\nSELECT 1;\n\nSELECT 'a\nb';\n"


@pytest.mark.parametrize(
    "written",
    [UNIX.encode(), UNIX.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + UNIX.encode()],
    ids=["unix", "windows line ends", "byte order mark"],
)
def test_line_ends_and_a_byte_order_mark_do_not_change_the_checksum(tmp_path: Path, written: bytes) -> None:
    write(tmp_path, "1_one", written)

    (migration,) = read_migrations(tmp_path)

    assert migration.up_sql.encode() == written.removeprefix(b"\xef\xbb\xbf")
    assert migration.checksum == checksum(UNIX)


@pytest.mark.parametrize(
    "other", [UNIX + " ", UNIX.replace("1", "2"), UNIX.replace("é", "e"), UNIX.upper(), "\n" + UNIX]
)
def test_any_other_change_changes_the_checksum(tmp_path: Path, other: str) -> None:
    write(tmp_path, "1_one", other)

    (migration,) = read_migrations(tmp_path)

    assert migration.checksum != checksum(UNIX)


def test_the_checksum_is_of_the_up_script_alone(tmp_path: Path) -> None:
    write(tmp_path / "a", "1_one", UNIX, down="SELECT 1", verify="SELECT true")
    write(tmp_path / "b", "1_other", UNIX)

    checksums = {migration.checksum for folder in "ab" for migration in read_migrations(tmp_path / folder)}

    assert checksums == {checksum(UNIX)}


# --- what is refused -----------------------------------------------------------------------------------------------


def refusal(folder: Path) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        read_migrations(folder)
    assert caught.value.hint
    assert caught.value.database_state is DatabaseState.UNTOUCHED
    return caught.value


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nowhere")

    assert error.message == f"there is no migrations folder {tmp_path / 'nowhere'}"
    assert "squizzle init" in error.hint


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "migrations").write_text("")

    assert "migrations cannot be read: Not a directory" in refusal(tmp_path / "migrations").message


@pytest.mark.parametrize(
    "name",
    ["create_users", "v1_users", "1", "1_", "_users", "1-users", "users_1", "1 _users", "é1_users", "1'_x", "1%_x"],
)
def test_a_folder_that_is_not_named_like_a_version_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, "1_fine")
    write(tmp_path, name)

    assert f"{tmp_path / name} is not named <version>_<name>" in refusal(tmp_path).message


def test_a_version_without_an_up_script_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1_one", down="SELECT 1")
    (tmp_path / "1_one" / "up.sql").unlink()

    assert "1_one has no up.sql" in refusal(tmp_path).message


@pytest.mark.parametrize("file", ["up", "down", "verify"])
def test_a_script_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path, file: str) -> None:
    write(tmp_path, "1_one", **{file: "SELECT 'größe'".encode("latin-1")})

    assert f"1_one/{file}.sql is not UTF-8 (byte 10 is 0xf6)" in refusal(tmp_path).message


@pytest.mark.parametrize("file", ["up", "down", "verify"])
def test_a_folder_in_place_of_a_script_is_refused(tmp_path: Path, file: str) -> None:
    folder = write(tmp_path, "1_one")
    (folder / f"{file}.sql").unlink(missing_ok=True)
    (folder / f"{file}.sql").mkdir()

    assert f"1_one/{file}.sql cannot be read: Is a directory" in refusal(tmp_path).message


@pytest.mark.parametrize("second", ["1_two", "01_two", "0001_two"])
def test_the_same_version_twice_is_refused(tmp_path: Path, second: str) -> None:
    write(tmp_path, "1_one")
    write(tmp_path, second)

    with pytest.raises(VersionConflictError, match="is there twice") as caught:
        read_migrations(tmp_path)
    assert "1_one" in caught.value.message
    assert second in caught.value.message
    assert caught.value.hint


# --- links ---------------------------------------------------------------------------------------------------------


def link_script(tmp_path: Path, file: str, to: Path) -> Path:
    root = tmp_path / "migrations"
    folder = write(root, "1_one")
    (folder / f"{file}.sql").unlink(missing_ok=True)
    (folder / f"{file}.sql").symlink_to(to)
    return root


@pytest.mark.parametrize("file", ["up", "down", "verify"])
@pytest.mark.parametrize("target", ["../../outside.sql", "{root}/outside.sql", "../../missing.sql"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, file: str, target: str) -> None:
    (tmp_path / "outside.sql").write_text("DROP TABLE users")
    root = link_script(tmp_path, file, Path(target.format(root=tmp_path)))

    assert f"1_one/{file}.sql is a link out of {root}" in refusal(root).message


def test_a_version_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere", "2_two", "DROP TABLE users")
    root = tmp_path / "migrations"
    write(root, "1_one")
    (root / "2_two").symlink_to(elsewhere)

    assert "2_two/up.sql is a link out of" in refusal(root).message


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    root = link_script(tmp_path, "up", Path("../shared.sql"))
    (root / "shared.sql").write_text("SELECT 'shared';\n")

    assert read_migrations(root)[0].up_sql == "SELECT 'shared';\n"


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real", "1_one")
    (tmp_path / "migrations").symlink_to("real")

    assert [migration.version for migration in read_migrations(tmp_path / "migrations")] == ["1"]


def to_itself(folder: Path) -> str:
    (folder / "down.sql").symlink_to("down.sql")
    return "1_one/down.sql"


def to_nothing(folder: Path) -> str:
    (folder / "down.sql").symlink_to("missing.sql")
    return "1_one/down.sql"


@pytest.mark.parametrize("make_link", [to_itself, to_nothing])
def test_a_link_that_leads_nowhere_is_refused_and_not_taken_for_a_missing_script(
    tmp_path: Path, make_link: Callable[[Path], str]
) -> None:
    place = make_link(write(tmp_path, "1_one"))

    assert f"{place} cannot be read" in refusal(tmp_path).message


def test_a_version_that_is_a_link_to_nothing_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "1_one")
    (tmp_path / "2_two").symlink_to("moved_away")

    assert "2_two" in refusal(tmp_path).message
