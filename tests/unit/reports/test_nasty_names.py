"""What others named stays text in reports, messages, keys and paths, whatever it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.s3.settings import S3Settings, settings_of
from squizzle.backups.store import safe_name
from squizzle.errors import InvalidInputError
from squizzle.frames.folder import folder_name
from squizzle.notify.wording import plain_text, short_text, slack_message
from squizzle.reports.markdown import bullets, table, without_html
from squizzle.settings.fleet_labels import parse_labels
from tests.support.nasty_names import texts
from tests.support.telling import told

# As pages show it where they trust a report; ours are not to depend on what a page removes.
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


@given(texts, texts, texts)
def test_no_name_becomes_a_tag_in_a_report(first: str, second: str, third: str) -> None:
    parts = [
        f"# Backup of {first}",
        f"It is `{second}`, of {third}.",
        table(("a", "b"), [(first, f"`{second}`"), (f"**{third}**", second)]),
        bullets([first, f"`{third}`"]),
        f"```sql\n{second}\n```",
        f"{third} <https://prefect/runs/1>",
    ]
    shown = MARKDOWN.parse(without_html("\n\n".join(parts)))

    found = [one.type for token in shown for one in (token, *(token.children or ()))]
    assert {"html_block", "html_inline"}.isdisjoint(found)


@given(texts, texts)
def test_a_row_of_a_table_stays_one_row_with_its_cells(first: str, second: str) -> None:
    shown = MARKDOWN.parse(table(("a", "b"), [(first, second), ("last", "row")]))

    cells = [token.type for token in shown if token.type in {"tr_open", "td_open"}]
    assert cells == ["tr_open", *["tr_open", "td_open", "td_open"] * 2]


def test_a_backslash_before_a_bar_does_not_take_away_the_meaning_of_ours() -> None:
    # As GitHub and Prefect's page read it: an escaped backslash, and then a bar that parts cells.
    assert "\\\\|" not in table(("a",), [("x\\|y",)])


def test_code_and_addresses_stay_as_they_are() -> None:
    text = "`a <b> c` <https://x/y> ``<i> ` <i>``\n\n```\nSELECT a < b AND <c>\n```\n| `<b>` | 1 |"
    assert without_html(text) == text
    assert without_html("a <b> `c` <d>") == "a &lt;b> `c` &lt;d>"


@given(texts)
def test_nobody_is_called_in_slack_and_no_line_is_added_to_a_subject(text: str) -> None:
    notification = told(title=text, source=text, text=text, facts=((text, text),))
    said, blocks = slack_message(notification)

    called = re.compile(r"<[!@#]")
    assert not called.search(said)
    for block in blocks:
        for one in (block, *block.get("elements", ()), *block.get("fields", ())):
            words = one.get("text")
            if one["type"] in {"markdown", "mrkdwn"}:
                assert not called.search(words)
    assert "\n" not in short_text(notification)
    assert plain_text(notification).splitlines()[0].startswith("[")


@given(texts)
def test_a_name_leads_nowhere_out_of_a_store(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9-]{0,40}", safe_name(text))
    store = FolderStore(Path("/nonexistent/store"))
    with pytest.raises(InvalidInputError):
        store.read_header(f"../{text}")


@given(st.lists(st.one_of(texts, texts.map(lambda text: text * 40)).filter(bool), min_size=2, max_size=2, unique=True))
def test_two_fleets_never_share_a_folder_and_none_leads_elsewhere(two: list[str]) -> None:
    one, other = map(folder_name, two)
    assert one != other
    for part in (one, other):
        assert re.fullmatch(r"[A-Za-z0-9_~%-]+(\.[0-9a-f]{64})?", part)
        assert len(part) <= 200
        assert Path("/x", part).resolve().parent == Path("/x")


@given(texts, texts)
def test_a_label_is_asked_for_as_it_is_or_refused(name: str, value: str) -> None:
    said = f"{name}={value}"
    try:
        ((found, wanted),) = parse_labels([said])
    except InvalidInputError:
        assert not (said.partition("=")[0].strip() and said.partition("=")[2].strip())
    else:
        assert (found, wanted) == (said.partition("=")[0].strip(), said.partition("=")[2].strip())


@given(texts)
def test_a_prefix_of_a_bucket_is_a_place_below_it_or_refused(prefix: str) -> None:
    try:
        settings = S3Settings(bucket="shop", prefix=prefix.strip("/"))
    except InvalidInputError:
        return
    assert settings_of(settings.address) == settings
    assert not {"", ".", ".."} & set(settings.prefix.split("/") if settings.prefix else ())
