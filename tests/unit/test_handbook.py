"""The pages that come from the code are what it says today; what pages link to, and tell people to type, is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import pytest

from handbook.command_line import GROUPS
from handbook.deployments import forms
from handbook.pages import PAGES
from squizzle.cli.main import _INTERRUPTED, app
from squizzle.config import load_config
from squizzle.errors import InvalidInputError, SquizzleError
from tests.support.pages import Call, calls_in_code, calls_in_sentences, settings_of

# GitHub's: letters of all languages, digits, hyphens and underscores stay.
_DROPPED = re.compile(r"[^\w\- ]")


ROOT = Path(__file__).parents[2]
# Pages with commands to type.
TYPED = sorted(
    [
        ROOT / "README.md",
        ROOT / "tests" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)

# What a piece of squizzle.toml that is only about some limits of a fleet leaves out.
ELSEWHERE = (
    '\n[fleets.shops.servers.one]\nurl = "postgresql://one.example/postgres"\n[fleets.shops.databases]\nlike = "%"\n'
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_comes_from_the_code_is_up_to_date(page: str, project_root: Path) -> None:
    assert (project_root / page).read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


def test_every_verb_is_told_once() -> None:
    told = [verb for verbs in GROUPS.values() for verb in verbs]
    assert sorted(told) == app.list_commands(click.Context(app))


def test_every_link_between_pages_leads_somewhere(project_root: Path) -> None:
    pages = [project_root / "README.md", project_root / "CHANGELOG.md", *sorted((project_root / "docs").rglob("*.md"))]
    pages += sorted((project_root / "examples").rglob("*.md"))
    anchors = {page: set(_anchors(page.read_text(encoding="utf-8"))) for page in pages}
    dead = []
    for page in pages:
        for target in _links(page.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and file in anchors and anchor not in anchors[file]):
                dead.append(f"{page.relative_to(project_root)}: {target}")
    assert dead == []
    assert sum(map(len, anchors.values())) > len(pages)


def test_every_page_is_in_the_index_of_the_site(project_root: Path) -> None:
    index = (project_root / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    pages = {page.stem for page in (project_root / "docs").glob("*.md")} - {"index"}
    assert pages - set(index) == set()


def test_every_command_on_a_page_is_one_that_there_is() -> None:
    seen, wrong = 0, []
    for page in TYPED:
        text = page.read_text(encoding="utf-8")
        for calls, whole in ((calls_in_code(text), True), (calls_in_sentences(text), False)):
            for call in calls:
                seen += 1
                wrong += [f"{page.name}: {why}" for why in [_refused(call, whole=whole)] if why]
    assert wrong == []
    assert seen > 3 * len(TYPED)


def test_every_setting_on_a_page_is_one_that_there_is(tmp_path: Path) -> None:
    file = tmp_path / "squizzle.toml"
    wrong = []
    for page in TYPED:
        for text in settings_of(page.read_text(encoding="utf-8")):
            file.write_text(text + ELSEWHERE * ("[fleets.shops" in text and "servers" not in text), encoding="utf-8")
            try:
                load_config(file)
            except InvalidInputError as exc:
                wrong.append(f"{page.name}: {exc}")
    assert wrong == []


def test_calls_are_found_wherever_a_page_has_them() -> None:
    page = """\
Say `squizzle fence`, or `make up`; not `squizzle`.

```sh
mkdir shop && cd shop && squizzle init          # and not: squizzle new
squizzle grants operator --role me | psql shop
A_URL=postgresql:///shop squizzle status --json > 2024.json
squizzle plan \\
  0007
```

    archive_command = '/opt/bin/squizzle archive-wal %p %f'
    ExecStart=/opt/bin/squizzle serve

```sql
-- squizzle: batch key=id
```
"""
    assert [str(call) for call in calls_in_code(page)] == [
        "squizzle init",
        "squizzle grants operator --role me",
        "squizzle status --json",
        "squizzle plan 0007",
        "squizzle archive-wal %p %f",
        "squizzle serve",
    ]
    assert [str(call) for call in calls_in_sentences(page)] == ["squizzle fence", "make up"]


@pytest.mark.parametrize(
    "typed",
    [
        "squizzle mend",
        "squizzle apply --everything",
        "squizzle backup half",
        "squizzle changelog forget",
        "squizzle verify-backup",
        "make tea",
        "prefect deployment run drill/dril",
        "prefect deployment run drill/drill -p sceario=all",
    ],
)
def test_what_there_is_not_is_noticed(typed: str) -> None:
    (call,) = calls_in_code(f"```sh\n{typed}\n```\n")
    assert _refused(call, whole=True)


def test_no_page_of_the_site_leads_to_a_page_outside_of_it(project_root: Path) -> None:
    docs = project_root / "docs"
    outside = [
        f"{page.name}: {target}"
        for page in docs.rglob("*.md")
        for target in _links(page.read_text(encoding="utf-8"))
        if ".md" in target and not (page.parent / target.partition("#")[0]).resolve().is_relative_to(docs)
    ]
    assert outside == []


def _links(text: str) -> Iterator[str]:
    """The targets of Markdown's links that are not on the web."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(text)):
        if not re.match(r"[a-z]+:", target):
            yield target


