"""Every kind of change that a migration can make or forget, with its exact reversal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of the schema in `company.sql`.

    Attributes:
        do: A statement, or several.
        undo: What brings the start back exactly; empty where only a rollback does.
        since: The first server version that knows it.
        needs: A query that returns a row on servers that can do it; empty for all.
    """

    do: str
    undo: str = ""
    since: int = 0
    needs: str = ""


HSTORE = "SELECT FROM pg_available_extensions WHERE name = 'hstore'"
ICU = "SELECT FROM pg_collation WHERE collname = 'de-x-icu'"


def change(do: str, undo: str = "", *, since: int = 0, needs: str = "") -> Change:
    """Two statements, or only one."""
    return Change(do=do, undo=undo, since=since, needs=needs)


def made(what: str, name: str, rest: str = "", *, since: int = 0, needs: str = "") -> Change:
    """Something new, and its removal."""
    return change(f"CREATE {what} {name} {rest}".strip(), f"DROP {what} {name}", since=since, needs=needs)


def altered(what: str, there: str, back: str = "", *, since: int = 0) -> Change:
    """The same ALTER, there and back."""
    return change(f"ALTER {what} {there}", f"ALTER {what} {back}" if back else "", since=since)


def commented(what: str) -> Change:
    """A comment where there is none."""
    return change(f"COMMENT ON {what} IS 'it''s new'", f"COMMENT ON {what} IS NULL")


def granted(what: str, *, to: str = "{reader}") -> Change:
    """A privilege that was not there."""
    return change(f"GRANT {what} TO {to}", f"REVOKE {what} FROM {to}")


def owned(what: str) -> Change:
    """Another owner."""
    return change(f"ALTER {what} OWNER TO {{owner}}", f"ALTER {what} OWNER TO CURRENT_USER")


TABLES = [
    made("TABLE", "s.new", "(a int)"),
    made("TABLE", "s.new", "()"),
    made("TABLE", "s.new", "(LIKE s.u INCLUDING ALL)"),
    change("ALTER TABLE s.u RENAME TO w", "ALTER TABLE s.w RENAME TO u"),
    change(
        "CREATE SCHEMA other; ALTER TABLE s.u SET SCHEMA other", "ALTER TABLE other.u SET SCHEMA s; DROP SCHEMA other"
    ),
    altered("TABLE s.base", "SET UNLOGGED", "SET LOGGED"),
    altered("TABLE s.u", "SET (fillfactor = 70)", "RESET (fillfactor)"),
    altered("TABLE s.u", "SET (autovacuum_enabled = false)", "RESET (autovacuum_enabled)"),
    altered("TABLE s.u", "SET (toast.autovacuum_enabled = false)", "RESET (toast.autovacuum_enabled)"),
    altered("TABLE s.u", "SET (toast_tuple_target = 200)", "RESET (toast_tuple_target)"),
    altered("TABLE s.u", "ENABLE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY"),
    altered("TABLE s.u", "FORCE ROW LEVEL SECURITY", "NO FORCE ROW LEVEL SECURITY"),
    altered("TABLE s.base", "REPLICA IDENTITY FULL", "REPLICA IDENTITY DEFAULT"),
    altered("TABLE s.base", "REPLICA IDENTITY NOTHING", "REPLICA IDENTITY DEFAULT"),
    altered("TABLE s.parent", "REPLICA IDENTITY USING INDEX parent_pkey", "REPLICA IDENTITY DEFAULT"),
    altered("TABLE s.u", "CLUSTER ON u_a_idx", "SET WITHOUT CLUSTER"),
    altered("TABLE s.child", "NO INHERIT s.base"),
    change(
        "CREATE TYPE s.row3 AS (a int, b int, c text); ALTER TABLE s.u OF s.row3",
        "ALTER TABLE s.u NOT OF; DROP TYPE s.row3",
    ),
    change("DROP TABLE s.u"),
]

