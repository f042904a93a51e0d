"""A tar that passes is looked at, whatever pieces it comes in."""

from __future__ import annotations

import io
import tarfile
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.physical.tar_tap import TarTap
from squizzle.errors import ToolError


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FILES = {
    "base/1/1259": bytes(8192),
    "backup_label": b"START WAL LOCATION: 0/2000028\n",
    "base/5/" + "x" * 100: b"with a prefix",
    "empty": b"",
    "backup_manifest": b'{"WAL-Ranges": []}' * 100,
}


@given(cuts=st.lists(st.integers(0, 20_000), max_size=8))
def test_small_files_are_kept_whatever_the_pieces(cuts: list[int]) -> None:
    archive = tar_of(FILES)
    tap = TarTap({"backup_label", "backup_manifest", "missing"})
    bounds = [0, *sorted(min(cut, len(archive)) for cut in cuts), len(archive)]

    for start, end in pairwise(bounds):
        tap.feed(archive[start:end])

    assert {name: bytes(content) for name, content in tap.kept.items()} == {
        name: FILES[name] for name in ("backup_label", "backup_manifest")
    }


def test_a_file_of_more_than_eight_gigabytes_is_passed_over_by_its_real_size() -> None:
    header = bytearray(tar_of({"base/5/16384": b""})[:512])
    header[124:136] = b"\x80" + (9 << 30).to_bytes(11, "big")
    tap = TarTap({"base/5/16384"})

    with pytest.raises(ToolError, match="which cannot be"):
        tap.feed(bytes(header))


def test_what_is_no_tar_is_refused() -> None:
    with pytest.raises(ToolError, match="no tar"):
        TarTap(()).feed(b"pg_basebackup: error: " * 100)
