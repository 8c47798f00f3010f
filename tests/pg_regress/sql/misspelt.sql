\set VERBOSITY sqlstate
-- A name under `envelope.` that is no setting's. PostgreSQL 14 has no means to refuse it.
SELECT envelope.flush_cache() >= 0 AS loaded;
SET envelope.no_such_setting = 1;
