"""Looking into a tar while it passes: small files are kept, nothing is held up."""

from __future__ import annotations

from collections.abc import Collection

from squizzle.errors import ToolError

_BLOCK = 512
_NAME = slice(0, 100)
_SIZE = slice(124, 136)
_PREFIX = slice(345, 500)
# backup_manifest has a line a file: a cluster of a million files has 200 MB of it.
_MOST_BYTES = 512 * 1024 * 1024


class TarTap:
    """Reads the headers of a tar as pg_basebackup writes it (ustar, no long names), and keeps the files asked for.

    Args:
        wanted: Names of files in the tar.
    """

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self.kept: dict[str, bytearray] = {}
        self.tablespaces = 0
        self._header = bytearray()
        self._left = 0  # of the file that passes
        self._padding = 0
        self._keeping: bytearray | None = None

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes.

        Raises:
            ToolError: They are no tar.
        """
        view = memoryview(chunk)
        while view:
            if self._left:
                part = view[: self._left]
                if self._keeping is not None:
                    self._keeping += part
                self._left -= len(part)
                view = view[len(part) :]
            elif self._padding:
                skipped = min(self._padding, len(view))
                self._padding -= skipped
                view = view[skipped:]
            else:
                part = view[: _BLOCK - len(self._header)]
                self._header += part
                view = view[len(part) :]
                if len(self._header) == _BLOCK:
                    self._begin(bytes(self._header))
                    self._header.clear()

    def _begin(self, header: bytes) -> None:
        self._keeping = None
        if not any(header):  # the end has two empty blocks
            return
        name = header[_NAME].split(b"\0")[0].decode(errors="replace")
        prefix = header[_PREFIX].split(b"\0")[0].decode(errors="replace")
        path = f"{prefix}/{name}" if prefix else name
        size = self._size(header[_SIZE])
        self._left = size
        self._padding = -size % _BLOCK
        if path.startswith("pg_tblspc/") and path.rstrip("/") != "pg_tblspc":
            self.tablespaces += 1
        if path in self._wanted:
            if size > _MOST_BYTES:
                raise ToolError(
                    f"{path} in the copy of the cluster has {size:,} bytes, which cannot be",
                    hint="look at that file on the server, then take the copy again",
                )
            self._keeping = self.kept.setdefault(path, bytearray())

    @staticmethod
    def _size(field: bytes) -> int:
        if field[0] & 0x80:  # base 256, for files of 8 GB and more
            return int.from_bytes(field[1:], "big")
        try:
            return int(field.rstrip(b" \0") or b"0", 8)
        except ValueError:
            raise ToolError(
                "pg_basebackup wrote something that is no tar", hint="look at its messages; nothing was published"
            ) from None