COLUMNS = [
    altered("TABLE s.u", "ADD COLUMN d int", "DROP COLUMN d"),
    altered("TABLE s.u", "ADD COLUMN d int GENERATED ALWAYS AS (a + 1) STORED", "DROP COLUMN d"),
    altered("TABLE s.u", "ADD COLUMN d int GENERATED ALWAYS AS (a + 1) VIRTUAL", "DROP COLUMN d", since=18),
    altered("TABLE s.t", "ALTER doubled SET EXPRESSION AS (number * 3)", since=17),
    altered("TABLE s.t", "ALTER doubled DROP EXPRESSION"),
    altered("TABLE s.u", "DROP COLUMN b"),
    altered("TABLE s.u", "RENAME COLUMN c TO d", "RENAME COLUMN d TO c"),
    altered("TABLE s.u", "ALTER c TYPE varchar(10)", "ALTER c TYPE text"),
    altered("TABLE s.p", "ALTER v TYPE bigint", "ALTER v TYPE int"),
    change(
        "DROP VIEW s.v; ALTER TABLE s.t ALTER name TYPE varchar(41)",
        "ALTER TABLE s.t ALTER name TYPE varchar(40); CREATE VIEW s.v AS SELECT id, name FROM s.t",
    ),
    change("ALTER TABLE s.t ALTER ratio TYPE numeric(5, 2)", "ALTER TABLE s.t ALTER ratio TYPE s.percent"),
    altered("TABLE s.u", "ALTER a SET NOT NULL", "ALTER a DROP NOT NULL"),
    altered("TABLE s.t", "ALTER name DROP NOT NULL", "ALTER name SET NOT NULL"),
    altered("TABLE s.u", "ALTER a SET DEFAULT 1", "ALTER a DROP DEFAULT"),
    altered("TABLE s.t", "ALTER name SET DEFAULT 'y'", "ALTER name SET DEFAULT 'x'"),
    altered("TABLE s.t", "ALTER name DROP DEFAULT", "ALTER name SET DEFAULT 'x'"),
    altered("TABLE s.u", "ALTER a SET DEFAULT nextval('s.numbers')", "ALTER a DROP DEFAULT"),
    altered("VIEW s.v", "ALTER name SET DEFAULT 'z'", "ALTER name DROP DEFAULT"),
    altered("TABLE s.t", "ALTER id SET GENERATED ALWAYS", "ALTER id SET GENERATED BY DEFAULT"),
    altered("TABLE s.t", "ALTER id SET INCREMENT 2", "ALTER id SET INCREMENT 1"),
    altered("TABLE s.t", "ALTER id DROP IDENTITY"),
    altered("TABLE s.u", "ALTER c SET STORAGE EXTERNAL", "ALTER c SET STORAGE EXTENDED"),
    altered("TABLE s.u", "ALTER c SET COMPRESSION pglz", "ALTER c SET COMPRESSION default"),
    altered("TABLE s.u", "ALTER c SET STATISTICS 500", "ALTER c SET STATISTICS -1"),
    altered("TABLE s.u", "ALTER c SET (n_distinct = 5)", "ALTER c RESET (n_distinct)"),
    altered("TABLE s.u", 'ALTER c TYPE text COLLATE "C"', 'ALTER c TYPE text COLLATE "default"'),
    change(
        'CREATE COLLATION s."C" (provider = libc, locale = \'POSIX\'); ALTER TABLE s.u ALTER c TYPE text COLLATE s."C"',
        'ALTER TABLE s.u ALTER c TYPE text COLLATE "default"; DROP COLLATION s."C"',
    ),
    altered("FOREIGN TABLE s.f", "ALTER a OPTIONS (SET name 'c')", "ALTER a OPTIONS (SET name 'b')"),
]

