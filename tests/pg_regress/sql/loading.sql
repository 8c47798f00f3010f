-- check() tells of what needs a data key while a restore loads rows: those would be lost where keys come later.
-- It tells as well of what stores opened values in clear.
CREATE SCHEMA load;
SET client_min_messages = error;
CREATE TABLE load.pay (id int, amount bytea, CHECK (envelope.is_sealed(amount)));
SELECT envelope.create_key('load.pay') IS NOT NULL AS made;
RESET client_min_messages;
-- Only the shape is looked at, and a context is made: neither needs a key.
ALTER TABLE load.pay ADD CHECK (envelope_context('a', id::text) <> '');
CREATE VIEW load.needing AS
  SELECT relation, ok, sqlstate, regexp_replace(message, ' needs.*: ', ' needs: ') AS message FROM envelope.check()
  WHERE key_id IS NULL AND message ~ 'needs data keys|in clear';
SELECT * FROM load.needing;
ALTER TABLE load.pay ADD CONSTRAINT "opens it" CHECK (envelope_decrypt_text('load.pay', amount)::numeric > 0);
SELECT * FROM load.needing;
-- NOT VALID it is made after the rows.
ALTER TABLE load.pay DROP CONSTRAINT "opens it";
ALTER TABLE load.pay ADD CONSTRAINT "opens it" CHECK (envelope_decrypt_text('load.pay', amount)::numeric > 0) NOT VALID;
SELECT * FROM load.needing;
ALTER TABLE load.pay VALIDATE CONSTRAINT "opens it";
SELECT count(*) FROM load.needing;
ALTER TABLE load.pay DROP CONSTRAINT "opens it";
-- A domain.
CREATE DOMAIN load.amount AS bytea CONSTRAINT opens CHECK (envelope_decrypt('load.pay', VALUE) IS NOT NULL);
CREATE DOMAIN load.later AS bytea;
ALTER DOMAIN load.later ADD CONSTRAINT opens CHECK (envelope.reseal('load.pay', VALUE) IS NOT NULL) NOT VALID;
SELECT * FROM load.needing;
DROP DOMAIN load.amount, load.later;
-- By functions in between: with a body of standard SQL, of text, and one by another.
CREATE FUNCTION load.standard(v bytea) RETURNS numeric LANGUAGE sql IMMUTABLE
  RETURN envelope_decrypt_text('load.pay', v)::numeric;
CREATE FUNCTION load.by_it(v bytea) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN load.standard(v);
CREATE FUNCTION load.text(v bytea) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN RETURN public.envelope_decrypt_text('load.pay', v)::numeric; END $$;
CREATE FUNCTION load.harmless(v bytea) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN RETURN pg_catalog.length(v); END $$;
CREATE FUNCTION load.less(a bytea, b bytea) RETURNS boolean LANGUAGE sql RETURN load.standard(a) < load.standard(b);
CREATE OPERATOR load.<<< (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = load.less);
ALTER TABLE load.pay ADD CONSTRAINT c1 CHECK (load.by_it(amount) > 0);
ALTER TABLE load.pay ADD CONSTRAINT c2 CHECK (load.text(amount) > 0);
ALTER TABLE load.pay ADD CONSTRAINT c3 CHECK (load.harmless(amount) > 0);
ALTER TABLE load.pay ADD CONSTRAINT c4 CHECK (amount OPERATOR(load.<<<) amount);
SELECT * FROM load.needing;
ALTER TABLE load.pay DROP CONSTRAINT c1, DROP CONSTRAINT c2, DROP CONSTRAINT c3, DROP CONSTRAINT c4;
-- Generated columns, partition keys. Indexes can be built again and are told of, and those that store opened values
-- are not well.
ALTER TABLE load.pay ADD cents numeric GENERATED ALWAYS AS (load.standard(amount) * 100) STORED;
CREATE INDEX pay_amount ON load.pay (load.text(amount));
CREATE INDEX pay_some ON load.pay (id) WHERE load.standard(amount) > 9;
CREATE INDEX pay_id ON load.pay (id) WHERE load.harmless(amount) > 9;
CREATE INDEX pay_some_amount ON load.pay (load.standard(amount)) WHERE id > 9;
-- What seals stores nothing in clear.
CREATE FUNCTION load.seals(v bytea) RETURNS bytea LANGUAGE sql IMMUTABLE
  RETURN envelope.reseal('load.pay', v);
