"""A password that does not show itself."""

from __future__ import annotations


class Secret:
    """Text that prints as asterisks wherever it is formatted, logged or pickled by accident.

    pydantic's SecretStr does the same, but importing it costs a third of `squizzle status`; blocks, which have pydantic
    loaded anyway, use that one and hand its value over.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the moment a connection is opened."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('********')"

    def __str__(self) -> str:
        return "********"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a password is not pickled; hand over the block or the environment that holds it")
