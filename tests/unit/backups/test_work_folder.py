"""Local copies of backups are private, and none outlives its run for long."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from squizzle.backups.work_folder import sweep_work_folders, work_folder

WRITER = """
import sys, time
from squizzle.backups.work_folder import work_folder
with work_folder() as folder:
    (folder / "rows.dat").write_text("rows")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_killed_runs_folder_is_removed_and_a_living_ones_stays(place: Path) -> None:
    (place / "squizzle-work-of-nobody").symlink_to("/etc")
    (place / "others").mkdir()
    with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        folder = Path(writer.stdout.readline().strip())
        with work_folder() as ours:
            try:
                assert ours.stat().st_mode & 0o777 == 0o700
                assert sweep_work_folders() == ()
            finally:
                writer.kill()
                writer.wait()
            assert sweep_work_folders() == (folder.name,)
            assert ours.exists()

    assert {path.name for path in place.iterdir()} == {"squizzle-work-of-nobody", "others"}
