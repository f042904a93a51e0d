"""A password does not show itself."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from squizzle.postgres.access import ServerAccess
from squizzle.postgres.secret import Secret

PASSWORD = "correct-horse-battery"

WAYS_TO_SHOW: dict[str, Callable[[Secret], str]] = {
    "repr": repr,
    "str": str,
    "format": "{}".format,
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - the way logging formats
    "f-string": lambda secret: f"{secret} {secret!r} {secret!s} {secret!a}",
    "in a container": lambda secret: str([secret, {"password": secret}, (secret,)]),
    "in the record that carries it": lambda secret: repr(ServerAccess(host="db", password=secret)),
    "in a log record": lambda secret: logging.makeLogRecord({"msg": "%s", "args": (secret,)}).getMessage(),
    "as JSON": lambda secret: json.dumps({"password": secret}, default=str),
}


@pytest.mark.parametrize("show", WAYS_TO_SHOW.values(), ids=WAYS_TO_SHOW.keys())
def test_a_secret_never_shows_its_text(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(PASSWORD))

    assert PASSWORD not in shown
    assert "****" in shown


def test_a_secret_is_revealed_only_by_asking_for_it() -> None:
    assert Secret(PASSWORD).reveal() == PASSWORD


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="not pickled") as caught:
        pickle.dumps({"password": Secret(PASSWORD)}, protocol=protocol)

    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_neither_is_the_record_that_carries_it() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ServerAccess(host="db", password=Secret(PASSWORD)))


def test_a_secret_is_not_copied_by_accident() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(Secret(PASSWORD))
    with pytest.raises(TypeError, match="not pickled"):
        asdict(ServerAccess(host="db", password=Secret(PASSWORD)))


def test_a_secret_has_no_dictionary_to_look_into() -> None:
    assert not hasattr(Secret(PASSWORD), "__dict__")


def test_records_with_secrets_are_compared_by_the_text() -> None:
    access = ServerAccess(host="db", password=Secret(PASSWORD))

    assert access == replace(access, password=Secret(PASSWORD))
    assert access != replace(access, password=Secret("another"))
    assert Secret(PASSWORD) != PASSWORD
    assert hash(Secret(PASSWORD)) == hash(Secret(PASSWORD))
