-- What a grown company has in its catalogue: everything whose text a dump and a restore may bring back otherwise.
-- The placeholders are role names, the older one last.
ALTER SCHEMA public OWNER TO {older};
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA "Odd ""Names"" ☃";
CREATE SCHEMA "MixedCase" AUTHORIZATION {newer};
CREATE SCHEMA app;
SET search_path = app, public;

CREATE TYPE state AS ENUM ('new', 'open', 'it''s done', 'Ünïcode');
CREATE TYPE point3 AS (x float8, y float8, "Z z" float8);
CREATE TYPE floats AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE DOMAIN code AS varchar(8) DEFAULT 'a' || 'b' CONSTRAINT code_known CHECK (VALUE IN ('ab', 'cd', 'it''s'));
CREATE DOMAIN code3 AS char(3) CHECK (VALUE IN ('EUR', 'PLN') AND VALUE <> 'XXX' AND VALUE BETWEEN 'AAA' AND 'ZZZ');
CREATE DOMAIN mail AS text COLLATE "C" NOT NULL CHECK (VALUE ~ '^[^@ ]+@[^@]+$' OR VALUE = '' OR VALUE = 'unknown');
CREATE DOMAIN late AS int CHECK (VALUE > 0);
ALTER DOMAIN late ADD CONSTRAINT late_small CHECK (VALUE NOT IN (13, 666)) NOT VALID;
COMMENT ON CONSTRAINT late_small ON DOMAIN late IS 'is validated never';

CREATE SEQUENCE shared INCREMENT 5 MINVALUE -100 START 7 CACHE 3 CYCLE MAXVALUE 100000;
CREATE SEQUENCE downwards INCREMENT -1;
CREATE UNLOGGED TABLE scratch (id serial, v text);

CREATE FUNCTION app.is_short(v text, list varchar[] DEFAULT ARRAY['a', 'b']) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN length(v) BETWEEN 1 AND 50 AND (v <> ALL (list) OR v = 'it''s' OR v IS NULL);
CREATE FUNCTION app.flow(v varchar) RETURNS TABLE (a int, b text) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT 1, v WHERE v IN ('x', 'y') AND v BETWEEN 'a' AND 'z';
    SELECT n, n::text FROM generate_series(1, 3) AS n WHERE n IN (1, 2) OR n = 3 OR n > 5;
