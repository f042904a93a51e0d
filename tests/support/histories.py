"""A history as a real project has it, laid out as each tool wants it.

`history.sql` holds its steps; here they become folders, with what real folders have, too: numbers that a listing orders
wrongly, files that share a number, marks in one file, scripts that say they want no transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FROM_WINDOWS = "from_windows"
_NO_FINAL_NEWLINE = frozenset({"after_a_search_path", "settings_back"})
# What refuses to run in a transaction, and says so where its tool has a word for it.
_DECLARED = frozenset({"indexes_concurrently", "upkeep"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One migration.

    Attributes:
        number: Its place, counted from 1.
        name: What it is called.
        up: The way forward.
        down: The way back.
    """

    number: int
    name: str
    up: str
    down: str

    @property
    def declared(self) -> bool:
        """Whether it says that it wants no transaction."""
        return self.name in _DECLARED


def read_steps(file: Path) -> tuple[Step, ...]:
    """The steps of a file: `#### name`, the way forward, `#### down`, the way back."""
    sections = file.read_text(encoding="utf-8").split("#### ")[1:]
    parts = [section.partition("\n")[::2] for section in sections]
    return tuple(
        Step(number=number, name=name, up=_as_written(name, up), down=_as_written(name, down))
        for number, ((name, up), (_, down)) in enumerate(zip(parts[::2], parts[1::2], strict=True), 1)
    )


def _as_written(name: str, text: str) -> str:
    if name == _FROM_WINDOWS:
        return "\ufeff" + text.replace("\n", "\r\n")
    return text.rstrip("\n") if name in _NO_FINAL_NEWLINE else text


def lay_out(layout: str, steps: Sequence[Step], folder: Path) -> None:
    """Write the steps as this layout has them."""
    for name, text in _WRITERS[layout](steps).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


_Files = Mapping[str, str]


def _native(steps: Sequence[Step]) -> _Files:
    files = {}
    for step in steps:
        files[f"{step.number}_{step.name}/up.sql"] = step.up
        files[f"{step.number}_{step.name}/down.sql"] = step.down
    return files | {"README.md": "How we migrate.\n"}


def _diesel(steps: Sequence[Step]) -> _Files:
    files = {}
    for step in steps:
        # A listing has 2017-09-23 before 20170308; diesel does not.
        version = f"20170308{step.number:06}" if step.number < 20 else f"2017-09-23-{step.number:06}"
        files[f"{version}_{step.name}/up.sql"] = step.up
        files[f"{version}_{step.name}/down.sql"] = step.down
        if step.declared:
            files[f"{version}_{step.name}/metadata.toml"] = "run_in_transaction = false\n"
    return files | {".keep": ""}


def _golang_migrate(steps: Sequence[Step]) -> _Files:
    files = {}
    for step in steps:
        joint = "_" if step.number % 5 == 0 else "."
        # A down script that was left behind when its up script got another number.
        number = 900 if step.name == "colons" else step.number
        files[f"{step.number}_{step.name}{joint}up.sql"] = step.up
        files[f"{number}_{step.name}{joint}down.sql"] = step.down
    return files


def _marked(steps: Sequence[Step], up: str, down: str, name: str, *, alone: str = "") -> _Files:
    files = {}
    for step in steps:
        end = "\r\n" if step.name == _FROM_WINDOWS else "\n"
        head = f"{up}{alone if step.declared else ''}{end}"
        body = step.up.removeprefix("\ufeff")
        joint = "" if body.endswith("\n") or not body else end
        mark = "\ufeff" if step.name == _FROM_WINDOWS else ""
        back = step.down.removeprefix("\ufeff")
        files[name.format(step.number, step.name)] = f"{mark}{head}{body}{joint}{end}{down}{end}{back}"
    return files


def _dbmate(steps: Sequence[Step]) -> _Files:
    return _marked(steps, "-- migrate:up", "-- migrate:down", "20240102{:06}_{}.sql", alone=" transaction:false")


def _goose(steps: Sequence[Step]) -> _Files:
    files = {}
    for name, text in _marked(steps, "-- +goose Up", "-- +goose Down", "{:05}_{}.sql").items():
        if any(f"_{declared}." in name for declared in _DECLARED):
            files[name] = f"-- +goose NO TRANSACTION\n{text}"
        elif "BEGIN ATOMIC" in text:
            begin, end = "-- +goose Up\n-- +goose StatementBegin\n", "-- +goose StatementEnd\n\n-- +goose Down\n"
            files[name] = text.replace("-- +goose Up\n", begin).replace("\n-- +goose Down\n", end)
        else:
            files[name] = text
    return files


def _sql_migrate(steps: Sequence[Step]) -> _Files:
    # The last ones share a number, so that their names order them.
    name = "2017042613{:04}-{}.sql"
    files = dict(_marked(steps[:-2], "-- +migrate Up", "-- +migrate Down", name, alone=" notransaction"))
    for letter, step in zip("ab", steps[-2:], strict=True):
        files[f"20170426990000-{letter}-{step.name}.sql"] = (
            f"-- +migrate Down\n{step.down}\n-- +migrate Up\n{step.up}\n-- +migrate Up\nSELECT 1;\n"
        )
    return files


def _flyway(steps: Sequence[Step]) -> _Files:
    files = {}
    for step in steps:
        version = f"1.{step.number}" if step.number < 12 else f"2_{step.number}"
        files[f"release/V{version}__{step.name}.sql"] = step.up
        files[f"undo/U{version}__{step.name}.sql"] = step.down
        if step.declared:
            files[f"release/V{version}__{step.name}.sql.conf"] = "executeInTransaction=false\n"
            files[f"undo/U{version}__{step.name}.sql.conf"] = "executeInTransaction=false\n"
    return files


def _sqitch(steps: Sequence[Step]) -> _Files:
    files = {}
    plan = ["%syntax-version=1.0.0", "%project=company", "%uri=https://company.example/", ""]
    when = "2024-01-02T03:04:05Z Ann <ann@company.example>"
    for step in steps:
        # What is done twice is reworked: the second time it has the name, the first time the name and the tag.
        reworked = step.name in {"nothing", "comments_only"}
        change = "later" if reworked else f"app/{step.name}"
        script = f"{change}@v1" if step.name == "nothing" else change
        plan.append(f"{change} {'[later@v1] ' if step.name == 'comments_only' else ''}{when} # {step.name}")
        if step.name == "nothing":
            plan.append(f"@v1 {when} # first release")
        files[f"deploy/{script}.sql"] = step.up
        files[f"revert/{script}.sql"] = step.down
        files[f"verify/{script}.sql"] = "BEGIN;\nSELECT 1/count(*) FROM pg_class;\nROLLBACK;\n"
    return files | {"sqitch.plan": "\n".join(plan) + "\n", "sqitch.conf": "[core]\n\tengine = pg\n"}


def _numbered(steps: Sequence[Step]) -> _Files:
    files = {f"{step.number}_{step.name}.sql": step.up for step in steps[:-2]}
    return files | {f"99_{letter}_{step.name}.sql": step.up for letter, step in zip("ab", steps[-2:], strict=True)}


_WRITERS: Mapping[str, Callable[[Sequence[Step]], _Files]] = {
    "native": _native,
    "diesel": _diesel,
    "golang-migrate": _golang_migrate,
    "dbmate": _dbmate,
    "goose": _goose,
    "sql-migrate": _sql_migrate,
    "flyway": _flyway,
    "sqitch": _sqitch,
    "numbered": _numbered,
}
LAYOUTS = tuple(_WRITERS)
