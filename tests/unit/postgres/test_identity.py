"""Which databases are refused as not the one that was meant."""

from __future__ import annotations

from itertools import product
from uuid import UUID

import pytest

from squizzle.errors import DatabaseState, IdentityMismatchError
from squizzle.postgres.identity import ExpectedIdentity, Identity, check_identity

ID = UUID("11111111-1111-4111-8111-111111111111")
OTHER_ID = UUID("22222222-2222-4222-8222-222222222222")

# What the database says and what the caller means, and whether that is a mismatch; None is "not said".
OPTIONAL = [
    (None, None, False),
    (None, "meant", False),  # not written yet: the first caller who names one claims it
    ("found", None, False),
    ("same", "same", False),
    ("found", "meant", True),
    ("Staging", "staging", True),
]
NAMES = [("shop", None, False), ("shop", "shop", False), ("shop", "billing", True)]
IDS = [(ID, None, False), (ID, ID, False), (ID, OTHER_ID, True)]


@pytest.mark.parametrize(("name", "identifier"), list(product(NAMES, IDS)))
def test_a_database_is_refused_exactly_when_something_that_was_said_differs(
    name: tuple[str, str | None, bool], identifier: tuple[UUID, UUID | None, bool]
) -> None:
    for environment, fleet in product(OPTIONAL, OPTIONAL):
        check(environment, fleet, name, identifier)


def check(
    environment: tuple[str | None, str | None, bool],
    fleet: tuple[str | None, str | None, bool],
    name: tuple[str, str | None, bool],
    identifier: tuple[UUID, UUID | None, bool],
) -> None:
    found = Identity(id=identifier[0], environment=environment[0], fleet=fleet[0], name=name[0])
    expected = ExpectedIdentity(environment=environment[1], fleet=fleet[1], name=name[1], id=identifier[1])
    wrong = {
        what
        for what, case in (("environment", environment), ("fleet", fleet), ("name", name), ("id", identifier))
        if case[2]
    }

    if not wrong:
        check_identity(found, expected, database="shop")
        return
    with pytest.raises(IdentityMismatchError) as caught:
        check_identity(found, expected, database="shop")
    assert {part.split()[0] for part in caught.value.message.partition(": ")[2].split("; ")} == wrong


@pytest.mark.parametrize(
    "expected",
    [
        ExpectedIdentity(),
        ExpectedIdentity(environment="staging"),
        ExpectedIdentity(environment="staging", fleet="shops", name="shop"),
    ],
)
def test_a_database_that_has_no_identity_yet_is_anybodys(expected: ExpectedIdentity) -> None:
    check_identity(None, expected, database="shop")


def test_a_database_that_has_no_identity_yet_is_not_the_one_with_the_expected_id() -> None:
    with pytest.raises(IdentityMismatchError, match=f"id is not written yet, expected {ID}"):
        check_identity(None, ExpectedIdentity(id=ID), database="shop")


def test_the_refusal_says_what_was_found_what_was_expected_and_that_nothing_changed() -> None:
    found = Identity(id=ID, environment="production", fleet=None, name="shop")

    with pytest.raises(IdentityMismatchError) as caught:
        check_identity(found, ExpectedIdentity(environment="staging", id=OTHER_ID), database="shop_copy")

    message = caught.value.message
    assert "shop_copy" in message
    assert "environment is production, expected staging" in message
    assert f"id is {ID}, expected {OTHER_ID}" in message
    assert caught.value.hint
    assert caught.value.database_state is DatabaseState.UNTOUCHED
