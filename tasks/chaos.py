"""Chaos in the flows of this process, where the environment asks for it; see docs/chaos.md."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from blocks.chaos import Chaos as ChaosBlock
from squizzle.chaos.monkey import Chaos
from squizzle.chaos.settings import VARIABLE, ChaosSettings, named_block, parse_chaos
from squizzle.disturbance import disturbed_by, present
from squizzle.errors import InvalidInputError

P = ParamSpec("P")
R = TypeVar("R")
_SEEDS = 1 << 31


@contextmanager
def chaos_of_environment(tell: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Disturb what is done in the block, where `SQUIZZLE_CHAOS` asks for it and nobody disturbs it already.

    Args:
        tell: Called with a sentence when it begins, and before each strike.
        environ: Where the variable is looked for.

    Raises:
        InvalidInputError: The variable says nothing that is understood.
    """
    text = environ.get(VARIABLE, "")
    settings = None if present() is not None or not text else _settings(text)
    if settings is None:
        yield
        return
    with chaos_here(settings, tell):
        yield


@contextmanager
def chaos_here(settings: ChaosSettings, tell: Callable[[str], None]) -> Iterator[None]:
    """Disturb what this process does in the block.

    Args:
        settings: How often, and what.
        tell: Called with a sentence when it begins, and before each strike.
    """

    def say(text: str) -> None:
        tell(text)
        # Also where a log that is sent behind our back would not arrive any more.
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    say(f"chaos is on: {VARIABLE}='{settings.as_text()}' plays it again")
    with disturbed_by(Chaos(settings, say)):
        yield


def disturbed(title: str, function: Callable[P, R]) -> Callable[P, R]:
    """The function of a step; where chaos is on, the step may fail, wait, or be the last of this process."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if (disturber := present()) is not None:
            disturber.step(title)
        return function(*args, **kwargs)

    return call


def _settings(text: str) -> ChaosSettings | None:
    name = named_block(text)
    if name is None:
        return parse_chaos(text, new_seed=_new_seed)
    try:
        block = cast("ChaosBlock", ChaosBlock.load(name))
    except ValueError as exc:
        raise InvalidInputError(
            f"{VARIABLE} is {text!r}, and the block chaos/{name} cannot be loaded; nothing was begun",
            hint=f"save it, or unset {VARIABLE}",
        ) from exc
    return block.settings(new_seed=_new_seed)


def _new_seed() -> int:
    return secrets.randbelow(_SEEDS)
