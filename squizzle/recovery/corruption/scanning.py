"""Finding the damaged pages of a stopped copy, and keeping their bytes as evidence."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from squizzle.errors import CouldNotVerifyError, EmbeddedServerError, ToolError
from squizzle.headway import Unit, stretch
from squizzle.postgres.embedded import Runtime
from squizzle.recovery.cluster_files import PATIENCE
from squizzle.recovery.corruption.pages import PAGE_BYTES, SEGMENT_PAGES, checksum_words, flaw_of
from squizzle.recovery.corruption.records import DamagedPage

PAGES_FOLDER = "pages"

_RELATION_FILE = re.compile(r"(?P<node>\d+)(?P<fork>_(?:fsm|vm|init))?(?:\.(?P<segment>\d+))?")
_CHECKSUM_LINE = re.compile(
    r'checksum verification failed in file "(?P<file>.+)", block (?P<block>\d+): calculated checksum'
)
_NO_CHECKSUMS = "checksums: the cluster has none, so damage inside a page is seen only where it breaks something"
_CHUNK_PAGES = 1024
_ZEROS = bytes(PAGE_BYTES)
_SHA256_OF_ZEROS = hashlib.sha256(_ZEROS).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class EmptyPage:
    """A page that holds nothing but zeros.

    Attributes:
        page: Which.
        inside: Whether the same file goes on with a page that is not empty.
    """

    page: DamagedPage
    inside: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What the files of a copy say.

    Attributes:
        pages: The damaged ones, in the order of files.
        empty: Pages of zeros, which PostgreSQL accepts: tables grow by them, and a disk may give them for rows.
        pages_read: How many there are in all.
        checksums: Whether the cluster has page checksums.
        doubt: What could not be found out; empty when everything was.
    """

    pages: tuple[DamagedPage, ...]
    empty: tuple[EmptyPage, ...]
    pages_read: int
    checksums: bool
    doubt: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationFile:
    """One file of a relation.

    Attributes:
        path: Where it is.
        name: Within the data folder.
        first: The number of its first page within the relation.
    """

    path: Path
    name: str
    first: int


def scan_copy(runtime: Runtime, data: Path, evidence: Path) -> Scan:
    """Look at every page of every relation, and write the damaged ones into the evidence folder.

    Checksums are checked by pg_checksums, and here where it does not come to its end (40 s a GB). Headers are looked at
    here, too: pg_checksums passes over a page whose header says that it was never used.

    Args:
        runtime: Its programs.
        data: The folder of a server that was stopped cleanly.
        evidence: A folder of ours.

    Raises:
        CouldNotVerifyError: Its pages have another size than everybody's.
        ToolError: The evidence cannot be written.
    """
    size, has_checksums = _page_facts(runtime, data)
    if size != PAGE_BYTES:
        raise CouldNotVerifyError(
            f"the cluster has pages of {size} bytes, and only those of {PAGE_BYTES} can be examined",
            hint="run pg_amcheck and pg_checksums of that server by hand, on a copy",
        )
    with stretch("checking the checksums of every page"):
        failed = _failed_checksums(runtime, data) if has_checksums else frozenset()
    found: list[DamagedPage] = []
    empty: list[EmptyPage] = []
    read = 0
    files = tuple(relation_files(data))
    pages = sum(file.path.stat().st_size for file in files) // PAGE_BYTES
    with stretch("looking at every page", unit=Unit.PAGES, total=pages) as headway:
        for file in files:
            blank: list[int] = []
            last = file.first
            for block, page in _pages(file):
                read += 1
                if page == _ZEROS:
                    blank.append(block)
                    continue
                last = block
                flaw = flaw_of(page)
                if failed is None or (file.name, block - file.first) in failed:
                    flaw = flaw or checksum_words(page, block)
                if flaw:
                    found.append(_keep(evidence, file, block, page, flaw))
            empty += [EmptyPage(page=_empty_page(file, block), inside=block < last) for block in blank]
            headway.at(read)
    return Scan(
        pages=tuple(found),
        empty=tuple(empty),
        pages_read=read,
        checksums=has_checksums,
        doubt="" if has_checksums else _NO_CHECKSUMS,
    )