def _anchors(text: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    for title in re.findall(r"^#{1,6} +(.*?) *$", _without_code(text, inline=False), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        anchor = _DROPPED.sub("", words.lower()).replace(" ", "-")
        count = seen[anchor] = seen.get(anchor, -1) + 1
        yield f"{anchor}-{count}" if count else anchor


def _without_code(text: str, *, inline: bool = True) -> str:
    blocks = re.sub(r"^(```|~~~).*?^\1\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "`", blocks) if inline else blocks


def test_every_test_that_a_page_names_is_there() -> None:
    files = {str(one.relative_to(ROOT)): one.read_text(encoding="utf-8") for one in (ROOT / "tests").rglob("test_*.py")}
    missing = []
    for page in TYPED:
        for path, name in re.findall(r"`([\w/]*\btest_\w+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8")):
            texts = [text for file, text in files.items() if f"/{file}".endswith(f"/{path}")]
            if not texts or (name and not any(f"def {name}(" in text for text in texts)):
                missing.append(f"{page.name}: {path} {name}")
    assert missing == []


def test_the_pages_about_the_history_and_exit_codes_know_all_of_them() -> None:
    columns = re.findall(
        r"^\s+(?:ADD COLUMN IF NOT EXISTS )?(\w+) (?:text|timestamptz|boolean|bigint|integer|jsonb)\b",
        (ROOT / "squizzle" / "migrations" / "history_table.sql").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(columns) > 20
    assert set(columns) <= set(_first_cells("history.md"))
    codes = {str(kind.code) for kind in _all_kinds(SquizzleError)} | {"0", str(_INTERRUPTED)}
    assert codes == set(_first_cells("exit-codes.md")) & {str(number) for number in range(256)}


def test_the_page_about_manifest_and_certificate_has_every_key() -> None:
    told = set(_first_cells("manifest.md"))
    kept = ROOT / "tests" / "data" / "formats"
    manifest = json.loads((kept / "manifest.2.json").read_text(encoding="utf-8"))["manifest"]
    certificate = json.loads((kept / "certificate.1.json").read_text(encoding="utf-8"))
    keys = {*manifest, *certificate, *certificate["rollback"], *certificate["statements"][0]}
    assert keys - told == set()
    # And nothing but these: what the files above have is looked at by the tests of formats.
    assert told - keys - {"key", ""} <= {"---"}


def test_every_page_that_a_message_names_is_there() -> None:
    named = {
        (file.name, page)
        for room in ("squizzle", "blocks", "tasks", "flows", "sandbox", "bench")
        for file in (ROOT / room).rglob("*.py")
        for page in re.findall(r"\bdocs/([\w-]+\.md)", file.read_text(encoding="utf-8"))
    }
    assert {(file, page) for file, page in named if not (ROOT / "docs" / page).exists()} == set()
    assert len(named) > 20


def _first_cells(page: str) -> list[str]:
    """The words in the first column of the page's tables, without backticks."""
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
    return [word.strip("` ") for row in rows for word in row.split(",")]


def _all_kinds(kind: type[SquizzleError]) -> Iterator[type[SquizzleError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _all_kinds(one)


def _refused(call: Call, *, whole: bool) -> str | None:
    """Why a call would not be understood; `whole` when nothing may be missing in it."""
    match call.program:
        case "squizzle":
            wrong = _wrong_with_verb(call.arguments, whole=whole)
        case "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            wrong = None if call.arguments[0] in targets else "no such target"
        case _:
            wrong = _wrong_with_deployment(call.arguments)
    return wrong and f"{call}: {wrong}"


def _wrong_with_verb(arguments: tuple[str, ...], *, whole: bool) -> str | None:
    command: click.Command = app
    words = list(arguments)
    if "[OPTIONS]" in words:  # a page that comes from the code says how it is called in general
        return None
    try:
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            # Groups that do without a word of their own list.
            word = words.pop(0) if words[0] in _known(command) else "list"
            found = command.get_command(click.Context(command), word)
            if found is None:
                return f"no such verb, or none of its own, as {words[0]}"
            command = found
        if whole:
            command.make_context("squizzle", words)
        else:
            command.make_parser(click.Context(command)).parse_args(args=words)
    except click.exceptions.Exit:
        return None
    except click.BadOptionUsage as exc:
        return exc.format_message() if whole else None  # in a sentence `--trust` may do without its value
    except click.ClickException as exc:
        return exc.format_message()
    return None


def _wrong_with_deployment(arguments: tuple[str, ...]) -> str | None:
    if arguments[:2] != ("deployment", "run"):
        return None
    parameters = _forms().get(arguments[2])
    if parameters is None:
        return "no such deployment"
    given = {value.partition("=")[0] for option, value in pairwise(arguments) if option == "-p"}
    return f"no parameter {given - parameters}" if given - parameters else None


@cache
def _forms() -> dict[str, frozenset[str]]:
    return forms()


@cache
def _known(group: click.Group) -> frozenset[str]:
    return frozenset(group.list_commands(click.Context(group)))