CONSTRAINTS = [
    altered("TABLE s.u", "ADD CONSTRAINT u_key UNIQUE (a)", "DROP CONSTRAINT u_key"),
    altered("TABLE s.u", "ADD CONSTRAINT u_key UNIQUE (a) DEFERRABLE", "DROP CONSTRAINT u_key"),
    altered("TABLE s.u", "ADD CONSTRAINT u_key UNIQUE NULLS NOT DISTINCT (a)", "DROP CONSTRAINT u_key"),
    altered("TABLE s.u", "ADD CONSTRAINT u_check CHECK (a > 0)", "DROP CONSTRAINT u_check"),
    altered("TABLE s.u", "ADD CONSTRAINT u_check CHECK (a > 0) NOT VALID", "DROP CONSTRAINT u_check"),
    altered("TABLE s.u", "ADD CONSTRAINT u_not_null NOT NULL a NOT VALID", "DROP CONSTRAINT u_not_null", since=18),
    altered("TABLE s.u", "ADD CONSTRAINT u_check CHECK (a > 0) NOT ENFORCED", "DROP CONSTRAINT u_check", since=18),
    altered("TABLE s.u", "ADD CONSTRAINT u_excl EXCLUDE (a WITH =)", "DROP CONSTRAINT u_excl"),
    altered("TABLE s.u", "ADD CONSTRAINT u_fkey FOREIGN KEY (a) REFERENCES s.parent", "DROP CONSTRAINT u_fkey"),
    altered("TABLE s.t", "DROP CONSTRAINT t_price_check", "ADD CONSTRAINT t_price_check CHECK (price >= 0)"),
    altered("TABLE s.t", "DROP CONSTRAINT t_name_key", "ADD CONSTRAINT t_name_key UNIQUE (name)"),
    altered("TABLE s.t", "RENAME CONSTRAINT t_price_check TO t_cheap", "RENAME CONSTRAINT t_cheap TO t_price_check"),
    altered(
        "TABLE s.t", "RENAME CONSTRAINT t_name_not_null TO odd", "RENAME CONSTRAINT odd TO t_name_not_null", since=18
    ),
    altered("TABLE s.t", "ALTER CONSTRAINT t_parent_fkey DEFERRABLE", "ALTER CONSTRAINT t_parent_fkey NOT DEFERRABLE"),
    change(
        "ALTER TABLE s.t DROP CONSTRAINT t_price_check, ADD CONSTRAINT t_price_check CHECK (price > 0)",
        "ALTER TABLE s.t DROP CONSTRAINT t_price_check, ADD CONSTRAINT t_price_check CHECK (price >= 0)",
    ),
    change(
        "ALTER TABLE s.t DROP CONSTRAINT t_price_check, ADD CONSTRAINT t_price_check CHECK (price >= 0) NOT VALID",
        "ALTER TABLE s.t VALIDATE CONSTRAINT t_price_check",
    ),
    change(
        "ALTER TABLE s.base DROP CONSTRAINT base_check, ADD CONSTRAINT base_check CHECK (a > 0) NO INHERIT",
        "ALTER TABLE s.base DROP CONSTRAINT base_check, ADD CONSTRAINT base_check CHECK (a > 0)",
    ),
    *(
        change(
            "ALTER TABLE s.t DROP CONSTRAINT t_parent_fkey,"
            f" ADD CONSTRAINT t_parent_fkey FOREIGN KEY (parent_id) REFERENCES s.parent (id) {other}",
            "ALTER TABLE s.t DROP CONSTRAINT t_parent_fkey,"
            " ADD CONSTRAINT t_parent_fkey FOREIGN KEY (parent_id) REFERENCES s.parent (id)",
        )
        for other in (
            "ON DELETE CASCADE",
            "ON DELETE SET NULL",
            "ON UPDATE CASCADE",
            "MATCH FULL",
            "DEFERRABLE INITIALLY DEFERRED",
            "NOT VALID",
        )
    ),
    altered("TABLE s.base", "ALTER a SET NOT NULL", since=18),
]

INDEXES = [
    change("CREATE INDEX u_b_idx ON s.u (b)", "DROP INDEX s.u_b_idx"),
    change("CREATE UNIQUE INDEX u_b_idx ON s.u (b)", "DROP INDEX s.u_b_idx"),
    change("DROP INDEX s.t_note_idx", "CREATE INDEX t_note_idx ON s.t (note)"),
    *(
        change(
            f"DROP INDEX s.t_note_idx; CREATE {other}",
            "DROP INDEX s.t_note_idx; CREATE INDEX t_note_idx ON s.t (note)",
        )
        for other in (
            "UNIQUE INDEX t_note_idx ON s.t (note)",
            "INDEX t_note_idx ON s.t (note DESC)",
            "INDEX t_note_idx ON s.t (note NULLS FIRST)",
            "INDEX t_note_idx ON s.t (note text_pattern_ops)",
            'INDEX t_note_idx ON s.t (note COLLATE "C")',
            "INDEX t_note_idx ON s.t (lower(note))",
            "INDEX t_note_idx ON s.t (note) WHERE number > 0",
            "INDEX t_note_idx ON s.t (note) INCLUDE (number)",
            "INDEX t_note_idx ON s.t USING hash (note)",
            "INDEX t_note_idx ON s.t (note, number)",
        )
    ),
    change("ALTER INDEX s.t_note_idx RENAME TO t_renamed_idx", "ALTER INDEX s.t_renamed_idx RENAME TO t_note_idx"),
    altered("INDEX s.t_note_idx", "SET (fillfactor = 60)", "RESET (fillfactor)"),
    change(
        "CREATE INDEX x_idx ON s.u ((a + b)); ALTER INDEX s.x_idx ALTER COLUMN 1 SET STATISTICS 700",
        "DROP INDEX s.x_idx",
    ),
    change("CREATE INDEX p_v_idx ON s.p (v)", "DROP INDEX s.p_v_idx"),
    change("CREATE INDEX p_v_idx ON ONLY s.p (v)", "DROP INDEX s.p_v_idx"),
    change("CREATE INDEX p1_v_idx ON s.p1 (v)", "DROP INDEX s.p1_v_idx"),
    change("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 's.t_note_idx'::regclass"),
]

