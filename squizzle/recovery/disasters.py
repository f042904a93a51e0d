"""Breaking things on purpose, for drills."""

from __future__ import annotations

from pathlib import Path

from squizzle.errors import InvalidInputError


def flip_byte(folder: Path) -> str:
    """Flip one bit in the middle of the largest file below a folder; returns the file's relative path.

    Raises:
        InvalidInputError: The folder holds no file with content.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size > 0]
    if not files:
        raise InvalidInputError(f"{folder} holds no file to damage", hint="take a backup first")
    victim = max(files, key=lambda path: path.stat().st_size)
    with victim.open("r+b") as file:
        file.seek(victim.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x01]))
    return victim.relative_to(folder).as_posix()
