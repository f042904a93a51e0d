"""Pages that PostgreSQL accepts and that have lost their rows: of zeros, or behind the end of a file that was cut.

Neither has a wrong checksum, and no query fails. A sound unique index tells them from pages that never held anything:
it is asked in the copy, with hollow pages in their place, which are taken away again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from squizzle.recovery.corruption.copying import DamagedCopy
from squizzle.recovery.corruption.lost_keys import hollow_out, missing_keys, write_pages
from squizzle.recovery.corruption.pages import PAGE_BYTES, SEGMENT_PAGES
from squizzle.recovery.corruption.reading import Shape, read_shape
from squizzle.recovery.corruption.records import DamagedPage, Role
from squizzle.recovery.corruption.scanning import EmptyPage, fork_of, main_file
from squizzle.recovery.corruption.structure import Relation, is_sound_index

_MOST_MISSING = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """A table with pages that may have held rows.

    Attributes:
        relation: Which.
        empty: Its pages of zeros.
        inside: Whether some of them lie between others.
        cut: Pages that its file once had and has no more.
    """

    relation: Relation
    empty: tuple[DamagedPage, ...]
    inside: bool
    cut: tuple[DamagedPage, ...]

    @property
    def pages(self) -> tuple[DamagedPage, ...]:
        """All of them, in their order."""
        return (*self.empty, *self.cut)


def suspects_among(relations: Iterable[Relation], empty: Iterable[EmptyPage]) -> tuple[Suspect, ...]:
    """The tables that have pages of zeros, or fewer pages than they had. Decides only."""
    found: dict[str, list[EmptyPage]] = {}
    for one in empty:
        if not fork_of(one.page.file):
            found.setdefault(main_file(one.page.file), []).append(one)
    suspects = []
    for relation in relations:
        if relation.role is not Role.TABLE or relation.persistence != "p":
            continue
        mine = found.get(relation.file, [])
        cut = _cut_pages(relation)
        if mine or cut:
            suspects.append(
                Suspect(
                    relation=relation,
                    empty=tuple(one.page for one in mine),
                    inside=any(one.inside for one in mine),
                    cut=cut,
                )
            )
    return tuple(suspects)


def _cut_pages(relation: Relation) -> tuple[DamagedPage, ...]:
    # VACUUM notes the new size when it cuts a file itself.
    blocks = range(relation.pages, min(relation.pages_once, relation.pages + _MOST_MISSING))
    return tuple(
        DamagedPage(
            file=relation.file if block < SEGMENT_PAGES else f"{relation.file}.{block // SEGMENT_PAGES}",
            block=block,
            offset=block % SEGMENT_PAGES * PAGE_BYTES,
            why=f"the file ends before it: of {relation.pages_once:,} pages there are {relation.pages:,}",
            sha256="",
            kept_as="",
        )
        for block in blocks
    )


def vanished_pages(
    copy: DamagedCopy,
    database: str,
    suspects: Sequence[Suspect],
    *,
    relations: Iterable[Relation],
    broken: Collection[str],
    checksums: bool,
) -> tuple[tuple[DamagedPage, ...], tuple[str, ...]]:
    """Ask the indexes which of the suspects lost rows. The copy is as before afterwards.

    Args:
        copy: A running copy.
        database: Whose tables.
        suspects: Which.
        relations: All of the database.
        broken: Names of relations with damaged pages. A table among them is not asked: its pages count as damaged.
        checksums: Whether the cluster has checksums.

    Returns:
        The pages that lost rows; what could not be told.
    """
    guilty = [page for one in suspects if one.relation.name in broken for page in one.pages]
    asked = [one for one in suspects if one.relation.name not in broken]
    if not asked:
        return tuple(guilty), ()
    doubts = []
    shapes = _shapes(copy, database, asked, {one.oid: one.name for one in relations}, broken)
    hollow_out(copy, [page for one in asked for page in one.pages], checksums=checksums)
    for one, shape in zip(asked, shapes, strict=True):
        missing = missing_keys(copy, database, shape, {page.block for page in one.pages})
        if missing.keys:
            guilty += one.pages
        elif missing.keys is None and (one.inside or one.cut):
            what = f"{len(one.cut)} missing" if one.cut else f"{len(one.empty)} empty"
            doubts.append(f"whether {what} pages of {one.relation.name} held rows: {missing.why_not}")
    _take_away(copy, asked)
    return tuple(guilty), tuple(doubts)


def _shapes(
    copy: DamagedCopy, database: str, asked: Iterable[Suspect], names: dict[int, str], broken: Collection[str]
) -> list[Shape]:
    with copy.connect(database) as connection:

        def is_sound(oid: int) -> bool:
            return names.get(oid) not in broken and is_sound_index(connection, oid)

        return [read_shape(connection, one.relation, is_sound) for one in asked]


def _take_away(copy: DamagedCopy, asked: Iterable[Suspect]) -> None:
    """Zeros where there were zeros, and the files as short as they were."""
    copy.stop()
    for one in asked:
        for page in one.cut:
            path = copy.pages_file(page.file)
            if path.stat().st_size > page.offset:
                with path.open("r+b") as file:
                    file.truncate(page.offset)
    write_pages(copy, {page: bytes(PAGE_BYTES) for one in asked for page in one.empty})