END;
CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = app, pg_temp AS
$body$ BEGIN new.note := 'stamped and ''quoted'' $1'; RETURN new; END $body$;
CREATE FUNCTION app.note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION app.look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE PROCEDURE app.work(INOUT n int) LANGUAGE plpgsql AS 'BEGIN n := n + 1; END';
CREATE AGGREGATE app.longest(text) (sfunc = pg_catalog.textcat, stype = text, initcond = 'it''s', parallel = safe);
CREATE OPERATOR app.@@@ (leftarg = int, rightarg = int, function = int4eq, commutator = OPERATOR(app.@@@));
CREATE CAST (point3 AS text) WITH INOUT AS ASSIGNMENT;
CREATE COLLATION app.plain (provider = libc, locale = 'C');
CREATE TEXT SEARCH DICTIONARY app.words (template = pg_catalog.simple, accept = false);
CREATE TEXT SEARCH CONFIGURATION app.search (copy = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION app.search ALTER MAPPING FOR word, asciiword WITH app.words, pg_catalog.simple;

CREATE TABLE people (
    id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 2) PRIMARY KEY,
    role varchar(16) NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin', 'it''s odd')),
    second_role varchar(16) CONSTRAINT second_is_other CHECK (second_role NOT IN (role, 'root')),
    third_role varchar(16) CONSTRAINT third_is_other CHECK (third_role <> ALL (ARRAY[role, second_role])),
    tags varchar(10)[] DEFAULT ARRAY['a', 'b'] CONSTRAINT tags_known CHECK (tags <@ ARRAY['a', 'b', 'c']::varchar[]),
    initials char(2) CHECK (initials IN ('AB', 'CD')),
    state state NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'open') OR state = 'it''s done'),
    code code,
    currency code3 DEFAULT 'EUR',
    mail mail DEFAULT 'unknown',
    age smallint CHECK (age BETWEEN 0 AND 150 AND age <> 13 AND (age NOT BETWEEN 20 AND 30 OR age = 25 OR age IS NULL)),
    born date CHECK (born > '1900-01-01' AND born < '2100-12-31'::date),
    waits interval DEFAULT '1 day 02:03:04.5',
    ratio float8 DEFAULT 0.1::float8 + 1e-7,
    amount numeric(10, 2) DEFAULT -1.50,
    full_amount numeric GENERATED ALWAYS AS
        (CASE WHEN role IN ('user', 'admin') AND amount BETWEEN 0 AND 10 AND age > 1 THEN amount * 2 ELSE -1 END) STORED,
    place point3 DEFAULT ROW(1, 2, 3)::point3,
    span floats DEFAULT '[1,2)',
    raw bytea DEFAULT '\x00ff27',
    facts jsonb DEFAULT '{{"a": [1, 2.50], "ключ": null}}',
    seen timestamptz DEFAULT '2024-02-03 04:05:06+07',
    number int DEFAULT nextval('shared'),
    note text DEFAULT E'tab\there \\ back',
    "Quoted ""col"" ☃" text,
    CHECK ((role, state) IN (('user', 'new'), ('admin', 'open')) OR app.is_short(note) AND note ILIKE '%a_b%' ESCAPE '#'),
    EXCLUDE USING gist (span WITH &&) WHERE (role IN ('user', 'admin') AND age > 3 AND age < 9)
);
ALTER TABLE people ADD CONSTRAINT old_rows CHECK (note <> '' AND (age > 0 AND age < 200)) NOT VALID;
ALTER TABLE people ADD COLUMN gone int, ADD COLUMN later int DEFAULT 5;
ALTER TABLE people DROP COLUMN gone;
ALTER TABLE people ALTER note SET STORAGE EXTERNAL, ALTER note SET STATISTICS 300, ALTER note SET (n_distinct = -0.5);
ALTER TABLE people SET (fillfactor = 80, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE people CLUSTER ON people_pkey;
CREATE INDEX people_partial ON people (lower(note), (age + 1) DESC NULLS LAST)
    WHERE role IN ('user', 'admin') AND age BETWEEN 1 AND 9 AND (state = 'new' OR state = 'open' OR born IS NULL);
CREATE UNIQUE INDEX people_tail ON people (id) INCLUDE (note) WITH (fillfactor = 70);
CREATE UNIQUE INDEX people_nulls ON people (code, number) NULLS NOT DISTINCT;
CREATE INDEX people_facts ON people USING gin (facts jsonb_path_ops);
CREATE INDEX people_ops ON people (note text_pattern_ops, note COLLATE "C");
CREATE INDEX people_expression ON people ((CASE WHEN role IN ('a', 'b') THEN 1 ELSE 2 END), ((role || 'x') = 'y'));
ALTER INDEX people_expression ALTER COLUMN 1 SET STATISTICS 400;
CREATE STATISTICS people_kinds (ndistinct, mcv) ON role, state, (role IN ('x', 'y') AND age BETWEEN 1 AND 2) FROM people;
ALTER STATISTICS people_kinds SET STATISTICS 200;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE OF note ON people FOR EACH ROW
    WHEN (new.role IN ('user', 'admin') AND new.age BETWEEN 1 AND 9 AND (new.state = 'new' OR new.born IS NULL))
    EXECUTE FUNCTION app.stamp();
CREATE TRIGGER asleep AFTER DELETE ON people FOR EACH STATEMENT EXECUTE FUNCTION app.look();
ALTER TABLE people DISABLE TRIGGER asleep;
ALTER TABLE people ENABLE ALWAYS TRIGGER stamp;
CREATE RULE keep_admins AS ON DELETE TO people
    WHERE old.role IN ('admin', 'root') AND old.age BETWEEN 1 AND 9 AND old.id > 3 DO INSTEAD NOTHING;
ALTER TABLE people ENABLE ROW LEVEL SECURITY;
ALTER TABLE people FORCE ROW LEVEL SECURITY;
CREATE POLICY see ON people FOR SELECT TO {newer}, {older}
    USING (role IN ('user', 'admin') AND age BETWEEN 1 AND 9 AND (state = 'new' OR state = 'open' OR note IS NULL));
CREATE POLICY write ON people AS RESTRICTIVE TO PUBLIC
    USING (true) WITH CHECK (role NOT IN ('root', 'it''s') AND (age > 1 AND age < 9));
COMMENT ON POLICY see ON people IS 'who''s who';
COMMENT ON RULE keep_admins ON people IS 'rule';
COMMENT ON CONSTRAINT old_rows ON people IS 'later';
COMMENT ON COLUMN people."Quoted ""col"" ☃" IS 'odd';

CREATE TABLE "Odd ""Names"" ☃"."Täble ""one"" .%s" (
    "Id" int PRIMARY KEY,
    "sel""ect" text DEFAULT 'x' CHECK ("sel""ect" IN ('x', 'y')),
    person bigint REFERENCES app.people ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    twin int
);
ALTER TABLE "Odd ""Names"" ☃"."Täble ""one"" .%s" ADD CONSTRAINT twins FOREIGN KEY (twin)
    REFERENCES "Odd ""Names"" ☃"."Täble ""one"" .%s" ON UPDATE CASCADE NOT VALID;
ALTER TABLE "Odd ""Names"" ☃"."Täble ""one"" .%s" OWNER TO {newer};
GRANT USAGE ON SCHEMA "Odd ""Names"" ☃" TO {newer};
CREATE TABLE "MixedCase"."Users" ("userId" serial, "NAME" text);
CREATE TABLE "MixedCase".users () INHERITS ("MixedCase"."Users");
ALTER TABLE "MixedCase".users ALTER "NAME" SET DEFAULT 'child', ADD CHECK ("NAME" <> 'x' AND "NAME" <> 'y' AND true);
ALTER TABLE "MixedCase"."Users" ADD CONSTRAINT no_heir CHECK ("NAME" IS NOT NULL) NO INHERIT NOT VALID;
CREATE TABLE nothing ();

CREATE TABLE events (
    at timestamptz NOT NULL, region varchar(8) NOT NULL, id bigint GENERATED BY DEFAULT AS IDENTITY, v numeric DEFAULT 1,
    CONSTRAINT events_known CHECK (region IN ('eu', 'us', 'odd one') AND (v BETWEEN 0 AND 9 OR v = 99 OR v IS NULL)),
    PRIMARY KEY (at, region, id)
) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2026-01-01 00:00+00')
    PARTITION BY LIST (region);
CREATE TABLE events_2025_eu PARTITION OF events_2025 FOR VALUES IN ('eu', 'odd one') PARTITION BY HASH (id);
CREATE TABLE events_2025_eu_0 PARTITION OF events_2025_eu FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE events_2025_eu_1 (v numeric, id bigint NOT NULL, gone int, region varchar(8) NOT NULL, at timestamptz NOT NULL);
ALTER TABLE events_2025_eu_1 DROP COLUMN gone;
ALTER TABLE events_2025_eu_1 ADD CONSTRAINT events_known
    CHECK (region IN ('eu', 'us', 'odd one') AND (v BETWEEN 0 AND 9 OR v = 99 OR v IS NULL));
ALTER TABLE events_2025_eu ATTACH PARTITION events_2025_eu_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE events_2025_rest PARTITION OF events_2025 DEFAULT WITH (fillfactor = 60);
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX events_v ON ONLY events (v) WHERE v > 1 AND v < 3 AND region IN ('eu', 'us');
CREATE INDEX events_rest_v ON events_rest (v) WHERE v > 1 AND v < 3 AND region IN ('eu', 'us');
ALTER INDEX events_v ATTACH PARTITION events_rest_v;
CREATE INDEX events_id ON events (id);
CREATE TRIGGER watch AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION app.look();
CREATE TABLE visits (at timestamptz, region varchar(8), id bigint,
    CONSTRAINT visits_event FOREIGN KEY (at, region, id) REFERENCES events ON DELETE CASCADE) PARTITION BY LIST (region);
CREATE TABLE visits_eu PARTITION OF visits FOR VALUES IN ('eu');
CREATE TABLE by_words (a varchar(9), b int) PARTITION BY LIST ((a IN ('x', 'y') AND b BETWEEN 1 AND 5 AND b <> 3));

CREATE VIEW adults AS
    SELECT p.id, p.role, p.age, CASE WHEN p.role IN ('user', 'admin') THEN 'a' ELSE p.note END AS kind,
           count(*) FILTER (WHERE p.state IN ('new', 'open') AND p.age BETWEEN 1 AND 5 AND p.age <> 3) OVER w AS n
    FROM people AS p WHERE (p.age >= 18 AND p.age < 100) AND (p.role = 'user' OR p.role = 'admin' OR p.role = 'x')
    WINDOW w AS (PARTITION BY p.role ORDER BY p.age ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
CREATE VIEW adult_users WITH (check_option = cascaded, security_barrier = true) AS
    SELECT id, role, age FROM people WHERE role IN ('user', 'admin') AND second_role IN (role, third_role);
CREATE VIEW "MixedCase"."Över view" AS
    WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 5 AND n > 0 AND n <> 4)
    SELECT a.id, u."NAME", up.n, a.kind = ANY (ARRAY['a', 'b']::varchar[]) AS listed, (a.*)::text AS whole,
           a.kind IN (SELECT role FROM app.people WHERE role IN ('q', 'r')) AS nested
    FROM app.adults a LEFT JOIN "MixedCase"."Users" u ON u."userId" = a.id AND u."NAME" IN ('q', 'r') AND a.n BETWEEN 1 AND 3
    CROSS JOIN up WHERE a.id IN (1, 2) OR a.id = 3 OR a.id BETWEEN 5 AND 6;
CREATE MATERIALIZED VIEW totals AS
    SELECT role, sum(amount) AS total FROM people WHERE role IN ('user', 'admin') AND age BETWEEN 1 AND 99 AND id > 0 GROUP BY role;
CREATE MATERIALIZED VIEW empty_totals AS SELECT * FROM totals WITH NO DATA;
CREATE UNIQUE INDEX totals_role ON totals (role);
CREATE RULE add_adult AS ON INSERT TO adults DO INSTEAD
    (INSERT INTO nothing DEFAULT VALUES; UPDATE people SET note = 'x' WHERE role IN ('a', 'b') AND id = new.id AND age > 1);

CREATE PUBLICATION a_few FOR TABLE people (id, role) WHERE (id IN (1, 2) AND id > 1 AND id < 9);
CREATE PUBLICATION by_schema FOR TABLES IN SCHEMA "MixedCase";
CREATE PUBLICATION all_of_it FOR ALL TABLES WITH (publish = 'insert, truncate', publish_via_partition_root);
CREATE EVENT TRIGGER quiet ON ddl_command_end WHEN tag IN ('CREATE AGGREGATE', 'DROP AGGREGATE') EXECUTE FUNCTION app.note_ddl();
ALTER EVENT TRIGGER quiet DISABLE;
CREATE FOREIGN DATA WRAPPER wrapper OPTIONS (debug 'true');
CREATE SERVER elsewhere TYPE 't' VERSION '1' FOREIGN DATA WRAPPER wrapper OPTIONS (host 'h', dbname 'it''s, odd');
CREATE USER MAPPING FOR {newer} SERVER elsewhere OPTIONS (password 'Planted');
CREATE FOREIGN TABLE far (a int OPTIONS (name 'b') CHECK (a IN (1, 2))) SERVER elsewhere OPTIONS (path 'x, y');

-- Rights that were given and taken again leave another text behind than rights that were never given.
GRANT USAGE ON SCHEMA app TO PUBLIC, {newer};
GRANT SELECT, UPDATE (note) ON people TO {newer} WITH GRANT OPTION;
GRANT SELECT ON visits TO {older};
REVOKE SELECT ON visits FROM {older};
GRANT EXECUTE ON FUNCTION app.is_short TO {newer};
REVOKE EXECUTE ON FUNCTION app.is_short FROM {newer};
REVOKE EXECUTE ON FUNCTION app.flow FROM PUBLIC;
REVOKE ALL ON nothing FROM CURRENT_USER;
GRANT UPDATE (v) ON events TO {older};
REVOKE UPDATE (v) ON events FROM {older};
GRANT USAGE ON TYPE state TO {older};
REVOKE USAGE ON TYPE state FROM {older};
REVOKE USAGE ON TYPE point3 FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO {older};
GRANT USAGE ON FOREIGN SERVER elsewhere TO {newer};
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO {newer}, {older};
ALTER DEFAULT PRIVILEGES FOR ROLE {newer} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

INSERT INTO people (role, state, initials, age, born, note, code, span, facts, raw, "Quoted ""col"" ☃")
    SELECT (ARRAY['user', 'admin'])[1 + n % 2], (ARRAY['new', 'open'])[1 + n % 2]::state, 'AB', 14 + n % 6, '1990-01-01'::date + n, 'note ' || n, 'ab',
           floats(n, n + 0.5), jsonb_build_object('n', n), decode(md5(n::text), 'hex'), repeat('☃', n % 7)
    FROM generate_series(1, 200) AS n;
INSERT INTO events (at, region, v) SELECT '2025-06-01'::timestamptz + n * interval '3 days', (ARRAY['eu', 'us', 'odd one'])[1 + n % 3], n % 9
    FROM generate_series(1, 120) AS n;
INSERT INTO visits SELECT at, region, id FROM events WHERE region = 'eu';
INSERT INTO "Odd ""Names"" ☃"."Täble ""one"" .%s" VALUES (1, 'x', 10, NULL), (2, 'y', 12, 1);
INSERT INTO "MixedCase"."Users" ("NAME") VALUES ('a'), ('b');
INSERT INTO "MixedCase".users ("NAME") VALUES ('c');
INSERT INTO nothing SELECT FROM generate_series(1, 3);
INSERT INTO scratch (v) VALUES ('kept'), (NULL), ('');
SELECT nextval('shared'), nextval('downwards'), nextval('downwards');
REFRESH MATERIALIZED VIEW totals;
