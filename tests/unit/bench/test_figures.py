"""Figures, aims and the page: what a run of the benchmarks says of itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.aims import AIMS, Aim, Answer, Of, not_found, table_of_aims
from bench.outcomes import Outcome, as_json, from_json, keep, kept, write_figures, write_pictures
from bench.page import losses, page
from bench.report import Figure, Finding, Picture, Table, shown
from bench.suite import BENCHMARKS, KNOWN
from bench.turns import Taken, take_turns

SLOWER = Figure(
    name="apply", ours=3.0, unit="s", runs=3, low=2.0, high=4.0, peer=2.0, peer_name="psql", why="it proves"
)
TAKEN = {"ours": Taken(values=(2.0, 4.0, 6.0)), "theirs": Taken(values=(1.0, 1.0, 6.0))}
FINDING = Finding(
    title="Replay of 5 migrations",
    method="On an empty database.",
    headings=("contender", "median s"),
    rows=(("squizzle", "3.0"), ("psql", "2.0")),
    missing=("pgroll: missing on this machine",),
    command="python -m bench replay",
    figures=(SLOWER,),
    picture=Picture(title="A replay", unit="s", bars=tuple(one.bar(name) for name, one in TAKEN.items())),
    shows_not="how long real histories take.",
    more=(Table(headings=("what", "count"), rows=(("tables", "4"),), title="What was there."),),
)
OUTCOME = Outcome(
    name="replay",
    finding=FINDING,
    problem="",
    began_at=datetime(2026, 11, 28, 1, 2, tzinfo=UTC),
    seconds=12.3,
    load_before=0.1,
    load_after=1.9,
    is_quick=False,
    facts=("a machine", "a server"),
)
FAILED = replace(OUTCOME, name="status", finding=None, problem="RuntimeError: nobody answered")
AIM = Aim(what="as fast as psql", benchmark="replay", figure="apply", peer_name="psql", of=Of.RATIO, limit=1.5)


def test_a_figure_is_one_line_of_json() -> None:
    line = SLOWER.line("replay", "python -m bench replay")
    assert "\n" not in line
    assert json.loads(line) == {
        "benchmark": "replay",
        "name": "apply",
        "ours": 3.0,
        "peer": 2.0,
        "peer_name": "psql",
        "ratio": 1.5,
        "runs": 3,
        "spread": [2.0, 4.0],
        "unit": "s",
        "more_is_better": False,
        "command": "python -m bench replay",
    }


@pytest.mark.parametrize(
    ("figure", "lost"),
    [
        (SLOWER, True),
        (replace(SLOWER, ours=1.0), False),
        (replace(SLOWER, ours=2.05), False),
        (replace(SLOWER, more_is_better=True), False),
        (replace(SLOWER, ours=1.0, more_is_better=True), True),
        (replace(SLOWER, peer=None), False),
        (replace(SLOWER, peer=0.0), False),
        (replace(SLOWER, ratio=0.9), False),
    ],
)
def test_who_is_worse_than_a_peer_has_lost(figure: Figure, *, lost: bool) -> None:
    assert figure.is_lost is lost


def test_a_ratio_is_that_of_the_rounds_not_of_the_medians() -> None:
    figure = TAKEN["ours"].figure("apply", "s", peer=TAKEN["theirs"], peer_name="psql")
    assert (figure.ours, figure.peer, figure.to_peer()) == (4.0, 1.0, 2.0)
    assert (figure.runs, figure.low, figure.high) == (3, 2.0, 6.0)


def test_contenders_go_forth_and_back() -> None:
    seen: list[str] = []

    def one(name: str) -> float:
        seen.append(name)
        return float(len(seen))

    taken = take_turns({"a": lambda: one("a"), "b": lambda: one("b")}, 3)
    assert "".join(seen) == "abbaab"
    assert taken["a"].values == (1.0, 4.0, 5.0)


@pytest.mark.parametrize(
    ("aim", "answer"),
    [
        (AIM, Answer.YES),
        (replace(AIM, limit=1.4), Answer.NO),
        (replace(AIM, at_least=True, limit=1.6), Answer.NO),
        (replace(AIM, of=Of.OURS, limit=3.0), Answer.YES),
        (replace(AIM, figure="another"), Answer.NOT_MEASURED),
        (replace(AIM, peer_name="dbmate"), Answer.NOT_MEASURED),
    ],
)
def test_an_aim_is_reached_or_not_or_was_not_measured(aim: Aim, answer: Answer) -> None:
    assert aim.answer(FINDING.figures) is answer
    assert answer.value in table_of_aims({"replay": FINDING}, (aim,)).rows[0]


def test_an_aim_of_a_benchmark_that_failed_is_not_measured() -> None:
    assert table_of_aims({}, (AIM,)).rows == (("as fast as psql", "at most 1.5 x", "", "not measured", "here"),)


def test_an_aim_without_its_figure_is_told() -> None:
    misspelt = replace(AIM, what="misspelt", figure="no such")
    assert not_found({"replay": FINDING}, (AIM, misspelt)) == ("misspelt",)
    assert not_found({}, (AIM, misspelt)) == ()


def test_every_aim_is_of_a_benchmark_that_there_is() -> None:
    assert {aim.benchmark for aim in AIMS} <= set(KNOWN)


def test_a_benchmark_has_quick_sizes_that_are_smaller_and_a_command_for_them() -> None:
    for one in BENCHMARKS:
        assert set(one.quick) <= set(one.full)
        assert all(one.quick[key] <= one.full[key] for key in one.quick)
        assert one.quick_limit_s <= one.limit_s
    assert KNOWN["batches"].command({"rounds": 3, "rows": 1_000_000}) == (
        "python -m bench batches --rounds 3 --rows 1000000"
    )


def test_what_the_command_line_says_is_a_size_of_those_that_have_it() -> None:
    replay = KNOWN["replay"]
    assert replay.sizes(quick=False, said={"migrations": 7, "rows": 9})["migrations"] == 7
    assert "rows" not in replay.sizes(quick=False, said={"migrations": 7, "rows": 9})
    assert replay.sizes(quick=True, said={}) == {**replay.full, **replay.quick}


def test_an_outcome_comes_back_as_it_was() -> None:
    assert from_json(as_json(OUTCOME)) == OUTCOME
    assert from_json(as_json(FAILED)) == FAILED


def test_one_that_is_run_again_takes_the_place_of_its_predecessor(tmp_path: Path) -> None:
    keep(OUTCOME, tmp_path)
    keep(FAILED, tmp_path)
    keep(replace(FAILED, finding=FINDING, problem=""), tmp_path)
    outcomes = kept(tmp_path, ("status", "replay", "sweep"))
    assert [one.name for one in outcomes] == ["status", "replay"]
    write_figures(outcomes, tmp_path)
    lines = (tmp_path / "figures.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["benchmark"] for line in lines] == ["status", "replay"]


def test_the_page_has_what_was_measured_and_names_what_was_not() -> None:
    text = page((OUTCOME, FAILED), {"replay": "pictures/bench-replay.svg"})
    for expected in (
        "- a machine",
        "| squizzle | 3.0 |",
        "![Replay of 5 migrations](pictures/bench-replay.svg)",
        "What was there.\n\n| what | count |",
        "What this does not show: how long real histories take.",
        "pgroll: missing on this machine.",
        "2026-11-28 01:02 UTC, 12 s, load average 0.1 before and 1.9 after it.",
        "## Not measured\n\n- status: RuntimeError: nobody answered",
        "| apply | 3 s | psql 2 (1.50) | it proves |",
    ):
        assert expected in text
    assert "quick sizes: they" not in text
    assert "quick sizes: they" in page((replace(OUTCOME, is_quick=True),), {})


def test_a_loss_that_nobody_explains_is_not_hidden() -> None:
    silent = replace(FINDING, figures=(replace(SLOWER, why=""),))
    assert [row[-1] for row in losses({"replay": silent}).rows] == ["not explained"]


def test_a_picture_is_the_same_as_long_as_the_numbers_are(tmp_path: Path) -> None:
    first = write_pictures((OUTCOME,), tmp_path / "a")["replay"].read_bytes()
    assert write_pictures((OUTCOME,), tmp_path / "b")["replay"].read_bytes() == first
    ET.fromstring(first)  # noqa: S314 - our own
    assert len(first) < 30_000


def test_a_picture_of_what_was_not_measured_goes(tmp_path: Path) -> None:
    file = write_pictures((OUTCOME,), tmp_path)["replay"]
    assert write_pictures((replace(OUTCOME, finding=None),), tmp_path) == {}
    assert not file.exists()


def test_columns_of_words_are_to_the_left() -> None:
    table = Table(headings=("a", "b", "c"), rows=(("x", "psql", "0 of 4"), ("y", "", "10 of 4")))
    assert table.markdown().splitlines()[1] == "| --- | --- | ---: |"
    assert table.text().splitlines() == ["a  b           c", "x  psql   0 of 4", "y        10 of 4"]


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.0123"), (99.96, "100"), (1520.4, "1,520"), (0, "0")])
def test_a_number_is_shown_with_three_digits_or_all_before_the_point(value: float, text: str) -> None:
    assert shown(value) == text