CREATE INDEX pay_sealed ON load.pay (load.seals(amount));
CREATE TABLE load.parts (amount bytea) PARTITION BY RANGE (load.standard(amount));
SELECT * FROM load.needing;
-- Statistics: PostgreSQL takes them of a function that is only STABLE. They can stand in another schema, and be of
-- columns beside.
CREATE SCHEMA "load 2";
CREATE STATISTICS "load 2"."of pay" ON (envelope_decrypt_text('load.pay', amount)) FROM load.pay;
CREATE STATISTICS load.by_it ON id, (load.by_it(amount)) FROM load.pay;
CREATE STATISTICS load.harmless ON id, (load.harmless(amount)) FROM load.pay;
CREATE STATISTICS load.seals ON id, (load.seals(amount)) FROM load.pay;
SELECT * FROM load.needing WHERE message ~ 'statistics';
DROP SCHEMA "load 2" CASCADE;
DROP STATISTICS load.by_it;
SELECT count(*) FROM load.needing WHERE message ~ 'statistics';
-- What re-encryption seals and looks at values by is for nobody else, but anybody may call it. It stays sealed.
CREATE FUNCTION load.anew(v bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN RETURN envelope.resealed('load.pay'::regclass, v, '', NULL, 'amount', '(0,1)'); END $$;
CREATE FUNCTION load.is_sound(v bytea) RETURNS boolean LANGUAGE sql IMMUTABLE
  RETURN envelope.is_sound('load.pay'::regclass, v, '', NULL, 'amount', '(0,1)');
CREATE TABLE load.rows (v bytea CHECK (load.is_sound(v)), sealed bytea GENERATED ALWAYS AS (load.anew(v)) STORED);
CREATE INDEX rows_sealed ON load.rows (load.anew(v));
CREATE STATISTICS load.rows_sealed ON (envelope.resealed('load.pay'::regclass, v, '', NULL, 'amount', '(0,1)')) FROM load.rows;
SELECT * FROM load.needing WHERE relation = 'load.rows';
-- Materialized views, also over views and over each other. A view stores nothing, nor does one without rows.
CREATE VIEW load.opened AS SELECT id, envelope_decrypt_text('load.pay', amount) AS amount FROM load.pay;
CREATE FUNCTION load.amounts() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT amount FROM load.opened; END;
CREATE MATERIALIZED VIEW load.stored AS SELECT id, load.text(amount) AS amount FROM load.pay;
CREATE MATERIALIZED VIEW load."by a view" AS SELECT max(amount) FROM load.opened;
CREATE MATERIALIZED VIEW load.by_another AS SELECT count(*) FROM load.stored;
CREATE MATERIALIZED VIEW load.by_a_function AS SELECT * FROM load.amounts();
CREATE MATERIALIZED VIEW load.empty AS SELECT amount FROM load.opened WITH NO DATA;
CREATE MATERIALIZED VIEW load.kept_sealed AS SELECT id, load.seals(amount) AS amount FROM load.pay;
CREATE UNIQUE INDEX stored_id ON load.stored (id);
SELECT * FROM load.needing WHERE message ~ 'view|stored';
-- Their owner is told.
ALTER MATERIALIZED VIEW load.stored OWNER TO envelope_owner;
SET ROLE envelope_owner;
SELECT relation, ok, sqlstate FROM envelope.check() WHERE message ~ 'view';
RESET ROLE;
DROP MATERIALIZED VIEW load.by_another, load.stored, load."by a view", load.by_a_function;
SELECT count(*) FROM load.needing WHERE message ~ 'view';
-- A partition's constraint and index are its root's.
CREATE TABLE load.root (y int, v bytea, CONSTRAINT opens CHECK (load.text(v) > 0)) PARTITION BY RANGE (y);
CREATE TABLE load.part PARTITION OF load.root FOR VALUES FROM (1) TO (2);
CREATE INDEX root_v ON load.root (load.text(v));
SELECT * FROM load.needing WHERE relation IN ('load.root', 'load.part');
-- Others are told of what they own.
ALTER TABLE load.root OWNER TO envelope_owner;
GRANT USAGE ON SCHEMA load TO envelope_owner, envelope_other;
SET ROLE envelope_owner;
SELECT relation, sqlstate FROM envelope.check() WHERE message ~ 'needs data keys|in clear' ORDER BY 2;
SET ROLE envelope_other;
SELECT count(*) FROM envelope.check() WHERE message ~ 'needs data keys|in clear';
RESET ROLE;
-- A CHECK by the shape that is NOT VALID lets nothing in, and says nothing of what is there.
CREATE VIEW load.unchecked AS SELECT relation, ok, sqlstate, message FROM envelope.check() WHERE message ~ 'is NOT (VALID|ENFORCED)';
CREATE TABLE load.late (v bytea);
ALTER TABLE load.late ADD CONSTRAINT "is it" CHECK (v IS NULL OR envelope.is_sealed(v)) NOT VALID;
ALTER TABLE load.late ADD CHECK (length(v) > 1) NOT VALID;
CREATE DOMAIN load.sealed AS bytea;
ALTER DOMAIN load.sealed ADD CONSTRAINT shape CHECK (envelope.is_sealed(VALUE)) NOT VALID;
SELECT * FROM load.unchecked;
ALTER TABLE load.late VALIDATE CONSTRAINT "is it";
ALTER DOMAIN load.sealed VALIDATE CONSTRAINT shape;
SELECT * FROM load.unchecked;
-- The rows of temporary and foreign tables are in no dump. Statistics of foreign tables stand here.
CREATE TEMP TABLE short (v bytea, CHECK (envelope_decrypt('load.pay', v) IS NOT NULL));
CREATE FOREIGN DATA WRAPPER load_fdw;
CREATE SERVER load_server FOREIGN DATA WRAPPER load_fdw;
CREATE FOREIGN TABLE load.far (v bytea, CHECK (envelope_decrypt('load.pay', v) IS NOT NULL)) SERVER load_server;
CREATE STATISTICS load.far ON (envelope_decrypt('load.pay', v)) FROM load.far;
SELECT * FROM load.needing WHERE relation !~ '^load' OR relation = 'load.far';
DROP TABLE short;
SET client_min_messages = error;
DROP SCHEMA load CASCADE;
DROP FOREIGN DATA WRAPPER load_fdw CASCADE;
