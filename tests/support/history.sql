#### baseline_dump
--
-- PostgreSQL database dump
--

-- Dumped from database version 9.6.24
-- Dumped by pg_dump version 9.6.24

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: touch(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.touch() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.changed_at := '2020-01-01 00:00:00+00'::timestamptz;
    RETURN NEW;
END;
$$;


SET default_tablespace = '';

--
-- Name: customer; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.customer (
    id integer NOT NULL,
    name text NOT NULL,
    note text,
    path text DEFAULT 'C:\temp\new'::text,
    changed_at timestamp with time zone,
    CONSTRAINT customer_name_check CHECK ((name <> ''::text))
);


--
-- Name: customer_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.customer_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.customer_id_seq OWNED BY public.customer.id;
ALTER TABLE ONLY public.customer ALTER COLUMN id SET DEFAULT nextval('public.customer_id_seq'::regclass);

--
-- Data for Name: customer; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.customer (id, name, note) FROM stdin;
1	O'Neil; DROP TABLE customer;	it's -- no comment
2	$$ open /* too	\N
3	tab\there	back\\slash
4	größe 日本	a "quoted; name"
\.


--
-- Name: customer_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.customer_id_seq', 4, true);

ALTER TABLE ONLY public.customer
    ADD CONSTRAINT customer_pkey PRIMARY KEY (id);

CREATE TRIGGER customer_touch BEFORE UPDATE ON public.customer FOR EACH ROW EXECUTE PROCEDURE public.touch();

--
-- PostgreSQL database dump complete
--

#### down
DROP TABLE customer;
DROP FUNCTION touch();
#### restricted_dump
--
-- PostgreSQL database dump
--

\restrict pXyAb12CdEf

-- Dumped from database version 18.1
-- Dumped by pg_dump version 18.1

SET statement_timeout = 0;
SET lock_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

CREATE TABLE public.country (
    code character(2) NOT NULL,
    name text NOT NULL
);

COPY public.country (code, name) FROM stdin WITH (FORMAT csv, HEADER, DELIMITER ';'); -- with a comment
code;name
de;"Germany; ""west""
and east"
jp;日本
\.

ALTER TABLE ONLY public.country ADD CONSTRAINT country_pkey PRIMARY KEY (code);

\unrestrict pXyAb12CdEf

#### down
DROP TABLE country;
#### unqualified_after_a_dump
CREATE TABLE found_in_public (a int);
#### down
DROP TABLE found_in_public;
#### functions
CREATE FUNCTION outer_body(n int) RETURNS text LANGUAGE plpgsql AS $outer$
DECLARE
    part text := $inner$ it's; $$ -- nested $inner$;
    list int[] := ARRAY[1, 2, 3];
BEGIN
    EXECUTE $q$ SELECT 'a;b' || $1 $q$ INTO part USING n;
    RETURN part || array_to_string(list[1:2], ',') || E'\n\'quoted\';\\';
END;
$outer$;

CREATE OR REPLACE FUNCTION sql_body(a text DEFAULT ';', b int = 2) RETURNS SETOF text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path FROM CURRENT
    AS 'SELECT $1 || '';'' -- comment
        /* and another; */ FROM generate_series(1, $2)';

DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE relname = 'made_by_do') THEN
        EXECUTE 'CREATE TABLE made_by_do (a int, b text DEFAULT '';'')';
    END IF;
END
$do$;

DO LANGUAGE plpgsql 'BEGIN PERFORM 1; END';

CREATE PROCEDURE add_rows(amount int)
LANGUAGE plpgsql AS $_$
BEGIN
    INSERT INTO made_by_do SELECT g, 'row ' || g FROM generate_series(1, amount) g;
END
$_$;
CALL add_rows(amount := 3);
#### down
DROP PROCEDURE add_rows(int); DROP TABLE made_by_do; DROP FUNCTION sql_body(text, int); DROP FUNCTION outer_body(int);
#### names_and_comments
/* outer /* nested; ' " */ still; outer */
CREATE TABLE "select; ""from""" (U&"d\0061t\+000061" int, "größe; m" text, "END" int, a$b int);
COMMENT ON TABLE "select; ""from""" IS 'it''s; a -- comment
over /* several */ lines';
COMMENT ON COLUMN "select; ""from"""."größe; m" IS U&'\0441\043B\043E\043D; '; -- ' an open one "
INSERT INTO "select; ""from""" VALUES (1, E'it\'s;\\', 2, 3), (4, $$;$$, 5, 6), (7, 'a' -- joined
    'b;', 8, 9);
