"""Other migration tools: a folder of three migrations each, and the books as the tool itself leaves them.

Tables are created with the tools' own statements; where a program is at hand the tests compare with what it makes.
The first two migrations have been applied by the tool; the third has not.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from psycopg import sql

from squizzle.migrations.bookkeeping import ToolBooks, open_books
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.records import Migration
from squizzle.postgres.access import Connection

DATES = ("2024-01-01", "2024-01-02", "2024-01-03")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool.

    Attributes:
        layout: Its layout's name.
        write: Writes the three migrations.
        create: Creates its table as the tool does.
        apply: What the tool writes when it applies one of the three, counted from 1.
        revert: What it writes when it takes one back.
        rows: Everything that it says, but for times.
        table: Its table, with its schema.
    """

    layout: str
    write: Callable[[Path], None]
    create: Callable[[Connection], None]
    apply: Callable[[Connection, int], None]
    revert: Callable[[Connection, int], None]
    rows: str
    table: str

    def read(self, folder: Path) -> tuple[Migration, ...]:
        return read_migrations(folder, self.layout)

    def books(self, folder: Path) -> ToolBooks:
        return open_books(folder, self.layout, self.read(folder))

    def said(self, connection: Connection) -> list[tuple[object, ...]]:
        return connection.execute(self.rows.encode()).fetchall()

    def used(self, folder: Path, connection: Connection) -> None:
        """The folder, and a database in which the tool applied the first two."""
        self.write(folder)
        self.create(connection)
        for number in (1, 2):
            connection.execute(f"CREATE TABLE t{number} (a int)".encode())
            self.apply(connection, number)


def executing(*statements: str) -> Callable[..., None]:
    """Runs statements; `{n}` is the migration's number, `{date}` its date."""

    def run(connection: Connection, number: int = 1) -> None:
        for statement in statements:
            connection.execute(statement.format(n=number, date=DATES[number - 1]).encode())

    return run


def write_golang_migrate(folder: Path) -> None:
    for number in (1, 2, 3):
        (folder / f"{number:06}_t{number}.up.sql").write_text(f"CREATE TABLE t{number} (a int);\n")
        (folder / f"{number:06}_t{number}.down.sql").write_text(f"DROP TABLE t{number};\n")


def write_diesel(folder: Path) -> None:
    for number, date in enumerate(DATES, 1):
        version = folder / f"{date}-120000_t{number}"
        version.mkdir()
        (version / "up.sql").write_text(f"CREATE TABLE t{number} (a int);\n")
        (version / "down.sql").write_text(f"DROP TABLE t{number};\n")


