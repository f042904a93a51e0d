"""The commands that carry over what belongs to a database itself, with every name quoted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from squizzle.postgres.database_properties import (
    DatabaseProperties,
    Grant,
    Setting,
    _list_items,
    apply_commands,
    create_like,
)

PLAIN = DatabaseProperties(
    owner="app",
    connection_limit=-1,
    comment=None,
    encoding="UTF8",
    lc_collate="C.UTF-8",
    lc_ctype="C.UTF-8",
    locale_provider="c",
    locale=None,
    tablespace="pg_default",
    grants=None,
    settings=(),
)


def commands(properties: DatabaseProperties, database: str = "shop") -> list[str]:
    # psycopg puts another space before a negative number and an escape string.
    return [command.as_string(None).replace("  ", " ") for command in apply_commands(properties, database)]


def setting(name: str, value: str, role: str = "") -> str:
    (command,) = commands(replace(PLAIN, settings=(Setting(role=role, name=name, value=value),)))[3:]
    return command


def test_owner_limit_and_comment_are_always_set() -> None:
    assert commands(PLAIN) == [
        'ALTER DATABASE "shop" OWNER TO "app"',
        'ALTER DATABASE "shop" CONNECTION LIMIT -1',
        'COMMENT ON DATABASE "shop" IS NULL',
    ]


def test_names_and_texts_with_quotes_stay_names_and_texts() -> None:
    properties = replace(
        PLAIN,
        owner='o"wner"; DROP DATABASE shop; --',
        comment="it's; 'quoted' \\ twice",
        grants=(Grant(grantee='g"rantee', privilege="CONNECT", grantable=False),),
        settings=(Setting(role='r"ole', name="work_mem", value="it's"),),
    )

    assert commands(properties, 's"hop') == [
        'ALTER DATABASE "s""hop" OWNER TO "o""wner""; DROP DATABASE shop; --"',
        'ALTER DATABASE "s""hop" CONNECTION LIMIT -1',
        """COMMENT ON DATABASE "s""hop" IS E'it''s; ''quoted'' \\\\ twice'""",
        'REVOKE ALL ON DATABASE "s""hop" FROM PUBLIC, "o""wner""; DROP DATABASE shop; --"',
        'GRANT CONNECT ON DATABASE "s""hop" TO "g""rantee"',
        """ALTER ROLE "r""ole" IN DATABASE "s""hop" SET "work_mem" TO 'it''s'""",
    ]


def test_privileges_that_were_never_changed_are_left_at_their_default() -> None:
    assert not any(command.startswith(("REVOKE", "GRANT")) for command in commands(PLAIN))


def test_privileges_that_were_all_taken_away_are_taken_away() -> None:
    assert commands(replace(PLAIN, grants=()))[3:] == ['REVOKE ALL ON DATABASE "shop" FROM PUBLIC, "app"']


def test_privileges_are_granted_one_by_one_after_all_were_revoked() -> None:
    grants = (
        Grant(grantee="", privilege="CONNECT", grantable=False),
        Grant(grantee="app", privilege="CREATE", grantable=True),
        Grant(grantee="report", privilege="TEMPORARY", grantable=False),
    )

    assert commands(replace(PLAIN, grants=grants))[3:] == [
        'REVOKE ALL ON DATABASE "shop" FROM PUBLIC, "app"',
        'GRANT CONNECT ON DATABASE "shop" TO PUBLIC',
        'GRANT CREATE ON DATABASE "shop" TO "app" WITH GRANT OPTION',
        'GRANT TEMPORARY ON DATABASE "shop" TO "report"',
    ]


def test_a_privilege_that_a_database_does_not_have_never_becomes_sql() -> None:
    grants = (Grant(grantee="app", privilege="CONNECT ON DATABASE x TO evil; --", grantable=False),)

    with pytest.raises(KeyError):
        commands(replace(PLAIN, grants=grants))


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("work_mem", "8MB", """ALTER DATABASE "shop" SET "work_mem" TO '8MB'"""),
        ("shop.mode", "a b", """ALTER DATABASE "shop" SET "shop"."mode" TO 'a b'"""),
        ("application_name", 'a "b", c', """ALTER DATABASE "shop" SET "application_name" TO 'a "b", c'"""),
        ("search_path", '"$user", public', """ALTER DATABASE "shop" SET "search_path" TO '$user', 'public'"""),
        (
            "search_path",
            'app, "My ""odd"", name"',
            """ALTER DATABASE "shop" SET "search_path" TO 'app', 'My "odd", name'""",
        ),
        ("search_path", '""', """ALTER DATABASE "shop" SET "search_path" TO ''"""),
        ("search_path", "", """ALTER DATABASE "shop" SET "search_path" TO ''"""),
        ("temp_tablespaces", "fast,slow", """ALTER DATABASE "shop" SET "temp_tablespaces" TO 'fast', 'slow'"""),
    ],
)
def test_a_setting_keeps_its_value(name: str, value: str, command: str) -> None:
    assert setting(name, value) == command


def test_a_setting_of_one_role_stays_with_that_role() -> None:
    assert setting("statement_timeout", "30s", role="report") == (
        """ALTER ROLE "report" IN DATABASE "shop" SET "statement_timeout" TO '30s'"""
    )


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("", []),
        ("a", ["a"]),
        ("a, b", ["a", "b"]),
        ("a,b , c", ["a", "b", "c"]),
        ('"$user", public', ["$user", "public"]),
        ('"a,b", c', ["a,b", "c"]),
        ('"a""b"', ['a"b']),
        ('""', [""]),
        ('"Ä", "ö p"', ["Ä", "ö p"]),
    ],
)
def test_a_list_is_taken_apart_at_its_commas_and_not_inside_quotes(value: str, items: list[str]) -> None:
    assert _list_items(value) == items


@pytest.mark.parametrize(
    ("provider", "locale", "tail"),
    [
        ("c", None, " LOCALE_PROVIDER libc"),
        ("i", "de-DE", " LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"),
        ("b", "C.UTF-8", " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
    ],
)
def test_a_copy_is_made_with_the_same_encoding_and_locale(provider: str, locale: str | None, tail: str) -> None:
    made = create_like(replace(PLAIN, locale_provider=provider, locale=locale), 'c"opy').as_string(None)

    assert made == (
        """CREATE DATABASE "c""opy" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"""
        f"{tail}"
    )


def test_a_copy_lies_in_the_same_tablespace_and_the_default_one_is_not_named() -> None:
    """Whoever names it needs a right on it that nobody has by default."""
    elsewhere = create_like(replace(PLAIN, tablespace="fast"), "copy").as_string(None)
    assert elsewhere.endswith(' TABLESPACE "fast"')
    assert "TABLESPACE" not in create_like(PLAIN, "copy").as_string(None)
