"""Names that somebody chose to do harm, or without thinking, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

_PIECES = (
    "'", '"', ";", "--", "/*", "*/", "$$", "$1", "%s", "%(x)s", "%", "{}", "{x}", "}", "\\", "\\'", "\n", "\r\n", "\t", " ",
    "`", "```", "~~~", "|", "\\|", "<b>", "<img src=x onerror=alert(1)>", "</td>", "<!-- ", "<!channel>", "<@U1>", "&lt;",
    "*", "_", "#", "[x](javascript:y)", "../", "/", ".", "..", "-", "$(id)", "\u2028", "\x1b[31m", "\x7f", "é", "ключ", "🎉", "\u202e",
    "=", "host=evil", "postgresql://", ",", "(", ")", "NULL", "DROP TABLE precious", "x",
)  # fmt: skip

# Whatever PostgreSQL takes as a text: no NUL, and nothing that is no Unicode.
_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")

texts = st.lists(st.one_of(st.sampled_from(_PIECES), st.text(_CHARACTERS, max_size=4)), min_size=1, max_size=8).map(
    "".join
)
"""Any text: a reason, a comment, a name of somebody."""

names = texts.map(lambda text: text.encode()[:63].decode(errors="ignore")).filter(bool)
"""A name that PostgreSQL does not cut."""
