"""What `make up` does for an account that is not alone on its machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from sandbox import stack


def test_runs_get_a_folder_of_their_own_where_another_account_has_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert stack._room_for_runs() == {}
    (tmp_path / "runner_storage").mkdir()
    assert stack._room_for_runs() == {}
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert stack.is_somebody_elses(tmp_path / "runner_storage", uid=os.geteuid())
    monkeypatch.undo()
    assert not stack.is_somebody_elses(tmp_path / "runner_storage", uid=os.geteuid())
