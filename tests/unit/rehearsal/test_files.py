"""The hashes of a migration's scripts: another one whenever something else would run, and not otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from squizzle.migrations.layouts import read_migrations
from squizzle.rehearsal.records import MigrationFiles
from squizzle.rehearsal.situation import files_of


def files(folder: Path, layout: str) -> MigrationFiles:
    (migration,) = read_migrations(folder, layout)
    return files_of(migration)


def test_each_script_has_its_own_hash_and_line_ends_do_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "0001_a"
    folder.mkdir()
    (folder / "up.sql").write_bytes(b"SELECT 1;\nSELECT 2;\n")
    before = files(tmp_path, "native")
    assert (bool(before.up), before.down, before.verify) == (True, "", "")

    (folder / "up.sql").write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    (folder / "down.sql").write_bytes(b"SELECT 1;\nSELECT 2;\n")
    (folder / "verify.sql").write_bytes(b"SELECT true")
    after = files(tmp_path, "native")

    assert after.up == before.up == after.down
    assert after.verify not in {"", after.up}


def test_what_a_file_declares_of_its_transaction_is_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "00001_a.sql"
    script = "-- +goose Up\nCREATE TABLE t (a int);\n-- +goose Down\nDROP TABLE t;\n"
    file.write_text(script)
    inside = files(tmp_path, "goose")
    file.write_text(f"-- +goose NO TRANSACTION\n{script}")
    outside = files(tmp_path, "goose")

    assert inside.up != outside.up
    assert inside.down != outside.down


def test_what_is_put_in_for_placeholders_is_part_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "V1__a.sql").write_text("CREATE TABLE ${name} (a int);\n")

    found = [
        files_of(read_migrations(tmp_path, "flyway", placeholders={"name": name})[0]).up for name in ("t", "t", "u")
    ]

    assert found[0] == found[1] != found[2]


def test_a_program_is_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "0001_a"
    folder.mkdir()
    (folder / "up.sql").write_text("SELECT 1")
    (migration,) = read_migrations(tmp_path, "native")
    program = replace(migration, program=object(), up_sql="", checksum="c" * 64)  # type: ignore[arg-type]

    assert files_of(program) == MigrationFiles(up="c" * 64, down="", verify="")
