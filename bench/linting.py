"""How long a look at a whole history takes, and what is found: Squizzle's lint beside squawk.

Both are given the same files. What is found is told from the examples of our own rules, a bad one and a good one each.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import histories, peers
from bench.report import Finding, Picture, Table
from bench.turns import Taken, take_turns
from squizzle.analysis.findings import Severity
from squizzle.analysis.lint import Script, lint_scripts
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.analysis.rules.rule import Rule
from squizzle.postgres.access import ServerAccess

ALL, ONE, LIBRARY = "squizzle lint, all files", "squizzle lint, one file", "squizzle as a library, all files"
SQUAWK_ALL, SQUAWK_ONE = "squawk, all files", "squawk, one file"
SCHEMA = Path(__file__).parent.parent / "tests" / "support" / "rule_schema.sql"
# About how a script is run, which each engine has its own answer to; docs/rules-of-other-tools.md says ours.
NOT_ASKED = ("prefer-robust-stmts", "require-lock-timeout", "require-statement-timeout", "require-timeout-settings")
_KINDS = {
    "L": "locks and rewrites",
    "D": "data that is lost",
    "C": "clients that run the old code",
    "T": "types and names",
    "X": "transactions",
    "S": "rights, settings, the server",
    "U": "what cannot be judged",
}


def measure(_access: ServerAccess, *, rounds: int, statements: int) -> Finding:
    """Look at the same history with each in turn, then at the examples of our rules once."""
    squawk, eugene = peers.find_squawk(), peers.find_on_path("eugene", "eugene")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        files = write_history(Path(name), statements)
        taken = take_turns(_contenders(squawk, Path(name), files), rounds)
        looks = () if squawk.missing else tuple(look_at_examples(squawk, Path(name), built_in_rules()))
    return Finding(
        title=f"Lint of {statements:,} statements",
        method=f"A generated history of {len(files):,} files, up scripts alone; whole processes but for the library,"
        f" medians of {rounds} interleaved rounds; squawk as it comes. One file: what one waits for in an editor or"
        " before a commit.",
        headings=("contender", "median s", "min s", "max s", "statements/s"),
        rows=tuple(_rows(taken, statements)),
        missing=tuple(peer.sentence() for peer in (squawk, eugene) if peer.missing),
        figures=(
            taken[ALL].figure(ALL, "s", peer=taken.get(SQUAWK_ALL), peer_name="squawk", why=_WHY),
            taken[ONE].figure(ONE, "s", peer=taken.get(SQUAWK_ONE), peer_name="squawk", why=_WHY_ONE),
            taken[LIBRARY].figure(LIBRARY, "s"),
        ),
        picture=Picture(
            title=f"Lint of {statements:,} statements",
            unit="s",
            bars=tuple(one.bar(name, is_ours="squizzle" in name) for name, one in taken.items()),
            is_logarithmic=True,
        ),
        shows_not="which of the findings are worth having. The examples are our own, so that all of ours are found"
        " there says nothing; they show what a reader of squawk's output would not be told. `squizzle lint` also asks"
        " squawk where `[lint] squawk = true`.",
        more=_tables(looks) if looks else (),
    )


_WHY = (
    "squawk is one program in Rust; ours, in Python, parses with PostgreSQL's own grammar, tells each statement's"
    " locks, and follows what earlier scripts made"
)
_WHY_ONE = "Python, the grammar and the rules are loaded first"


def write_history(folder: Path, statements: int) -> list[Path]:
    """So many statements of a generated history, a file for each migration."""
    place = folder / "history"
    place.mkdir()
    files, left = [], statements
    for step in histories.make_history(statements):
        up = step.up[:left]
        file = place / f"{step.number:05}_{step.name}.sql"
        file.write_text("".join(f"{one};\n" for one in up), encoding="utf-8")
        files.append(file)
        left -= len(up)
        if left == 0:
            break
    return files


def _contenders(squawk: peers.Peer, folder: Path, files: Sequence[Path]) -> Mapping[str, Callable[[], float]]:
    ours = peers.find_squizzle().command
    found = {
        ALL: lambda: _seconds([*ours, "lint", str(folder / "history")], folder),
        LIBRARY: lambda: _library(files),
        ONE: lambda: _seconds([*ours, "lint", str(files[-1])], folder),
    }
    if not squawk.missing:
        found[SQUAWK_ALL] = lambda: _seconds([*squawk.command, *map(str, files)], folder)
        found[SQUAWK_ONE] = lambda: _seconds([*squawk.command, str(files[-1])], folder)
    return found


def _seconds(command: Sequence[str], folder: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - began
    # 1 says that something was found.
    if done.returncode not in {0, 1} or not (done.stdout or done.stderr):
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    return taken


def _library(files: Sequence[Path]) -> float:
    scripts = [Script(text=file.read_text(encoding="utf-8"), source=file.name) for file in files]
    began = time.perf_counter()
    lint_scripts(scripts, today=datetime.now(UTC).date())
    return time.perf_counter() - began


def _rows(taken: Mapping[str, Taken], statements: int) -> Iterator[tuple[str, ...]]:
    for name, one in taken.items():
        yield (name, *one.cells(".3f"), "" if "one file" in name else f"{statements / one.median:,.0f}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What both say of one rule's examples.

    Attributes:
        rule: Ours.
        ours_of_bad: Whether we find it.
        ours_of_good: Whether we say anything about the good one that is no note.
        theirs_of_bad: squawk's rules that fire on the bad one.
        theirs_of_good: Those that fire on the good one.
    """

    rule: Rule
    ours_of_bad: bool
    ours_of_good: bool
    theirs_of_bad: tuple[str, ...]
    theirs_of_good: tuple[str, ...]


