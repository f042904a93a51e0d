"""What is damaged, what was saved and what is lost, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.numbers import number_of
from squizzle.postgres.decisions import Question
from squizzle.recovery.corruption.advice import NEVER
from squizzle.recovery.corruption.examine import LOST_FILE, SUMS_FILE, VALUES_FILE
from squizzle.recovery.corruption.loading import BESIDE
from squizzle.recovery.corruption.records import DamagedRelation, Examination, Loaded, SavedTable

_MOST_PAGES = 30
_MOST_KEYS = 20
_HEX_SHOWN = 12


def corruption_summary(found: Examination, loaded: Loaded | None = None) -> str:
    """The outcome in one line."""
    if loaded is not None:
        rows = sum(one.found for one in loaded.tables)
        return f"{loaded.database}: {rows:,} rows of {len(loaded.tables)} damaged tables, and the rest"
    if found.is_sound:
        return "nothing is damaged" if not found.doubts else "nothing damaged was found, and not all could be verified"
    pages = sum(len(one.pages) for one in found.relations)
    lost = f", {found.rows_lost:,} rows are known to be lost" if found.saved else ""
    return f"{number_of(pages, 'damaged page')} in {number_of(len(found.relations), 'relation')}{lost}"


def corruption_markdown(found: Examination, loaded: Loaded | None = None) -> str:
    """The whole report."""
    parts = [
        f"# Corruption of {found.database}: {corruption_summary(found)}",
        _facts(found),
        "## What could not be verified" if found.doubts else "",
        _list(found.doubts),
        "## What is damaged",
        "Nothing that was found." if found.is_sound else _list([_relation(one) for one in found.relations]),
        _pages(found.relations),
    ]
    if found.mended:
        parts += ["Mended in the copy, to read more:", _list(found.mended)]
    if found.saved:
        parts += ["## What was saved, and what is lost", *(_saved(one) for one in found.saved)]
    if loaded is not None:
        parts += [f"## The new database `{loaded.database}`", _loaded(loaded)]
    parts += ["## What to do next", _next(found, loaded)]
    if not found.is_sound:
        parts += [
            "## What never to do to the original",
            _list([f"{what}: {why}" for what, why in NEVER]),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def corruption_question(found: Examination, server: str, into: str) -> Question:
    """What somebody has to approve before a database is made of what was saved."""
    tables = [f"{one.table}: {_counts(one)}" for one in found.saved]
    what = (
        f"Make the database `{into}` on {server}: everything that is sound, and of the damaged tables what could be"
        " read. The damaged cluster is not written to, unless it is that very server."
    )
    beside = (
        f"Doubtful rows, lost keys and lost values go to its schema `{BESIDE}`; foreign keys to rows that are lost are"
        " made NOT VALID."
    )
    # Which pages, and not how many rows: others may write while it is decided.
    damage = [
        f"{one.name} {one.role} {','.join(str(page.block) for page in one.pages)} {len(one.findings)}"
        for one in found.relations
    ]
    return Question(
        gate="examine-corruption",
        title=f"Make a database of what can be read of the damaged {found.database}",
        plan="\n\n".join([what, _list(tables), beside]),
        facts=[found.database, server, *damage],
    )


def _facts(found: Examination) -> str:
    lines = [
        f"examined on {found.at:%Y-%m-%d %H:%M} UTC, on a copy of {found.source}; the original was only read",
        f"{found.pages_read:,} pages, {'with' if found.checksums else 'WITHOUT'} checksums",
    ]
    if found.failures is not None:
        lines.append(f"the server itself had met {found.failures:,} pages with a wrong checksum")
    lines.append(f"evidence in `{found.folder}`; `sha256sum --check {SUMS_FILE}` there says that it is unchanged")
    if found.backup_id:
        lines.append(f"asked for what was not saved: backup `{found.backup_id}`")
    if found.copy_kept:
        lines.append(f"the copy of the cluster as it came, before a server ran on it: `{found.copy_kept}` in there")
    else:
        lines.append("the copy was not kept: until there is another, the original is the only one")
    return _list(lines)


def _relation(one: DamagedRelation) -> str:
    whose = f" of `{one.table}`" if one.table not in {"", one.name} else ""
    counts = [f"{number_of(len(one.pages), 'page')}"] if one.pages else []
    said = [f"{_code(finding.message)}" for finding in one.findings[:3]]
    counts += [f"amcheck says {len(one.findings)} times: {'; '.join(said)}"] if said else []
    return f"`{one.name}` ({one.role}{whose}): {', '.join(counts)}. {one.advice[:1].upper()}{one.advice[1:]}."


def _pages(relations: Sequence[DamagedRelation]) -> str:
    rows = [
        f"| `{one.name}` | {page.block} | `{page.file}` | {page.offset:,} | {page.why} |"
        f" `{page.sha256[:_HEX_SHOWN]}…` |"
        for one in relations
        for page in one.pages
    ]
    if not rows:
        return ""
    more = f"\n\n… and {len(rows) - _MOST_PAGES} more, all in the folder." if len(rows) > _MOST_PAGES else ""
    head = ["| relation | block | file | at byte | what is wrong | SHA-256 |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows[:_MOST_PAGES]]) + more


def _counts(one: SavedTable) -> str:
    doubtful = f", {one.doubtful:,} doubtful" if one.doubtful else ""
    values = f", {number_of(len(one.lost_values), 'value')} lost" if one.lost_values else ""
    lost = "how many are lost is NOT known" if one.lost is None else f"{number_of(len(one.lost), 'row')} lost"
    return f"{one.rows:,} rows saved{doubtful}, {lost}{values}"


def _saved(one: SavedTable) -> str:
    lines = [f"{one.rows:,} rows from sound pages are saved (`{one.rows_file}`)"]
    if one.doubtful:
        lines.append(
            f"{one.doubtful:,} rows from damaged pages could be read, and are **doubtful**: any byte of them may be"
            f" wrong (`{one.doubtful_file}`)"
        )
    if one.unreadable_pages:
        blocks = ", ".join(map(str, one.unreadable_pages[:_MOST_KEYS]))
        lines.append(f"{len(one.unreadable_pages)} pages gave no row at all: {blocks}")
    if one.unreadable_rows:
        shown = "; ".join(map(_code, one.unreadable_rows[:3]))
        lines.append(f"{len(one.unreadable_rows):,} rows of sound pages cannot be read: {shown}")
    if one.lost_values:
        columns = sorted({value.column for value in one.lost_values})
        rows = ", ".join(sorted({value.row for value in one.lost_values})[:_MOST_KEYS])
        lines.append(
            f"{len(one.lost_values):,} values of {', '.join(columns)} are lost, their rows were kept without them"
            f" (`{VALUES_FILE}`): {_code(rows)}"
        )
    if one.lost is None:
        lines.append(f"**which rows are lost could not be verified**: {one.lost_unknown}")
    else:
        keys = ", ".join(one.lost[:_MOST_KEYS])
        more = f" and {len(one.lost) - _MOST_KEYS:,} more" if len(one.lost) > _MOST_KEYS else ""
        which = f" (`{LOST_FILE}`; some may have been deleted before): {_code(keys)}{more}" if one.lost else ""
        lines.append(f"{len(one.lost):,} rows are **lost**, by {', '.join(one.key)}{which}")
    if one.in_backup is not None:
        lines.append(
            f"{one.in_backup:,} rows that were not saved are in the backup, as they were then (`{one.backup_file}`)"
        )
    return f"### {one.table}\n\n{_list(lines)}"


def _loaded(loaded: Loaded) -> str:
    lines = []
    for one in loaded.tables:
        missing = "" if one.found == one.expected else " **MISSING**"
        beside = f', {one.doubtful:,} doubtful ones in `{BESIDE}."{one.table}"`' if one.doubtful else ""
        lines.append(f"`{one.table}`: {one.found:,} of {one.expected:,} saved rows{missing}{beside}")
    return _list([*lines, *loaded.problems, f"lost keys and values: `{BESIDE}.lost_key`, `{BESIDE}.lost_value`"])


def _next(found: Examination, loaded: Loaded | None) -> str:
    if found.is_sound:
        return (
            "Nothing." if not found.doubts else "Have verified what could not be; until then nothing is proven sound."
        )
    steps = ["keep every backup and its log: pause what removes old ones", "look at the disk: it may damage more"]
    if found.catalogue_is_damaged:
        steps.append("restore the whole cluster from a backup; a standby that is sound is the fastest")
    elif found.saved and loaded is None:
        steps.append("run the same without *Dry run* (command: with `--into`) to make a database of what was saved")
    elif loaded is not None:
        steps.append("take what is lost from a backup (`--store` writes down what the newest one has)")
        steps.append(
            f"when `{loaded.database}` is accepted: `squizzle fence`, then"
            f" `squizzle switch-over {found.database} --to {loaded.database}` where both are on one server"
        )
    return _list([*steps, "then take a new full backup"])


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {one}" for one in lines)


def _code(text: str) -> str:
    return text.replace("`", "'").replace("|", "\\|").replace("\n", " ")