SELECT U&'!0061;' UESCAPE '!', B'101', X'1F', 1<-1, 2 --minus
 +3;
#### down
DROP TABLE "select; ""from""";
#### enums
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE person (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood DEFAULT 'ok', past mood[]);
#### down
DROP TABLE person; DROP TYPE mood;
#### enum_values_used_at_once
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'happy' AFTER 'ok';
ALTER TYPE mood ADD VALUE 'it''s complicated';
ALTER TABLE person ALTER mood SET DEFAULT 'happy'::mood;
CREATE FUNCTION is_happy(m mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT m = 'happy' $$;
INSERT INTO person (mood) VALUES ('it''s complicated');
CREATE INDEX person_happy ON person (id) WHERE mood = 'happy';
#### down
DROP INDEX person_happy; DROP FUNCTION is_happy(mood);
ALTER TABLE person ALTER mood DROP DEFAULT;
UPDATE person SET mood = 'ok' WHERE mood::text NOT IN ('sad', 'ok');
ALTER TYPE mood RENAME TO mood_old;
CREATE TYPE mood AS ENUM ('sad', 'ok');
ALTER TABLE person ALTER mood TYPE mood USING mood::text::mood, ALTER past TYPE mood[] USING past::text[]::mood[];
ALTER TABLE person ALTER mood SET DEFAULT 'ok';
DROP TYPE mood_old;
#### enum_values_used_in_arrays
ALTER TYPE mood ADD VALUE 'proud';
INSERT INTO person (past) VALUES ('{sad,proud}'), (ARRAY[$$proud$$]::mood[]);
ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
#### down
DELETE FROM person WHERE past IS NOT NULL;
ALTER TYPE mood RENAME VALUE 'blue' TO 'sad';
#### atomic_bodies
CREATE FUNCTION grade(points int) RETURNS text
    LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT CASE WHEN points > 90 THEN 'A' WHEN points > 50 THEN (CASE points WHEN 51 THEN 'C' ELSE 'B' END) ELSE 'D' END;
END;

CREATE OR REPLACE PROCEDURE rename_customer(who int, new_name text)
BEGIN ATOMIC
    UPDATE customer SET name = new_name WHERE id = who;
    INSERT INTO found_in_public VALUES (who);
END;
CREATE FUNCTION one_return() RETURNS int RETURN 1;
#### down
DROP FUNCTION one_return(); DROP PROCEDURE rename_customer(int, text); DROP FUNCTION grade(int);
#### rules_and_views
CREATE TABLE audit (at int DEFAULT 0, what text);
CREATE VIEW customer_names AS SELECT id, name FROM customer WITH CASCADED CHECK OPTION;
CREATE RULE audit_insert AS ON INSERT TO found_in_public DO ALSO (
    INSERT INTO audit (what) VALUES ('insert; one');
    INSERT INTO audit (what) SELECT 'insert; two' WHERE new.a > 0;
);
CREATE OR REPLACE RULE no_delete AS ON DELETE TO country DO INSTEAD NOTHING;
INSERT INTO found_in_public VALUES (1), (0);
CREATE RECURSIVE VIEW numbers (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 5;
CREATE MATERIALIZED VIEW names_once AS SELECT DISTINCT name FROM customer WITH NO DATA;
CREATE UNIQUE INDEX ON names_once (name);
REFRESH MATERIALIZED VIEW names_once;
REFRESH MATERIALIZED VIEW CONCURRENTLY names_once;
#### down
DROP MATERIALIZED VIEW names_once; DROP VIEW numbers; DROP RULE no_delete ON country;
DROP RULE audit_insert ON found_in_public; DROP VIEW customer_names; DROP TABLE audit; DELETE FROM found_in_public;
#### triggers
CREATE TABLE ledger (
    id int PRIMARY KEY, amount numeric(10, 2) NOT NULL, parent int REFERENCES ledger DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE ledger_log (line text);
CREATE FUNCTION ledger_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger_log SELECT tg_op || ' ' || count(*) FROM new_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_after AFTER INSERT ON ledger REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_changed();
CREATE CONSTRAINT TRIGGER ledger_late AFTER UPDATE ON ledger DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (old.amount IS DISTINCT FROM new.amount) EXECUTE FUNCTION touch();
ALTER TABLE ledger DISABLE TRIGGER ledger_late;
-- The parent comes behind its child; checked at commit.
INSERT INTO ledger VALUES (2, 1.5, 1);
INSERT INTO ledger VALUES (1, 3, NULL);
SET CONSTRAINTS ALL IMMEDIATE;
#### down
DROP TABLE ledger; DROP FUNCTION ledger_changed(); DROP TABLE ledger_log;
#### indexes_concurrently
-- Why: searches by name.
CREATE INDEX CONCURRENTLY IF NOT EXISTS customer_name_idx ON customer (lower(name));
CREATE UNIQUE INDEX CONCURRENTLY ON customer (id, name) INCLUDE (note) WHERE note IS NOT NULL;
create index concurrently on public.customer using btree (changed_at desc nulls last);
CREATE INDEX CONCURRENTLY ON customer (changed_at);
DROP INDEX CONCURRENTLY IF EXISTS never_there;
#### down
DROP INDEX CONCURRENTLY customer_name_idx;
DROP INDEX customer_id_name_note_idx, customer_changed_at_idx, customer_changed_at_idx1;
#### own_transactions
BEGIN;
CREATE TABLE in_a_transaction (a int);
SAVEPOINT first;
INSERT INTO in_a_transaction VALUES (1);
SAVEPOINT second;
INSERT INTO in_a_transaction VALUES (2);
ROLLBACK TO SAVEPOINT second;
RELEASE SAVEPOINT first;
COMMIT;

START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE;
INSERT INTO in_a_transaction SELECT max(a) + 10 FROM in_a_transaction;
END;
begin transaction; /* nothing */ commit work;
ALTER TABLE in_a_transaction ADD b int DEFAULT 7;
COMMIT;
#### down
BEGIN;
DROP TABLE in_a_transaction;
END TRANSACTION;
#### partitions
CREATE TABLE measure (at date NOT NULL, value int) PARTITION BY RANGE (at);
CREATE TABLE measure_2024 PARTITION OF measure FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE measure_2025 (LIKE measure INCLUDING ALL);
ALTER TABLE measure ATTACH PARTITION measure_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE INDEX ON measure (at);
INSERT INTO measure VALUES ('2024-05-05', 1), ('2025-05-05', 2);
DO $$
BEGIN
    FOR month IN 1..3 LOOP
        EXECUTE format('CREATE TABLE measure_2026_%s PARTITION OF measure FOR VALUES FROM (%L) TO (%L)',
            month, make_date(2026, month, 1), make_date(2026, month + 1, 1));
    END LOOP;
END $$;
#### down
DROP TABLE measure;
#### partitions_concurrently
ALTER TABLE measure DETACH PARTITION measure_2024 CONCURRENTLY;
ALTER TABLE measure_2024 RENAME TO archive_2024;
REINDEX TABLE measure;
#### down
ALTER TABLE archive_2024 RENAME TO measure_2024;
ALTER TABLE measure_2024 DROP CONSTRAINT IF EXISTS measure_2024_at_check;
ALTER TABLE measure ATTACH PARTITION measure_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
#### types_and_domains
CREATE DOMAIN email AS text COLLATE "C" CHECK (VALUE ~ '^[^@;]+@[^@;]+$') CHECK (length(VALUE) < 200);
CREATE TYPE address AS (street text, zip varchar(10));
CREATE TYPE span AS RANGE (subtype = timestamptz);
CREATE TABLE booking (
    room int, during tsrange, contact email, place address, cost numeric GENERATED ALWAYS AS (room * 2.5) STORED,
    EXCLUDE USING gist (during WITH &&)
);
INSERT INTO booking (room, during, contact, place) VALUES (1, '[2024-01-01, 2024-01-02)', 'a@b', ROW('x; y', '1'));
ALTER DOMAIN email ADD CONSTRAINT short CHECK (length(VALUE) < 100) NOT VALID;
ALTER TYPE address ADD ATTRIBUTE value text CASCADE;
CREATE AGGREGATE total (numeric) (sfunc = numeric_add, stype = numeric, initcond = '0');
CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq, commutator = ===);
CREATE CAST (address AS text) WITH INOUT AS ASSIGNMENT;
CREATE STATISTICS booking_stats (dependencies) ON room, contact FROM booking;
CREATE TEXT SEARCH CONFIGURATION plain (COPY = pg_catalog.simple);
#### down
DROP TEXT SEARCH CONFIGURATION plain; DROP STATISTICS booking_stats; DROP CAST (address AS text);
DROP OPERATOR === (int, int); DROP AGGREGATE total (numeric); DROP TABLE booking;
DROP TYPE span, address; DROP DOMAIN email;
#### grants_and_policies
CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE TABLE app.secret (owner name DEFAULT current_user, body text);
GRANT INSERT (body), UPDATE ON app.secret TO pg_monitor WITH GRANT OPTION;
ALTER TABLE app.secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON app.secret AS RESTRICTIVE FOR ALL TO PUBLIC
    USING (owner = current_user) WITH CHECK (body <> ';');
REVOKE ALL ON FUNCTION one_return() FROM PUBLIC;
DO $$ BEGIN SECURITY LABEL ON TABLE app.secret IS 'classified'; EXCEPTION WHEN OTHERS THEN NULL; END $$;
CREATE ROLE history_of_tests NOLOGIN;
GRANT history_of_tests TO pg_monitor;
DROP ROLE history_of_tests;
#### down
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
GRANT EXECUTE ON FUNCTION one_return() TO PUBLIC;
DROP SCHEMA app CASCADE;
#### event_trigger
CREATE TABLE ddl_log (tag text, what text);
CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.ddl_log SELECT command_tag, object_identity FROM pg_event_trigger_ddl_commands()
    WHERE schema_name IS DISTINCT FROM 'pg_temp';
END $$;
CREATE EVENT TRIGGER log_all_ddl ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION log_ddl();
#### down
DROP EVENT TRIGGER log_all_ddl; DROP FUNCTION log_ddl(); DROP TABLE ddl_log;
#### session_state
SET LOCAL lock_timeout = '3s';
SET work_mem = '8MB';
LISTEN changes; NOTIFY changes, 'it''s; done'; UNLISTEN *;
LOCK TABLE customer IN SHARE ROW EXCLUSIVE MODE;
CREATE TEMP TABLE staging (a int, b text) ON COMMIT DROP;
INSERT INTO staging VALUES (1, 'x'), (2, ';');
DECLARE walk CURSOR FOR SELECT * FROM staging;
FETCH ALL FROM walk;
CLOSE walk;
PREPARE add_one (int) AS INSERT INTO found_in_public VALUES ($1);
EXECUTE add_one(41);
DEALLOCATE add_one;
SELECT pg_advisory_xact_lock(42);
CREATE TEMPORARY TABLE kept_until_the_end AS SELECT 1 AS a;
CREATE TABLE from_staging AS SELECT * FROM staging;
SET ROLE pg_monitor;
#### down
DROP TABLE from_staging; DELETE FROM found_in_public WHERE a = 41;
#### after_a_role
CREATE TABLE owned_by_us AS
SELECT to_regclass('kept_until_the_end') IS NULL AS clean, current_setting('work_mem') = '8MB' AS leaked;
#### down
DROP TABLE owned_by_us;
#### search_path_left_behind
CREATE SCHEMA IF NOT EXISTS elsewhere;
SET search_path TO elsewhere, public;
CREATE TABLE lies_elsewhere (a int);
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE;
#### down
DROP SCHEMA elsewhere CASCADE;
#### after_a_search_path
CREATE TABLE lies_in_public (a int);
INSERT INTO lies_in_public SELECT count(*) FROM pg_class WHERE relname = 'lies_in_public';
#### down
DROP TABLE lies_in_public
#### upkeep
VACUUM (ANALYZE) customer;
ANALYZE VERBOSE country;
REINDEX INDEX CONCURRENTLY customer_pkey;
REINDEX (VERBOSE) TABLE CONCURRENTLY customer;
CLUSTER customer USING customer_pkey;
CLUSTER;
CHECKPOINT;
ALTER SYSTEM RESET work_mem;
DISCARD ALL;
CREATE TABLE after_upkeep (a int);
#### down
DROP TABLE after_upkeep; ALTER TABLE customer SET WITHOUT CLUSTER;
#### nothing
#### down
#### comments_only
-- This was done by hand on 2024-03-01; see the wiki.
/* nothing
 * is left */
;;
#### down
-- nothing
#### from_windows
-- saved by an editor
CREATE TABLE windows (
	a int,
	b text DEFAULT 'two
lines'
);
COPY windows (a) FROM stdin;
1
2
\.
#### down
DROP TABLE windows;
#### for_psql
\set ON_ERROR_STOP on
\timing off
\pset pager off
\echo 'making; things'
  \set QUIET 1 \\ -- twice
CREATE TABLE
\echo in the middle
made_by_psql (a int);
\d made_by_psql
\unset QUIET
\q
#### down
\set ON_ERROR_STOP 1
DROP TABLE made_by_psql;
\quit
#### backfill_in_batches
CREATE TABLE many (id int PRIMARY KEY, done boolean);
INSERT INTO many SELECT g FROM generate_series(1, 25) g;
CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        UPDATE many SET done = true WHERE id IN (SELECT id FROM many WHERE done IS NULL LIMIT 10);
        EXIT WHEN NOT FOUND;
        COMMIT;
    END LOOP;
END $$;
CALL fill();
DO $$
BEGIN
    UPDATE many SET done = false WHERE id = 7;
    COMMIT;
    UPDATE many SET done = NULL WHERE id = 8;
    ROLLBACK;
END $$;
DROP PROCEDURE fill;
ALTER TABLE many ALTER done SET NOT NULL;
#### down
DROP TABLE many;
#### settings_for_new_sessions
CREATE SCHEMA tenant;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = tenant, public', current_database()); END $$;
CREATE TABLE still_public (a int);
#### down
DROP TABLE still_public; DROP SCHEMA tenant CASCADE;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET search_path', current_database()); END $$;
#### in_a_new_session
CREATE TABLE of_the_tenant (a int);
#### down
DROP TABLE tenant.of_the_tenant;
#### settings_back
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET search_path', current_database()); END $$;
#### down
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = tenant, public', current_database()); END $$;
#### colons
CREATE TABLE colons AS
SELECT a[1:2] AS slice, a[lo:hi] AS named, '1'::int AS one, '{"k": "v"}'::jsonb #>> '{k}' AS path, ':name'::text AS text,
    $$ :'name' $$ AS body, make_date(year => 2024, month := 5, day => 6) AS day
FROM (VALUES (ARRAY[1, 2, 3], 2, 3)) v (a, lo, hi);
#### down
DROP TABLE colons;
#### isolation
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
CREATE TABLE isolated AS SELECT current_setting('transaction_isolation') AS level;
#### down
DROP TABLE isolated;
#### identity_and_comments
CREATE TABLE invoice (
    id bigint GENERATED BY DEFAULT AS IDENTITY (START WITH 100 INCREMENT BY 5) PRIMARY KEY,
    customer_id int NOT NULL REFERENCES customer ON DELETE CASCADE ON UPDATE SET NULL,
    total numeric(12, 2) DEFAULT 0 CHECK (total >= 0),
    UNIQUE NULLS NOT DISTINCT (customer_id, total)
) WITH (fillfactor = 70, autovacuum_enabled = false);
COMMENT ON TABLE invoice IS $$What's owed; $$;
COMMENT ON CONSTRAINT invoice_total_check ON invoice IS NULL;
ALTER TABLE invoice ALTER total TYPE numeric(14, 2), ALTER total SET STATISTICS 500, REPLICA IDENTITY FULL;
ALTER TABLE invoice ADD CONSTRAINT paid CHECK (total < 1e6) NOT VALID;
ALTER TABLE invoice VALIDATE CONSTRAINT paid;
INSERT INTO invoice (customer_id, total) VALUES (1, 10), (2, 20) ON CONFLICT DO NOTHING;
WITH moved AS (DELETE FROM invoice WHERE total = 20 RETURNING *)
INSERT INTO invoice SELECT id + 1, customer_id, total FROM moved;
MERGE INTO invoice i USING (VALUES (1, 11.0)) s (customer_id, total) ON i.customer_id = s.customer_id
WHEN MATCHED THEN UPDATE SET total = s.total
WHEN NOT MATCHED THEN INSERT (customer_id, total) VALUES (s.customer_id, s.total);
CREATE PUBLICATION billing FOR TABLE invoice WHERE (total > 0) WITH (publish = 'insert, update');
#### down
DROP PUBLICATION billing; DROP TABLE invoice;