COMMENTS = [
    commented(what)
    for what in (
        "TABLE s.t",
        "COLUMN s.t.name",
        "COLUMN s.v.name",
        "COLUMN s.pair.x",
        "INDEX s.t_note_idx",
        "INDEX s.t_pkey",
        "CONSTRAINT t_price_check ON s.t",
        "CONSTRAINT percent_range ON DOMAIN s.percent",
        "FUNCTION s.twice(int)",
        "PROCEDURE s.tidy()",
        "AGGREGATE s.total(int)",
        "TYPE s.mood",
        "TYPE s.pair",
        "DOMAIN s.percent",
        "SCHEMA s",
        "TRIGGER t_touch ON s.t",
        "RULE t_rule ON s.t",
        "POLICY t_policy ON s.t",
        "VIEW s.v",
        "MATERIALIZED VIEW s.m",
        "SEQUENCE s.numbers",
        "STATISTICS s.t_stats",
        "COLLATION s.plain",
        "OPERATOR s.=== (int, int)",
        "OPERATOR FAMILY s.ints USING btree",
        "OPERATOR CLASS s.int_class USING btree",
        "TEXT SEARCH DICTIONARY s.simple_dict",
        "TEXT SEARCH CONFIGURATION s.search",
        "CONVERSION s.to_utf",
        "CAST (s.pair AS text)",
        "FOREIGN DATA WRAPPER f_wrapper",
        "SERVER f_server",
        "FOREIGN TABLE s.f",
        "PUBLICATION pub",
        "EVENT TRIGGER ev",
    )
] + [
    change("CREATE EXTENSION hstore; COMMENT ON EXTENSION hstore IS 'new'", "DROP EXTENSION hstore", needs=HSTORE),
    change("COMMENT ON SCHEMA public IS 'new'"),
]