def writing_marks(name: str, mark: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for number in (1, 2, 3):
            up, down = (f"-- {mark.format(word)}\n" for word in ("Up", "Down"))
            text = f"{up}CREATE TABLE t{number} (a int);\n\n{down}DROP TABLE t{number};\n"
            (folder / name.format(n=number)).write_text(text.replace("migrate:U", "migrate:u").replace(":D", ":d"))

    return write


def write_flyway(folder: Path) -> None:
    for number in (1, 2, 3):
        (folder / f"V{number}__add_t{number}.sql").write_text(f"CREATE TABLE t{number} (a int);\n")
        (folder / f"U{number}__drop_t{number}.sql").write_text(f"DROP TABLE t{number};\n")


# CRC-32 of the only line of each script, without its end: `printf 'CREATE TABLE t1 (a int);' | gzip`, bytes -8 to -5.
FLYWAY_CHECKSUMS = {
    "V1": -1043968566,
    "V2": 720500425,
    "V3": -986472969,
    "U1": -530292943,
    "U2": -884405006,
    "U3": -766362189,
}

FLYWAY_INSERT = (
    "INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by,"
    " execution_time, success)"
    " SELECT coalesce(max(installed_rank), 0) + 1, '{n}', {what}, current_user, 7, true FROM flyway_schema_history"
)


def flyway_row(prefix: str, words: str, kind: str) -> Callable[[Connection, int], None]:
    def insert(connection: Connection, number: int) -> None:
        name = f"{prefix}{number}__{words}_t{number}.sql"
        checksum = FLYWAY_CHECKSUMS[f"{prefix}{number}"]
        what = f"'{words} t{number}', '{kind}', '{name}', {checksum}"
        connection.execute(FLYWAY_INSERT.format(n=number, what=what).encode())

    return insert


SQITCH_PLAN = r"""%syntax-version=1.0.0
%project=shop
%uri=https://Shop.Example

users 2024-01-01T12:00:00Z Ann Example <ann@shop.example> # Who buys. # And\nhow \\ why
orders [users] 2024-01-02T12:00:00Z Ann Example <ann@shop.example> # What they buy.
@v1.0 2024-01-03T12:00:00Z Ann Example <ann@shop.example> # First.
users [users@v1.0 orders !other:thing] 2024-01-04T12:00:00Z Bob Größe <bob@shop.example> # Again.
@v1.1 2024-01-05T12:00:00Z Bob Größe <bob@shop.example>
"""
SQITCH_SCRIPTS = ("users@v1.0", "orders", "users")
SQITCH_CONF = '[core]\n\tengine = pg\n[user]\n\tname = Ann Example\n\temail = ann@shop.example\n[engine "pg"]\n'
# Recorded from sqitch 1.3.1 and this very plan.
SQITCH_IDS = (
    "6c9153b7d280d67fafcab1e0a903142d084090bd",
    "c491cdda8969c6d3c928cfa532173731cd01d8cd",
    "44182f7f623ee37322286e86738fdfacef20ed6e",
)
SQITCH_TAG_IDS = ("5f2ec136288b37b5033674fbbc210e664a5c3abe", "4af2b22d8810ebc2202060f125e307ddc5c81ec9")
SQITCH_HASHES = (
    "061a33096911cd1c401f3bd7dc064e9cacb406e4",
    "dca8ed0d141acdddac1eab2324fe3ac5cc0656c2",
    "a2deab53873c46dfd6bc9b7b35658dd968c17e4a",
)
_NAMES = ("users", "orders", "users")
_NOTES = ("Who buys. # And\nhow \\ why", "What they buy.", "Again.")
_PLANNED = ("2024-01-01T12:00:00Z", "2024-01-02T12:00:00Z", "2024-01-04T12:00:00Z")
_PLANNERS = (
    ("Ann Example", "ann@shop.example"),
    ("Ann Example", "ann@shop.example"),
    ("Bob Größe", "bob@shop.example"),
)
_NEEDS: tuple[list[str], ...] = ([], ["users"], ["users@v1.0", "orders"])
_CONFLICTS: tuple[list[str], ...] = ([], [], ["other:thing"])
_TAGS: tuple[list[str], ...] = ([], ["@v1.0"], ["@v1.1"])


def write_sqitch(folder: Path) -> None:
    (folder / "sqitch.plan").write_text(SQITCH_PLAN, encoding="utf-8")
    (folder / "sqitch.conf").write_text(SQITCH_CONF)
    for kind, text in (("deploy", "CREATE TABLE t{} (a int);\n"), ("revert", "DROP TABLE t{};\n")):
        (folder / kind).mkdir()
        for number, name in enumerate(SQITCH_SCRIPTS, 1):
            (folder / kind / f"{name}.sql").write_text(text.format(number))


def create_sqitch(connection: Connection) -> None:
    """As sqitch does it, with our own file: `test_real_tools` compares that with sqitch's."""
    text = (resources.files("squizzle.migrations.bookkeeping") / "sqitch_registry.sql").read_text()
    connection.execute(re.sub(r"\{\{\}\}", "{}", text.replace("{registry}", "sqitch")).encode())
    connection.execute("INSERT INTO sqitch.releases VALUES (1.1, now(), 'Ann Example', 'ann@shop.example')")
    connection.execute(
        "INSERT INTO sqitch.projects VALUES ('shop', 'https://Shop.Example', now(), 'Ann Example', 'ann@shop.example')"
    )


def sqitch_deploy(connection: Connection, number: int) -> None:
    at = number - 1
    planned = (_PLANNED[at], *_PLANNERS[at])
    committer = ("Ann Example", "ann@shop.example")
    connection.execute(
        "INSERT INTO sqitch.changes VALUES (%s, %s, %s, 'shop', %s, clock_timestamp(), %s, %s, %s, %s, %s)",
        (SQITCH_IDS[at], SQITCH_HASHES[at], _NAMES[at], _NOTES[at], *committer, *planned),
    )
    targets = {"users": SQITCH_IDS[0], "users@v1.0": SQITCH_IDS[0], "orders": SQITCH_IDS[1]}
    for need in _NEEDS[at]:
        values = (SQITCH_IDS[at], need, targets[need])
        connection.execute("INSERT INTO sqitch.dependencies VALUES (%s, 'require', %s, %s)", values)
    for need in _CONFLICTS[at]:
        values = (SQITCH_IDS[at], need)
        connection.execute("INSERT INTO sqitch.dependencies VALUES (%s, 'conflict', %s, NULL)", values)
    if _TAGS[at]:
        tag = (SQITCH_TAG_IDS[at - 1], _TAGS[at][0], SQITCH_IDS[at], ("First.", "")[at - 1], *committer)
        connection.execute(
            "INSERT INTO sqitch.tags VALUES (%s, %s, 'shop', %s, %s, clock_timestamp(), %s, %s, %s, %s, %s)",
            (*tag, ("2024-01-03T12:00:00Z", "2024-01-05T12:00:00Z")[at - 1], *_PLANNERS[at]),
        )
    sqitch_event(connection, "deploy", number)


def sqitch_revert(connection: Connection, number: int) -> None:
    for table in ("tags", "dependencies", "changes"):
        statement = sql.SQL("DELETE FROM sqitch.{} WHERE change_id = %s").format(sql.Identifier(table))
        connection.execute(statement, (SQITCH_IDS[number - 1],))
    sqitch_event(connection, "revert", number)


def sqitch_event(connection: Connection, event: str, number: int) -> None:
    at = number - 1
    arrays = (_NEEDS[at], _CONFLICTS[at], _TAGS[at])
    connection.execute(
        "INSERT INTO sqitch.events VALUES (%s, %s, %s, 'shop', %s, %s, %s, %s, clock_timestamp(), 'Ann Example',"
        " 'ann@shop.example', %s, %s, %s)",
        (event, SQITCH_IDS[at], _NAMES[at], _NOTES[at], *arrays, _PLANNED[at], *_PLANNERS[at]),
    )


SQITCH_ROWS = """
    SELECT 'project', row(project, uri, creator_name, creator_email)::text, '' AS at FROM sqitch.projects
    UNION ALL SELECT 'change', row(change_id, script_hash, change, project, note, committer_name, committer_email,
        planned_at, planner_name, planner_email)::text, 'c' || row_number() OVER (ORDER BY committed_at)
        FROM sqitch.changes
    UNION ALL SELECT 'tag', row(tag_id, tag, project, change_id, note, committer_name, committer_email, planned_at,
        planner_name, planner_email)::text, 't' || row_number() OVER (ORDER BY committed_at) FROM sqitch.tags
    UNION ALL SELECT 'dependency', d::text, 'd' || d::text FROM sqitch.dependencies d
    UNION ALL SELECT 'event', row(event, change_id, change, project, note, requires, conflicts, tags, committer_name,
        committer_email, planned_at, planner_name, planner_email)::text,
        'e' || row_number() OVER (ORDER BY committed_at) FROM sqitch.events
    ORDER BY 3, 2
"""

GOLANG_SET = ("TRUNCATE schema_migrations", "INSERT INTO schema_migrations (version, dirty) VALUES ({n}, false)")


def golang_revert(connection: Connection, number: int) -> None:
    connection.execute("TRUNCATE schema_migrations")
    if number > 1:
        connection.execute("INSERT INTO schema_migrations (version, dirty) VALUES (%s, false)", (number - 1,))


TOOLS = {
    tool.layout: tool
    for tool in (
        Tool(
            layout="golang-migrate",
            write=write_golang_migrate,
            create=executing(
                "CREATE TABLE IF NOT EXISTS schema_migrations (version bigint not null primary key,"
                " dirty boolean not null)"
            ),
            apply=executing(*GOLANG_SET),
            revert=golang_revert,
            rows="SELECT version, dirty FROM schema_migrations",
            table="public.schema_migrations",
        ),
        Tool(
            layout="diesel",
            write=write_diesel,
            create=executing(
                "CREATE TABLE IF NOT EXISTS __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,"
                " run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            ),
            apply=executing("INSERT INTO __diesel_schema_migrations (version) VALUES ('2024010{n}120000')"),
            revert=executing("DELETE FROM __diesel_schema_migrations WHERE version = '2024010{n}120000'"),
            rows="SELECT version FROM __diesel_schema_migrations ORDER BY version",
            table="public.__diesel_schema_migrations",
        ),
        Tool(
            layout="dbmate",
            write=writing_marks("2024010{n}120000_t{n}.sql", "migrate:{}"),
            create=executing('create table if not exists "public"."schema_migrations" (version varchar primary key)'),
            apply=executing("INSERT INTO schema_migrations (version) VALUES ('2024010{n}120000')"),
            revert=executing("DELETE FROM schema_migrations WHERE version = '2024010{n}120000'"),
            rows="SELECT version FROM schema_migrations ORDER BY version",
            table="public.schema_migrations",
        ),
        Tool(
            layout="goose",
            write=writing_marks("0000{n}_t{n}.sql", "+goose {}"),
            create=executing(
                "CREATE TABLE goose_db_version (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,"
                " version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now())",
                "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true)",
            ),
            apply=executing("INSERT INTO goose_db_version (version_id, is_applied) VALUES ({n}, true)"),
            revert=executing("DELETE FROM goose_db_version WHERE version_id = {n}"),
            rows="SELECT version_id, is_applied FROM goose_db_version ORDER BY id",
            table="public.goose_db_version",
        ),
        Tool(
            layout="sql-migrate",
            write=writing_marks("2024010{n}120000-t{n}.sql", "+migrate {}"),
            create=executing(
                'create table if not exists "gorp_migrations" ("id" text not null primary key,'
                ' "applied_at" timestamp with time zone)'
            ),
            apply=executing("INSERT INTO gorp_migrations VALUES ('2024010{n}120000-t{n}.sql', now())"),
            revert=executing("DELETE FROM gorp_migrations WHERE id = '2024010{n}120000-t{n}.sql'"),
            rows="SELECT id, applied_at IS NOT NULL FROM gorp_migrations ORDER BY id",
            table="public.gorp_migrations",
        ),
        Tool(
            layout="flyway",
            write=write_flyway,
            create=executing(
                'CREATE TABLE "public"."flyway_schema_history" ("installed_rank" INT NOT NULL, "version" VARCHAR(50),'
                ' "description" VARCHAR(200) NOT NULL, "type" VARCHAR(20) NOT NULL, "script" VARCHAR(1000) NOT NULL,'
                ' "checksum" INTEGER, "installed_by" VARCHAR(100) NOT NULL,'
                ' "installed_on" TIMESTAMP NOT NULL DEFAULT now(), "execution_time" INTEGER NOT NULL,'
                ' "success" BOOLEAN NOT NULL)',
                'ALTER TABLE "public"."flyway_schema_history" ADD CONSTRAINT "flyway_schema_history_pk"'
                ' PRIMARY KEY ("installed_rank")',
                'CREATE INDEX "flyway_schema_history_s_idx" ON "public"."flyway_schema_history" ("success")',
            ),
            apply=flyway_row("V", "add", "SQL"),
            revert=flyway_row("U", "drop", "UNDO_SQL"),
            rows="SELECT installed_rank, version, description, type, script, checksum, installed_by, success"
            " FROM flyway_schema_history ORDER BY installed_rank",
            table="public.flyway_schema_history",
        ),
        Tool(
            layout="sqitch",
            write=write_sqitch,
            create=create_sqitch,
            apply=sqitch_deploy,
            revert=sqitch_revert,
            rows=SQITCH_ROWS,
            table="sqitch.changes",
        ),
    )
}


def found(program: str) -> str | None:
    """Where a program is, or None."""
    return shutil.which(program)