def look_at_examples(squawk: peers.Peer, folder: Path, rules: Sequence[Rule]) -> Iterator[Look]:
    """Both on the bad and the good example of each rule.

    Args:
        squawk: Its program.
        folder: Where files may be written.
        rules: Ours.
    """
    place = folder / "examples"
    place.mkdir()
    for rule in rules:
        (place / f"{rule.code}.bad.sql").write_text(rule.bad, encoding="utf-8")
        (place / f"{rule.code}.good.sql").write_text(rule.good, encoding="utf-8")
    # What says BEGIN itself is not in a transaction already.
    files = sorted(place.iterdir())
    bare = [file for file in files if "BEGIN;" in file.read_text(encoding="utf-8")]
    rest = [file for file in files if file not in bare]
    theirs = {**_asked(squawk, bare), **_asked(squawk, rest, "--assume-in-transaction")}
    for rule in rules:
        yield Look(
            rule=rule,
            ours_of_bad=any(code == rule.code for code, _ in _told(rule.bad)),
            ours_of_good=any(severity is not Severity.INFO for _, severity in _told(rule.good)),
            theirs_of_bad=theirs.get(f"{rule.code}.bad.sql", ()),
            theirs_of_good=theirs.get(f"{rule.code}.good.sql", ()),
        )


def _told(text: str) -> list[tuple[str, Severity]]:
    """With the tables that the examples are about, which only we can be told of."""
    schema = Script(text=SCHEMA.read_text(encoding="utf-8"), source="schema")
    result = lint_scripts((schema, Script(text=text, source="example")), today=datetime.now(UTC).date())
    return [(one.rule, one.severity) for one in result.findings if one.file == "example"]


def _asked(squawk: peers.Peer, files: Sequence[Path], *more: str) -> Mapping[str, tuple[str, ...]]:
    """Squawk's rules by the file's name."""
    options = ["--reporter=json", f"--exclude={','.join(NOT_ASKED)}", *more]
    done = subprocess.run([*squawk.command, *options, *map(str, files)], capture_output=True, text=True, check=False)
    found: dict[str, dict[str, None]] = {}
    for one in json.loads(done.stdout):
        found.setdefault(Path(one["file"]).name, {})[one["rule_name"]] = None
    return {name: tuple(rules) for name, rules in found.items()}


def _tables(looks: Sequence[Look]) -> tuple[Table, ...]:
    return (
        Table(
            headings=("rules about", "rules", "found: squizzle", "squawk", "told of the good: squizzle", "squawk"),
            rows=(*_by_kind(looks), _counts("all", looks)),
            title="What each says of the examples of our rules; a rule counts as found by squawk when it says anything"
            f" about the bad example, whatever it is, but for {', '.join(NOT_ASKED)}. Told of the good: a warning or an"
            " error of ours, anything of squawk's.",
        ),
        Table(
            headings=("rule", "squawk of the bad example", "of the good one"),
            rows=tuple(
                (f"{one.rule.code} {one.rule.name}", ", ".join(one.theirs_of_bad), ", ".join(one.theirs_of_good))
                for one in looks
            ),
            title="The same rule by rule:",
        ),
    )


def _by_kind(looks: Sequence[Look]) -> Iterator[tuple[str, ...]]:
    for letter, name in _KINDS.items():
        if same := [one for one in looks if one.rule.code.startswith(letter)]:
            yield _counts(name, same)


def _counts(name: str, looks: Sequence[Look]) -> tuple[str, ...]:
    numbers = (
        len(looks),
        sum(one.ours_of_bad for one in looks),
        sum(bool(one.theirs_of_bad) for one in looks),
        sum(one.ours_of_good for one in looks),
        sum(bool(one.theirs_of_good) for one in looks),
    )
    return (name, *map(str, numbers))