def relation_files(data: Path) -> Iterator[RelationFile]:
    """Every file that consists of pages, tablespaces included, in the order of their names."""
    for path in sorted(path for top in ("base", "global", "pg_tblspc") for path in (data / top).rglob("*")):
        match = _RELATION_FILE.fullmatch(path.name)
        if match and path.is_file():
            first = int(match["segment"] or 0) * SEGMENT_PAGES
            yield RelationFile(path=path, name=str(path.relative_to(data)), first=first)


def fork_of(file: str) -> str:
    """Which part of its relation a file is: empty for the rows themselves, else `fsm`, `vm` or `init`."""
    match = _RELATION_FILE.fullmatch(Path(file).name)
    return (match["fork"] or "").lstrip("_") if match else ""


def main_file(file: str) -> str:
    """The file of a relation that the server names it by: without fork and segment."""
    path = Path(file)
    match = _RELATION_FILE.fullmatch(path.name)
    return str(path.with_name(match["node"])) if match else file


def _pages(file: RelationFile) -> Iterator[tuple[int, bytes]]:
    block = file.first
    with file.path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_PAGES * PAGE_BYTES):
            for at in range(0, len(chunk), PAGE_BYTES):
                yield block, chunk[at : at + PAGE_BYTES]
                block += 1


def _failed_checksums(runtime: Runtime, data: Path) -> frozenset[tuple[str, int]] | None:
    """The pages that pg_checksums names; None where it did not come to its end, as with a server that crashed."""
    with tempfile.TemporaryFile() as output:
        process = runtime.popen(
            [runtime.bin_folder / "pg_checksums", "--check", data], stdin=subprocess.DEVNULL, output=output
        )
        with process:
            try:
                process.wait(PATIENCE.total_seconds())
            except BaseException:
                process.kill()
                raise
        output.seek(0)
        text = output.read().decode(errors="replace")
    if "Checksum operation completed" not in text:
        return None
    return frozenset(
        (str(Path(match["file"]).relative_to(data)), int(match["block"])) for match in _CHECKSUM_LINE.finditer(text)
    )


def _keep(evidence: Path, file: RelationFile, block: int, page: bytes, why: str) -> DamagedPage:
    kept = Path(PAGES_FOLDER) / f"{file.name.replace('/', '_')}-block-{block}.page"
    write_file(evidence / kept, page)
    return DamagedPage(
        file=file.name,
        block=block,
        offset=(block - file.first) * PAGE_BYTES,
        why=why,
        sha256=hashlib.sha256(page).hexdigest(),
        kept_as=str(kept),
    )


def _empty_page(file: RelationFile, block: int) -> DamagedPage:
    return DamagedPage(
        file=file.name,
        block=block,
        offset=(block - file.first) * PAGE_BYTES,
        why="it holds nothing but zeros, and indexes know rows of it",
        sha256=_SHA256_OF_ZEROS,
        kept_as="",
    )


def write_file(path: Path, content: bytes) -> None:
    """Write one file of evidence.

    Raises:
        ToolError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as exc:
        raise ToolError(
            f"evidence could not be written to {path}: {exc.strerror}", hint="name an evidence folder with room"
        ) from exc


def _page_facts(runtime: Runtime, data: Path) -> tuple[int, bool]:
    """How long a page is, and whether it has a checksum."""
    try:
        text = runtime.run([runtime.bin_folder / "pg_controldata", data])
    except EmbeddedServerError as exc:
        raise CouldNotVerifyError(
            f"what the cluster is cannot be read: {exc.message}",
            hint="check that it is a whole data folder (PG_VERSION, global/pg_control)",
        ) from exc
    size = re.search(r"^Database block size:\s+(\d+)", text, re.MULTILINE)
    version = re.search(r"^Data page checksum version:\s+(\d+)", text, re.MULTILINE)
    return int(size[1]) if size else 0, bool(version and int(version[1]))
