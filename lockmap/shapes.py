"""One statement for each shape of the lock map."""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.analysis.locks.shapes import Kind, Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How one shape is measured.

    Attributes:
        shape: Which.
        statement: What is run; `{t}` is the table of each kind.
        kinds: The kinds of tables that it is run on.
        set_up: Run before in the same transaction; locks nothing of ours.
        transactional: False for what PostgreSQL refuses in a transaction: it is watched from a second session.
        stops_at: The table that is held so that it stops half way; only for what is watched.
    """

    shape: Shape
    statement: str
    kinds: tuple[Kind, ...] = (Kind.PLAIN,)
    set_up: str = ""
    transactional: bool = True
    stops_at: str = ""


_EVERY = (Kind.PLAIN, Kind.PARTITIONED, Kind.PARENT)
_PARTITIONED = (Kind.PARTITIONED,)


def _all(*pairs: tuple[Shape, str], kinds: tuple[Kind, ...] = (Kind.PLAIN,)) -> tuple[Probe, ...]:
    return tuple(Probe(shape=shape, statement=statement, kinds=kinds) for shape, statement in pairs)


_COLUMNS = (
    _all(
        (Shape.ADD_COLUMN, "ALTER TABLE {t} ADD COLUMN x int DEFAULT 1 NOT NULL"),
        (Shape.ADD_COLUMN_FILLED, "ALTER TABLE {t} ADD COLUMN x uuid DEFAULT gen_random_uuid()"),
        (Shape.ADD_COLUMN_SERIAL, "ALTER TABLE {t} ADD COLUMN x bigserial"),
        (Shape.ADD_COLUMN_IDENTITY, "ALTER TABLE {t} ADD COLUMN x int GENERATED ALWAYS AS IDENTITY"),
        (Shape.ADD_COLUMN_GENERATED, "ALTER TABLE {t} ADD COLUMN x int GENERATED ALWAYS AS (a * 2) STORED"),
        (Shape.ADD_COLUMN_VIRTUAL, "ALTER TABLE {t} ADD COLUMN x int GENERATED ALWAYS AS (a * 2) VIRTUAL"),
        (Shape.ADD_COLUMN_CHECK, "ALTER TABLE {t} ADD COLUMN x int CHECK (x > 0)"),
        (Shape.ADD_COLUMN_REFERENCES, "ALTER TABLE {t} ADD COLUMN x int REFERENCES {t}_u"),
        (Shape.DROP_COLUMN, "ALTER TABLE {t} DROP COLUMN u_id"),
        (Shape.DROP_COLUMN_CASCADE, "ALTER TABLE {t} DROP COLUMN a CASCADE"),
        (Shape.SET_NOT_NULL, "ALTER TABLE {t} ALTER k SET NOT NULL"),
        (Shape.DROP_NOT_NULL, "ALTER TABLE {t} ALTER k DROP NOT NULL"),
        (Shape.SET_DEFAULT, "ALTER TABLE {t} ALTER a SET DEFAULT 1"),
        (Shape.SET_STATISTICS, "ALTER TABLE {t} ALTER a SET STATISTICS 10"),
        (Shape.SET_COLUMN_OPTIONS, "ALTER TABLE {t} ALTER a SET (n_distinct = 5)"),
        (Shape.SET_STORAGE, "ALTER TABLE {t} ALTER b SET STORAGE EXTERNAL"),
        (Shape.SET_COMPRESSION, "ALTER TABLE {t} ALTER b SET COMPRESSION pglz"),
        (Shape.SET_EXPRESSION, "ALTER TABLE {t} ALTER g SET EXPRESSION AS (k + 2)"),
        (Shape.DROP_EXPRESSION, "ALTER TABLE {t} ALTER g DROP EXPRESSION"),
        (Shape.ALTER_TYPE, "ALTER TABLE {t} ALTER n TYPE numeric(12,4)"),
        (Shape.ALTER_TYPE_WIDER, "ALTER TABLE {t} ALTER c TYPE varchar(100)"),
        (Shape.ALTER_TYPE_OF_FOREIGN_KEY, "ALTER TABLE {t} ALTER u_id TYPE bigint"),
        (Shape.RENAME_COLUMN, "ALTER TABLE {t} RENAME c TO z"),
        kinds=_EVERY,
    )
    + _all(
        (Shape.ALTER_TYPE_OF_KEY, "ALTER TABLE {t} ALTER id TYPE bigint"),
        (Shape.SET_OPTIONS, "ALTER TABLE {t} SET (autovacuum_enabled = off)"),
        (Shape.SET_STRONG_OPTIONS, "ALTER TABLE {t} SET (user_catalog_table = true)"),
        (Shape.ADD_COLUMN_UNIQUE, "ALTER TABLE {t} ADD COLUMN x int UNIQUE"),
        kinds=(Kind.PLAIN, Kind.PARENT),
    )
    + _all(
        (Shape.ADD_IDENTITY, "ALTER TABLE counted ALTER a ADD GENERATED ALWAYS AS IDENTITY"),
        (Shape.SET_IDENTITY, "ALTER TABLE counted ALTER id SET GENERATED ALWAYS"),
        (Shape.DROP_IDENTITY, "ALTER TABLE counted ALTER id DROP IDENTITY"),
    )
)

_CONSTRAINTS = _all(
    (Shape.ADD_CHECK, "ALTER TABLE {t} ADD CHECK (a > 0)"),
    (Shape.ADD_CHECK_NOT_VALID, "ALTER TABLE {t} ADD CONSTRAINT x CHECK (a > 0) NOT VALID"),
    (Shape.ADD_NOT_NULL, "ALTER TABLE {t} ADD CONSTRAINT x NOT NULL k"),
    (Shape.ADD_NOT_NULL_NOT_VALID, "ALTER TABLE {t} ADD CONSTRAINT x NOT NULL k NOT VALID"),
    (Shape.VALIDATE_CHECK, "ALTER TABLE {t} VALIDATE CONSTRAINT {t}_positive"),
    (Shape.ADD_FOREIGN_KEY, "ALTER TABLE {t} ADD FOREIGN KEY (u_id) REFERENCES {t}_u"),
    (Shape.ADD_FOREIGN_KEY_NOT_VALID, "ALTER TABLE {t} ADD FOREIGN KEY (u_id) REFERENCES {t}_u NOT VALID"),
    (Shape.DROP_CONSTRAINT, "ALTER TABLE {t} DROP CONSTRAINT {t}_u_fk"),
    (Shape.DROP_CONSTRAINT_CASCADE, "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey CASCADE"),
    (Shape.ALTER_CONSTRAINT, "ALTER TABLE {t} ALTER CONSTRAINT {t}_u_fk DEFERRABLE"),
    (Shape.RENAME_CONSTRAINT, "ALTER TABLE {t} RENAME CONSTRAINT {t}_positive TO z"),
    kinds=_EVERY,
) + _all(
    (Shape.VALIDATE_FOREIGN_KEY, "ALTER TABLE t VALIDATE CONSTRAINT t_again"),
    (Shape.ADD_UNIQUE, "ALTER TABLE t ADD UNIQUE (a)"),
    (Shape.ADD_UNIQUE_USING_INDEX, "ALTER TABLE t ADD CONSTRAINT x UNIQUE USING INDEX t_b"),
    (Shape.ADD_PRIMARY_KEY, "ALTER TABLE keyless ADD PRIMARY KEY (id)"),
    (Shape.ADD_PRIMARY_KEY_USING_INDEX, "ALTER TABLE keyless ADD PRIMARY KEY USING INDEX keyless_a"),
    (Shape.ADD_EXCLUDE, "ALTER TABLE t ADD EXCLUDE USING btree (a WITH =)"),
)

_TABLES = (
    _all(
        (Shape.RENAME_TABLE, "ALTER TABLE {t} RENAME TO z"),
        (Shape.SET_SCHEMA, "ALTER TABLE {t} SET SCHEMA other"),
        (Shape.SET_OWNER, "ALTER TABLE {t} OWNER TO pg_monitor"),
        (Shape.ROW_SECURITY, "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY"),
        (Shape.SWITCH_TRIGGER, "ALTER TABLE {t} DISABLE TRIGGER {t}_trigger"),
        (Shape.SET_ACCESS_METHOD, "ALTER TABLE {t} SET ACCESS METHOD lock_map_heap"),
        (Shape.SET_TABLESPACE, "ALTER TABLE {t} SET TABLESPACE lock_map_space"),
        (Shape.REPLICA_IDENTITY, "ALTER TABLE {t} REPLICA IDENTITY FULL"),
        (Shape.CLUSTER_ON, "ALTER TABLE {t} CLUSTER ON {t}_a"),
        (Shape.WITHOUT_CLUSTER, "ALTER TABLE {t} SET WITHOUT CLUSTER"),
        (Shape.TRUNCATE_CASCADE, "TRUNCATE {t} CASCADE"),
        (Shape.CREATE_INDEX, "CREATE INDEX ON {t} (a)"),
        (Shape.CREATE_TRIGGER, "CREATE TRIGGER x BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION fill()"),
        (Shape.RENAME_TRIGGER, "ALTER TRIGGER {t}_trigger ON {t} RENAME TO z"),
        (Shape.DROP_TRIGGER, "DROP TRIGGER {t}_trigger ON {t}"),
        (Shape.CREATE_RULE, "CREATE RULE x AS ON DELETE TO {t} DO ALSO NOTHING"),
        (Shape.CREATE_POLICY, "CREATE POLICY x ON {t} USING (true)"),
        (Shape.ALTER_POLICY, "ALTER POLICY {t}_policy ON {t} USING (false)"),
        (Shape.DROP_POLICY, "DROP POLICY {t}_policy ON {t}"),
        (Shape.CREATE_STATISTICS, "CREATE STATISTICS x ON a, b FROM {t}"),
        (Shape.COMMENT_ON_TABLE, "COMMENT ON TABLE {t} IS 'x'"),
        (Shape.COMMENT_ON_COLUMN, "COMMENT ON COLUMN {t}.a IS 'x'"),
        (Shape.ANALYZE, "ANALYZE {t}"),
        (Shape.CREATE_PUBLICATION, "CREATE PUBLICATION lock_map_publication FOR TABLE {t}"),
        (Shape.LOCK_TABLE, "LOCK TABLE {t} IN SHARE MODE"),
        (Shape.GRANT, "GRANT SELECT ON {t} TO PUBLIC"),
        (Shape.DROP_INDEX, "DROP INDEX {t}_a"),
        (Shape.RENAME_INDEX, "ALTER INDEX {t}_a RENAME TO z"),
        (Shape.REPLACE_VIEW, "CREATE OR REPLACE VIEW {t}_v AS SELECT a, b FROM {t} WHERE a > 0"),
        kinds=_EVERY,
    )
    + _all(
        (Shape.DROP_TABLE_CASCADE, "DROP TABLE {t} CASCADE"),
        kinds=(Kind.PLAIN, Kind.PARTITIONED, Kind.PARENT, Kind.PARTITION, Kind.CHILD),
    )
    + _all(
        (Shape.SET_UNLOGGED, "ALTER TABLE alone SET UNLOGGED"),
        (Shape.RENAME_RULE, "ALTER RULE ruled_rule ON ruled RENAME TO z"),
        (Shape.RENAME_POLICY, "ALTER POLICY t_policy ON t RENAME TO z"),
        (Shape.INHERIT, "ALTER TABLE joins INHERIT base"),
        (Shape.NO_INHERIT, "ALTER TABLE joined NO INHERIT base"),
        (Shape.SWITCH_RULE, "ALTER TABLE ruled DISABLE RULE ruled_rule"),
        (Shape.DROP_RULE, "DROP RULE ruled_rule ON ruled"),
        (Shape.REINDEX_INDEX, "REINDEX INDEX t_a"),
        (Shape.REINDEX_TABLE, "REINDEX TABLE t"),
        (Shape.CLUSTER, "CLUSTER t USING t_a"),
        (Shape.TRUNCATE, "TRUNCATE keyless"),
        (Shape.TRUNCATE_RESTART_IDENTITY, "TRUNCATE alone RESTART IDENTITY"),
        (Shape.CREATE_TABLE, "CREATE TABLE x (id int PRIMARY KEY)"),
        (Shape.CREATE_TABLE_REFERENCES, "CREATE TABLE x (id int REFERENCES t_u)"),
        (Shape.CREATE_TABLE_INHERITS, "CREATE TABLE x () INHERITS (base)"),
        (Shape.CREATE_TABLE_LIKE, "CREATE TABLE x (LIKE t)"),
        (Shape.CREATE_TABLE_AS, "CREATE TABLE x AS SELECT * FROM t"),
        (Shape.SET_INDEX_OPTIONS, "ALTER INDEX t_a SET (fillfactor = 70)"),
        (Shape.SET_STRONG_INDEX_OPTIONS, "ALTER INDEX t_gin SET (fastupdate = off)"),
        (Shape.COMMENT_ON_INDEX, "COMMENT ON INDEX t_a IS 'x'"),
    )
)

_PARTITIONS = _all(
    (Shape.ATTACH_PARTITION, "ALTER TABLE {t} ATTACH PARTITION p2 FOR VALUES FROM (1000) TO (2000)"),
    (Shape.DETACH_PARTITION, "ALTER TABLE {t} DETACH PARTITION p1"),
    (Shape.CREATE_PARTITION, "CREATE TABLE x PARTITION OF {t} FOR VALUES FROM (5000) TO (6000)"),
    kinds=_PARTITIONED,
)

_ON_THEIR_OWN = (
    Probe(shape=Shape.ATTACH_INDEX, statement="ALTER INDEX d_id ATTACH PARTITION d1_id", kinds=_PARTITIONED),
    Probe(
        shape=Shape.DETACH_PARTITION_FINALIZE,
        statement="ALTER TABLE d DETACH PARTITION d1 FINALIZE",
        kinds=_PARTITIONED,
        # As an interrupted DETACH … CONCURRENTLY leaves it.
        set_up="SET LOCAL allow_system_table_mods = on;"
        " UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'd1'::regclass",
    ),
    Probe(shape=Shape.TRUNCATE, statement="TRUNCATE {t}_r, {t}", kinds=(Kind.PARTITIONED, Kind.PARENT)),
    Probe(shape=Shape.DROP_TABLE, statement="DROP TABLE alone"),
    Probe(shape=Shape.DROP_TABLE, statement="DROP TABLE {t}", kinds=(Kind.CHILD,)),
    Probe(shape=Shape.DROP_TABLE, statement="DROP TABLE d1", kinds=(Kind.PARTITION,)),
)

_OTHER_RELATIONS = _all(
    (Shape.CREATE_VIEW, "CREATE VIEW x AS SELECT a FROM t"),
    (Shape.ALTER_VIEW, "ALTER VIEW t_v SET (security_barrier = true)"),
    (Shape.RENAME_VIEW, "ALTER VIEW t_v RENAME TO z"),
    (Shape.DROP_VIEW, "DROP VIEW t_v"),
    (Shape.REFRESH, "REFRESH MATERIALIZED VIEW t_m"),
    (Shape.REFRESH_CONCURRENTLY, "REFRESH MATERIALIZED VIEW CONCURRENTLY t_m"),
    (Shape.DROP_MATERIALIZED_VIEW, "DROP MATERIALIZED VIEW t_m"),
    (Shape.CREATE_SEQUENCE, "CREATE SEQUENCE x"),
    (Shape.ALTER_SEQUENCE, "ALTER SEQUENCE numbers RESTART"),
    (Shape.RENAME_SEQUENCE, "ALTER SEQUENCE numbers RENAME TO z"),
    (Shape.DROP_SEQUENCE, "DROP SEQUENCE numbers"),
    (Shape.ALTER_DOMAIN, "ALTER DOMAIN positive ADD CHECK (VALUE > 0)"),
    (Shape.ALTER_DOMAIN_NOT_VALID, "ALTER DOMAIN positive ADD CHECK (VALUE > 0) NOT VALID"),
    (Shape.DROP_DOMAIN_CASCADE, "DROP DOMAIN positive CASCADE"),
    (Shape.DROP_FUNCTION_CASCADE, "DROP FUNCTION one() CASCADE"),
    (Shape.ADD_ENUM_VALUE, "ALTER TYPE mood ADD VALUE 'bad'"),
    (Shape.RENAME_ENUM_VALUE, "ALTER TYPE mood RENAME VALUE 'good' TO 'fine'"),
    (
        Shape.REPLACE_FUNCTION,
        "CREATE OR REPLACE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    ),
    (Shape.CREATE_TYPE, "CREATE TYPE pair AS (a int)"),
    (Shape.CREATE_SCHEMA, "CREATE SCHEMA third"),
    (Shape.SET_PARAMETER, "SET LOCAL work_mem = '8MB'"),
)

_ROWS = _all(
    (Shape.INSERT, "INSERT INTO {t} (id, a) VALUES (500, 500)"),
    (Shape.UPDATE, "UPDATE {t} SET k = 1"),
    (Shape.DELETE, "DELETE FROM {t}"),
    (Shape.SELECT_FOR_UPDATE, "SELECT * FROM {t} FOR UPDATE"),
    kinds=_EVERY,
) + _all((Shape.MERGE, "MERGE INTO t USING t_u ON t.id = t_u.id WHEN MATCHED THEN UPDATE SET k = 2"))

_WATCHED = tuple(
    Probe(shape=shape, statement=statement, kinds=(kind,), transactional=False, stops_at=table)
    for shape, statement, kind, table in (
        (Shape.CREATE_INDEX_CONCURRENTLY, "CREATE INDEX CONCURRENTLY x ON alone (a)", Kind.PLAIN, "alone"),
        (Shape.REINDEX_INDEX_CONCURRENTLY, "REINDEX INDEX CONCURRENTLY x", Kind.PLAIN, "alone"),
        (Shape.REINDEX_TABLE_CONCURRENTLY, "REINDEX TABLE CONCURRENTLY alone", Kind.PLAIN, "alone"),
        (Shape.DROP_INDEX_CONCURRENTLY, "DROP INDEX CONCURRENTLY x", Kind.PLAIN, "alone"),
        (
            Shape.DETACH_PARTITION_CONCURRENTLY,
            "ALTER TABLE d DETACH PARTITION d2 CONCURRENTLY",
            Kind.PARTITIONED,
            "d",
        ),
        (Shape.VACUUM, "VACUUM alone", Kind.PLAIN, "alone"),
        (Shape.VACUUM_FULL, "VACUUM FULL alone", Kind.PLAIN, "alone"),
    )
)

# In the order of the map; what is watched changes the database for good and comes last.
PROBES: tuple[Probe, ...] = (
    *_COLUMNS,
    *_CONSTRAINTS,
    *_TABLES,
    *_PARTITIONS,
    *_ON_THEIR_OWN,
    *_OTHER_RELATIONS,
    *_ROWS,
    *_WATCHED,
)
