"""envelope.lint() of a database with many tables, each with a column that is sealed."""

from . import place, timing

TABLES = 2_000
ROWS = 20


def measure():
    """Seconds, with all as it should be, so that every table is looked at in every respect; and of check() beside it."""
    with place.server() as cluster, cluster.connect() as connection:
        place.extensions(connection)
        connection.execute("CREATE TABLE first (v bytea); SELECT envelope.create_key('first')")
        connection.execute("CREATE PROCEDURE make() LANGUAGE plpgsql AS $$BEGIN "
                           f"FOR i IN 1..{TABLES} LOOP "
                           "EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, name text, v bytea, note jsonb)', i); "
                           "PERFORM envelope.share_keyring('first', format('t%s', i)::regclass); "
                           "EXECUTE format('INSERT INTO t%s SELECT g, md5(g::text), envelope_encrypt(''first'', ''x''), "
                           f"to_jsonb(repeat(''note '', 20)) FROM generate_series(1, {ROWS}) g', i); "
                           "EXECUTE format('CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t%s FOR EACH ROW "
                           "EXECUTE FUNCTION envelope_seal(''v'')', i); "
                           # NOT VALID, so that values are looked at.
                           "EXECUTE format('ALTER TABLE t%s ADD CHECK (envelope.is_sealed(v)) NOT VALID', i); "
                           "IF i % 200 = 0 THEN COMMIT; END IF; END LOOP; END$$")
        connection.execute("CALL make()")
        connection.execute("VACUUM ANALYZE")
        found = connection.execute("SELECT count(*) FILTER (WHERE severity = 'error'), count(*) FROM envelope.lint()")
        assert found.fetchone() == (0, TABLES)
        pid = connection.info.backend_pid
        took = timing.interleaved({"lint": lambda: connection.execute("SELECT count(*) FROM envelope.lint()")},
                                  timer=lambda work: timing.on_processor(pid, work))
        return {"tables": TABLES, "seconds": took["lint"] / 1e9}