PRIVILEGES = [
    granted("SELECT ON s.t"),
    granted("SELECT ON s.t", to="PUBLIC"),
    granted("UPDATE (name) ON s.t"),
    granted("USAGE ON SCHEMA s"),
    granted("CREATE ON SCHEMA s"),
    granted("EXECUTE ON FUNCTION s.twice(int)"),
    granted("USAGE ON SEQUENCE s.numbers"),
    granted("SELECT ON s.v"),
    granted("USAGE ON FOREIGN SERVER f_server"),
    granted("USAGE ON FOREIGN DATA WRAPPER f_wrapper"),
    change("GRANT USAGE ON TYPE s.mood TO {reader}", "REVOKE USAGE ON TYPE s.mood FROM {reader}"),
    change("GRANT USAGE ON DOMAIN s.percent TO {reader}", "REVOKE USAGE ON DOMAIN s.percent FROM {reader}"),
    change("GRANT USAGE ON LANGUAGE plpgsql TO {reader}", "REVOKE USAGE ON LANGUAGE plpgsql FROM {reader}"),
    change("REVOKE SELECT ON s.u FROM {reader}", "GRANT SELECT ON s.u TO {reader}"),
    change("GRANT SELECT ON s.u TO {reader} WITH GRANT OPTION", "REVOKE GRANT OPTION FOR SELECT ON s.u FROM {reader}"),
    change("REVOKE EXECUTE ON FUNCTION s.twice(int) FROM PUBLIC", "GRANT EXECUTE ON FUNCTION s.twice(int) TO PUBLIC"),
    change("REVOKE USAGE ON TYPE s.mood FROM PUBLIC", "GRANT USAGE ON TYPE s.mood TO PUBLIC"),
    change("REVOKE INSERT ON s.t FROM CURRENT_USER", "GRANT INSERT ON s.t TO CURRENT_USER"),
    change("GRANT CREATE ON SCHEMA public TO PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
    change(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA d GRANT INSERT ON TABLES TO {reader}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA d REVOKE INSERT ON TABLES FROM {reader}",
    ),
    change(
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
    ),
    change(
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SCHEMAS TO {reader}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE USAGE ON SCHEMAS FROM {reader}",
    ),
]

OWNERS = [
    owned(what)
    for what in (
        "TABLE s.t",
        "SCHEMA s",
        "VIEW s.v",
        "MATERIALIZED VIEW s.m",
        "SEQUENCE s.numbers",
        "FUNCTION s.twice(int)",
        "PROCEDURE s.tidy()",
        "AGGREGATE s.total(int)",
        "TYPE s.mood",
        "TYPE s.pair",
        "DOMAIN s.percent",
        "STATISTICS s.t_stats",
        "COLLATION s.plain",
        "OPERATOR s.=== (int, int)",
        "OPERATOR FAMILY s.ints USING btree",
        "OPERATOR CLASS s.int_class USING btree",
        "TEXT SEARCH DICTIONARY s.simple_dict",
        "TEXT SEARCH CONFIGURATION s.search",
        "CONVERSION s.to_utf",
        "FOREIGN TABLE s.f",
    )
] + [
    # Their owners need rights on the whole database; a rollback takes them away again.
    change("ALTER ROLE {owner} SUPERUSER; ALTER PUBLICATION pub OWNER TO {owner}"),
    change("ALTER ROLE {owner} SUPERUSER; ALTER EVENT TRIGGER ev OWNER TO {owner}"),
    change("ALTER ROLE {owner} SUPERUSER; ALTER FOREIGN DATA WRAPPER f_wrapper OWNER TO {owner}"),
    change("ALTER ROLE {owner} SUPERUSER; ALTER SERVER f_server OWNER TO {owner}"),
]

VIEWS = [
    made("VIEW", "s.v2", "AS SELECT 1 AS one"),
    change(
        "CREATE OR REPLACE VIEW s.v AS SELECT id, name FROM s.t WHERE id > 0",
        "CREATE OR REPLACE VIEW s.v AS SELECT id, name FROM s.t",
    ),
    change(
        "CREATE OR REPLACE VIEW s.v AS SELECT id, name, note FROM s.t",
        "DROP VIEW s.v; CREATE VIEW s.v AS SELECT id, name FROM s.t",
    ),
    altered("VIEW s.v", "SET (security_barrier = true)", "RESET (security_barrier)"),
    altered("VIEW s.v", "SET (security_invoker = true)", "RESET (security_invoker)"),
    altered("VIEW s.v", "SET (check_option = local)", "RESET (check_option)"),
    change("ALTER VIEW s.v RENAME COLUMN name TO title", "ALTER VIEW s.v RENAME COLUMN title TO name"),
    made("MATERIALIZED VIEW", "s.m2", "AS SELECT 1 AS one"),
    change("REFRESH MATERIALIZED VIEW s.m WITH NO DATA", "REFRESH MATERIALIZED VIEW s.m"),
    change("DROP INDEX s.m_number_key", "CREATE UNIQUE INDEX m_number_key ON s.m (number)"),
    change(
        "DROP MATERIALIZED VIEW s.m;"
        " CREATE MATERIALIZED VIEW s.m AS SELECT number, max(id) AS n FROM s.t GROUP BY number"
    ),
]

TRIGGERS_AND_RULES = [
    change("DROP TRIGGER t_touch ON s.t"),
    change(
        "CREATE OR REPLACE TRIGGER t_touch AFTER UPDATE ON s.t FOR EACH ROW EXECUTE FUNCTION s.touch()",
        "CREATE OR REPLACE TRIGGER t_touch BEFORE UPDATE ON s.t FOR EACH ROW EXECUTE FUNCTION s.touch()",
    ),
    altered("TABLE s.t", "DISABLE TRIGGER t_touch", "ENABLE TRIGGER t_touch"),
    altered("TABLE s.t", "ENABLE ALWAYS TRIGGER t_touch", "ENABLE TRIGGER t_touch"),
    altered("TABLE s.t", "ENABLE REPLICA TRIGGER t_touch", "ENABLE TRIGGER t_touch"),
    altered("TABLE s.t", "DISABLE TRIGGER USER", "ENABLE TRIGGER USER"),
    altered("TABLE s.t", "DISABLE TRIGGER ALL", "ENABLE TRIGGER ALL"),
    altered("TABLE s.parent", "DISABLE TRIGGER ALL", "ENABLE TRIGGER ALL"),
    change("ALTER TRIGGER t_touch ON s.t RENAME TO t_other", "ALTER TRIGGER t_other ON s.t RENAME TO t_touch"),
    change("DROP RULE t_rule ON s.t"),
    change(
        "CREATE OR REPLACE RULE t_rule AS ON DELETE TO s.t WHERE old.number = 2 DO INSTEAD NOTHING",
        "CREATE OR REPLACE RULE t_rule AS ON DELETE TO s.t WHERE old.number = 1 DO INSTEAD NOTHING",
    ),
    altered("TABLE s.t", "DISABLE RULE t_rule", "ENABLE RULE t_rule"),
    change("DROP POLICY t_policy ON s.t"),
    change("ALTER POLICY t_policy ON s.t USING (number > 1)", "ALTER POLICY t_policy ON s.t USING (number > 0)"),
    change("ALTER POLICY t_policy ON s.t TO {reader}", "ALTER POLICY t_policy ON s.t TO PUBLIC"),
    change(
        "DROP POLICY t_policy ON s.t; CREATE POLICY t_policy ON s.t FOR ALL USING (number > 0)",
        "DROP POLICY t_policy ON s.t; CREATE POLICY t_policy ON s.t FOR SELECT USING (number > 0)",
    ),
    change(
        "DROP POLICY t_policy ON s.t; CREATE POLICY t_policy ON s.t AS RESTRICTIVE FOR SELECT USING (number > 0)",
        "DROP POLICY t_policy ON s.t; CREATE POLICY t_policy ON s.t FOR SELECT USING (number > 0)",
    ),
    change("CREATE POLICY t_new ON s.t FOR INSERT WITH CHECK (number > 0)", "DROP POLICY t_new ON s.t"),
    made("EVENT TRIGGER", "ev2", "ON sql_drop EXECUTE FUNCTION s.watch()"),
    change("ALTER EVENT TRIGGER ev DISABLE", "ALTER EVENT TRIGGER ev ENABLE"),
    change("ALTER EVENT TRIGGER ev ENABLE ALWAYS", "ALTER EVENT TRIGGER ev ENABLE"),
]

FUNCTIONS = [
    *(
        change(
            f"CREATE OR REPLACE FUNCTION s.twice(v int) RETURNS int {other}",
            "CREATE OR REPLACE FUNCTION s.twice(v int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT v * 2'",
        )
        for other in (
            "LANGUAGE sql IMMUTABLE AS 'SELECT v + v'",
            "LANGUAGE sql STABLE AS 'SELECT v * 2'",
            "LANGUAGE sql IMMUTABLE STRICT AS 'SELECT v * 2'",
            "LANGUAGE sql IMMUTABLE SECURITY DEFINER AS 'SELECT v * 2'",
            "LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT v * 2'",
            "LANGUAGE sql IMMUTABLE LEAKPROOF AS 'SELECT v * 2'",
            "LANGUAGE sql IMMUTABLE COST 7 AS 'SELECT v * 2'",
            "LANGUAGE sql IMMUTABLE SET search_path = s AS 'SELECT v * 2'",
            "LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN v * 2; END'",
            "LANGUAGE sql IMMUTABLE RETURN v * 2",
        )
    ),
    made("FUNCTION", "s.twice(v bigint)", "RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    change(
        "DROP FUNCTION s.even(int); CREATE FUNCTION s.even(v int DEFAULT 2) RETURNS boolean LANGUAGE sql IMMUTABLE"
        " AS 'SELECT v % 2 = 0'",
        "DROP FUNCTION s.even(int); CREATE FUNCTION s.even(v int) RETURNS boolean LANGUAGE sql IMMUTABLE"
        " AS 'SELECT v % 2 = 0'",
    ),
    change("CREATE OR REPLACE PROCEDURE s.tidy() LANGUAGE sql AS 'SELECT 2'"),
    *(
        change(
            f"CREATE OR REPLACE AGGREGATE s.total(int) (stype = int, {other})",
            "CREATE OR REPLACE AGGREGATE s.total(int) (sfunc = int4pl, stype = int, initcond = '0')",
        )
        for other in (
            "sfunc = int4mul, initcond = '0'",
            "sfunc = int4pl, initcond = '1'",
            "sfunc = int4pl, initcond = '0', combinefunc = int4pl",
            "sfunc = int4pl, initcond = '0', finalfunc = s.twice",
            "sfunc = int4pl, initcond = '0', sspace = 100",
            "sfunc = int4pl, initcond = '0', parallel = safe",
            "sfunc = int4pl, initcond = '0', finalfunc_modify = shareable",
            "sfunc = int4pl, initcond = '0', msfunc = int4pl, minvfunc = int4mi, mstype = int",
        )
    ),
    change(
        "CREATE OPERATOR s.!== (leftarg = int, rightarg = int, function = int4ne)",
        "DROP OPERATOR s.!== (int, int)",
    ),
    altered("OPERATOR s.=== (int, int)", "SET (restrict = eqsel)", "SET (restrict = none)"),
    change("ALTER OPERATOR FAMILY s.ints USING btree ADD OPERATOR 1 < (int, bigint)"),
    change("DROP OPERATOR CLASS s.int_class USING btree"),
    change("ALTER OPERATOR FAMILY s.ints USING btree RENAME TO more_ints"),
]

TYPES = [
    made("TYPE", "s.kind", "AS ENUM ('a')"),
    change("ALTER TYPE s.mood ADD VALUE 'top'"),
    change("ALTER TYPE s.mood ADD VALUE 'top' BEFORE 'low'"),
    change("ALTER TYPE s.mood RENAME VALUE 'low' TO 'bad'", "ALTER TYPE s.mood RENAME VALUE 'bad' TO 'low'"),
    change("CREATE TYPE s.kind AS ENUM ('b', 'a')", "DROP TYPE s.kind"),
    altered("TYPE s.pair", "ADD ATTRIBUTE z int", "DROP ATTRIBUTE z"),
    change("ALTER TYPE s.pair RENAME ATTRIBUTE x TO z", "ALTER TYPE s.pair RENAME ATTRIBUTE z TO x"),
    change("ALTER TYPE s.pair ALTER ATTRIBUTE x TYPE bigint", "ALTER TYPE s.pair ALTER ATTRIBUTE x TYPE int"),
    altered("DOMAIN s.percent", "SET NOT NULL", "DROP NOT NULL"),
    altered("DOMAIN s.percent", "SET DEFAULT 1", "SET DEFAULT 0"),
    altered("DOMAIN s.percent", "DROP DEFAULT", "SET DEFAULT 0"),
    altered("DOMAIN s.percent", "ADD CONSTRAINT odd CHECK (VALUE <> 13)", "DROP CONSTRAINT odd"),
    altered("DOMAIN s.percent", "ADD CONSTRAINT odd CHECK (VALUE <> 13) NOT VALID", "DROP CONSTRAINT odd"),
    altered("DOMAIN s.percent", "RENAME CONSTRAINT percent_range TO r", "RENAME CONSTRAINT r TO percent_range"),
    change(
        "ALTER DOMAIN s.percent DROP CONSTRAINT percent_range;"
        " ALTER DOMAIN s.percent ADD CONSTRAINT percent_range CHECK (VALUE BETWEEN 0 AND 100) NOT VALID",
        "ALTER DOMAIN s.percent VALIDATE CONSTRAINT percent_range",
    ),
    change(
        "DROP DOMAIN s.word;"
        " CREATE DOMAIN s.word AS text COLLATE s.plain CONSTRAINT word_short CHECK (length(VALUE) < 40)",
        'DROP DOMAIN s.word; CREATE DOMAIN s.word AS text COLLATE "C" CONSTRAINT word_short CHECK (length(VALUE) < 40)',
    ),
    change(
        "DROP TYPE s.span; CREATE TYPE s.span AS RANGE (subtype = float4)",
        "DROP TYPE s.span; CREATE TYPE s.span AS RANGE (subtype = float8, subtype_diff = float8mi)",
    ),
    change(
        "DROP TYPE s.span; CREATE TYPE s.span AS RANGE (subtype = float8)",
        "DROP TYPE s.span; CREATE TYPE s.span AS RANGE (subtype = float8, subtype_diff = float8mi)",
    ),
    change("ALTER TYPE s.span_multirange RENAME TO spans", "ALTER TYPE s.spans RENAME TO span_multirange"),
    change("CREATE CAST (text AS s.pair) WITH INOUT", "DROP CAST (text AS s.pair)"),
    change(
        "DROP CAST (s.pair AS text); CREATE CAST (s.pair AS text) WITH INOUT AS ASSIGNMENT",
        "DROP CAST (s.pair AS text); CREATE CAST (s.pair AS text) WITH INOUT",
    ),
    change(
        "DROP COLLATION s.plain; CREATE COLLATION s.plain (provider = libc, locale = 'POSIX')",
        "DROP COLLATION s.plain; CREATE COLLATION s.plain (provider = libc, locale = 'C')",
    ),
    change(
        "CREATE COLLATION s.sorted (provider = icu, locale = 'de', deterministic = false)",
        "DROP COLLATION s.sorted",
        needs=ICU,
    ),
]

SEQUENCES = [
    made("SEQUENCE", "s.more"),
    altered("SEQUENCE s.numbers", "INCREMENT 5", "INCREMENT 1"),
    altered("SEQUENCE s.numbers", "MINVALUE -5", "NO MINVALUE"),
    altered("SEQUENCE s.numbers", "MAXVALUE 1000", "NO MAXVALUE"),
    altered("SEQUENCE s.numbers", "START 7", "START 1"),
    altered("SEQUENCE s.numbers", "CACHE 20", "CACHE 1"),
    altered("SEQUENCE s.numbers", "CYCLE", "NO CYCLE"),
    altered("SEQUENCE s.numbers", "AS int", "AS bigint"),
    altered("SEQUENCE s.numbers", "OWNED BY s.u.a", "OWNED BY NONE"),
    altered("SEQUENCE s.numbers", "SET UNLOGGED", "SET LOGGED"),
    change("ALTER SEQUENCE s.numbers RENAME TO digits", "ALTER SEQUENCE s.digits RENAME TO numbers"),
]

PARTITIONS = [
    change("CREATE TABLE s.p3 PARTITION OF s.p FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')", "DROP TABLE s.p3"),
    change("ALTER TABLE s.p DETACH PARTITION s.p1"),
    change(
        "ALTER TABLE s.p ATTACH PARTITION s.loose_part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');"
        " DROP INDEX IF EXISTS s.nothing",
    ),
    change(
        "ALTER TABLE s.p DETACH PARTITION s.p1;"
        " ALTER TABLE s.p ATTACH PARTITION s.p1 FOR VALUES FROM ('2025-01-01') TO ('2025-12-31')",
        "ALTER TABLE s.p DETACH PARTITION s.p1;"
        " ALTER TABLE s.p ATTACH PARTITION s.p1 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    ),
    change(
        "UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 's.p1'::regclass",
    ),
    change(
        "CREATE TABLE s.q (a int) PARTITION BY LIST (a)",
        "DROP TABLE s.q",
    ),
]

OF_THE_DATABASE = [
    made("SCHEMA", "s2"),
    change("ALTER SCHEMA s RENAME TO s3", "ALTER SCHEMA s3 RENAME TO s"),
    made("EXTENSION", "hstore", needs=HSTORE),
    change("DROP EXTENSION IF EXISTS plpgsql CASCADE"),
    made("PUBLICATION", "pub2", "FOR ALL TABLES"),
    change("ALTER PUBLICATION pub ADD TABLE s.parent", "ALTER PUBLICATION pub DROP TABLE s.parent"),
    change("ALTER PUBLICATION pub SET TABLE s.u (a)", "ALTER PUBLICATION pub SET TABLE s.u"),
    change("ALTER PUBLICATION pub SET TABLE s.u WHERE (a > 1)", "ALTER PUBLICATION pub SET TABLE s.u"),
    change(
        "ALTER PUBLICATION pub SET (publish = 'insert')",
        "ALTER PUBLICATION pub SET (publish = 'insert, update, delete, truncate')",
    ),
    change(
        "ALTER PUBLICATION pub SET (publish_via_partition_root)",
        "ALTER PUBLICATION pub SET (publish_via_partition_root = false)",
    ),
    change(
        "ALTER PUBLICATION pub SET (publish_generated_columns = stored)",
        "ALTER PUBLICATION pub SET (publish_generated_columns = none)",
        since=18,
    ),
    change("ALTER PUBLICATION pub ADD TABLES IN SCHEMA s", "ALTER PUBLICATION pub DROP TABLES IN SCHEMA s"),
    change("ALTER STATISTICS s.t_stats SET STATISTICS 300", "ALTER STATISTICS s.t_stats SET STATISTICS -1"),
    change("DROP STATISTICS s.t_stats"),
    change(
        "DROP STATISTICS s.t_stats; CREATE STATISTICS s.t_stats (mcv) ON number, price FROM s.t",
        "DROP STATISTICS s.t_stats; CREATE STATISTICS s.t_stats (ndistinct) ON number, price FROM s.t",
    ),
    change("ALTER TEXT SEARCH DICTIONARY s.simple_dict (accept = false)"),
    change("ALTER TEXT SEARCH CONFIGURATION s.search ALTER MAPPING FOR word WITH s.simple_dict"),
    change("DROP CONVERSION s.to_utf"),
    change("CREATE FOREIGN DATA WRAPPER f2", "DROP FOREIGN DATA WRAPPER f2"),
    change(
        "ALTER FOREIGN DATA WRAPPER f_wrapper OPTIONS (ADD debug 'x')",
        "ALTER FOREIGN DATA WRAPPER f_wrapper OPTIONS (DROP debug)",
    ),
    change("ALTER SERVER f_server OPTIONS (SET host 'b')", "ALTER SERVER f_server OPTIONS (SET host 'a')"),
    change("ALTER SERVER f_server VERSION '2'"),
    change("ALTER FOREIGN TABLE s.f OPTIONS (SET path 'y')", "ALTER FOREIGN TABLE s.f OPTIONS (SET path 'x')"),
    change("CREATE USER MAPPING FOR {owner} SERVER f_server", "DROP USER MAPPING FOR {owner} SERVER f_server"),
    change("CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler", "DROP ACCESS METHOD heap2"),
    change("CREATE TRUSTED LANGUAGE lang2 HANDLER plpgsql_call_handler", "DROP LANGUAGE lang2"),
]

ALL = (
    TABLES
    + COLUMNS
    + CONSTRAINTS
    + INDEXES
    + COMMENTS
    + PRIVILEGES
    + OWNERS
    + VIEWS
    + TRIGGERS_AND_RULES
    + FUNCTIONS
    + TYPES
    + SEQUENCES
    + PARTITIONS
    + OF_THE_DATABASE
)
