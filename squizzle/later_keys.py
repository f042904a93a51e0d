"""JSON documents in tables of our own, which a newer version may have given more keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def known_keys(document: Mapping[str, Any], record: type[DataclassInstance]) -> dict[str, Any]:
    """What a document says of the fields that a record has here.

    Keys of a newer version are left out, as its columns are: what an older one must not miss makes the table unusable
    for it (`postgres/own_scripts.py`).

    Args:
        document: As it was read.
        record: The class whose fields are known.
    """
    names = {one.name for one in fields(record)}
    return {name: value for name, value in document.items() if name in names}
