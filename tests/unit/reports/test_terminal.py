"""Steps as they happen: lines in a file or a pipe, a picture that changes on a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from squizzle.headway import Stretch, Unit, is_told, stretch
from squizzle.recovery.evidence import Step, StepState
from squizzle.reports.terminal import StepView, print_markdown

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def step(title: str, state: StepState = StepState.DONE, detail: str = "") -> Step:
    return Step(title=title, started_at=NOON, duration=timedelta(seconds=1.5), state=state, detail=detail)


def lines(*told: tuple[Step, ...]) -> list[str]:
    """What a file holds after the view was told these steps, one call after the other."""
    file = StringIO()
    with StepView("Disaster drill", Console(file=file, width=40)) as view:
        for steps in told:
            view(steps)
    return file.getvalue().splitlines()


def test_each_finished_step_is_printed_once_when_it_ends() -> None:
    backup, damage = step("Take a backup", detail="2 MB"), step("Assess the damage", StepState.FAILED, "no connection")
    running = [replace(one, state=StepState.RUNNING, detail="") for one in (backup, damage)]

    printed = lines(
        (running[0],), (running[0],), (backup,), (backup,), (backup, running[1]), (backup, damage), (backup, damage)
    )

    assert printed == [
        "Disaster drill",
        "  done       1.50 s  Take a backup: 2 MB",
        "  failed     1.50 s  Assess the damage: no connection",
    ]


def test_a_running_step_is_not_printed_before_its_end() -> None:
    file = StringIO()
    with StepView("Drill", Console(file=file)) as view:
        view((step("first", StepState.RUNNING),))
        assert file.getvalue() == "Drill\n"
        view((step("first"),))
        assert file.getvalue() == "Drill\n  done       1.50 s  first\n"


def test_steps_that_are_told_late_are_printed_in_their_order() -> None:
    assert [line.split()[-1] for line in lines((step("a"), step("b"), step("c")))[1:]] == ["a", "b", "c"]


@pytest.mark.parametrize("odd", ["[red]users[/]", "[/]", "a" * 200, "it's \\ fine", "a:100:b", "what:"])
def test_a_detail_is_printed_as_it_is_on_one_line(odd: str) -> None:
    (printed,) = lines((step("Restore", detail=odd),))[1:]

    assert printed.endswith(f"Restore: {odd}")


def test_a_terminal_shows_every_step_and_ends_with_them_all() -> None:
    file = StringIO()
    console = Console(file=file, force_terminal=True, width=120, color_system=None)

    with StepView("Disaster drill", console) as view:
        view((step("Take a backup", detail="2 MB"), step("Restore", StepState.RUNNING)))
        view((step("Take a backup", detail="2 MB"), step("Restore", detail="1,500 rows")))

    last = file.getvalue().rpartition("Disaster drill")[2]
    assert last.count("Take a backup") == 1
    assert "2 MB" in last
    assert "1,500 rows" in last


def test_a_view_ends_its_picture_when_a_step_raises() -> None:
    file = StringIO()

    def fail() -> None:
        with StepView("Drill", Console(file=file, force_terminal=True)) as view:
            view((step("first"),))
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert file.getvalue().endswith("\x1b[?25h")  # the cursor is visible again


def test_nothing_is_drawn_and_no_colour_is_used_where_no_terminal_is_whatever_the_environment_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with StepView("Drill") as view:
        view((step("first"),))
    print_markdown("# Report\n")

    assert capsys.readouterr() == ("# Report\n", "Drill\n  done       1.50 s  first\n")


def test_a_running_step_shows_how_far_its_long_work_is() -> None:
    now = [0.0]
    copying = Stretch("copying shop", unit=Unit.BYTES, total=4_000_000, is_estimate=True, clock=lambda: now[0])
    file = StringIO()
    with StepView("Drill", Console(file=file, force_terminal=True, width=120, color_system=None)) as view:
        view((step("Take a backup", StepState.RUNNING),))
        view.begun(copying)
        with stretch("another"):
            assert len(view._going) == 2
        now[0] = 30.0
        copying.at(1_000_000)
        view(view._steps)
        view._live.refresh()  # type: ignore[union-attr]
        view.ended(copying)
        view((step("Take a backup"),))

    assert not is_told()
    assert "copying shop: 25 % of about 4.0 MB, about 2 min left" in file.getvalue()
    assert "copying shop" not in file.getvalue().rpartition("Drill")[2]


def test_a_report_goes_to_a_pipe_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = "# Drill\n\n| a | b |\n| --- | --- |\n| " + "x" * 200 + " | [red] |\n"

    print_markdown(text)

    assert capsys.readouterr().out == text
