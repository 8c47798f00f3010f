-- Bringing values to the active key, online.

CREATE FUNCTION envelope.reseal(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_reseal_wrapper';
COMMENT ON FUNCTION envelope.reseal(regclass, bytea, text) IS
  'Brings a sealed value to the table''s active key: opens it, seals it anew, compares; gives it back as it is if it is under that key already';

CREATE FUNCTION envelope.resealed(
    relation oid, sealed bytea, context text, former_context text, column_name name, row_at tid)
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_resealed_wrapper';
COMMENT ON FUNCTION envelope.resealed(oid, bytea, text, text, name, tid) IS
  'For envelope.reencrypt: envelope.reseal of the value in that row, which was sealed under either context';

CREATE PROCEDURE envelope.reencrypt(
    relation regclass, column_name name, batch_size integer DEFAULT 1000, context text DEFAULT NULL,
    pause interval DEFAULT '0', max_lag bigint DEFAULT NULL, row_lock_timeout interval DEFAULT '10 s',
    quiet boolean DEFAULT false, verify boolean DEFAULT true, strict boolean DEFAULT false,
    on_damage text DEFAULT 'error')
  LANGUAGE plpgsql
  AS $$
  DECLARE
    expressions pg_catalog.record;
    key pg_catalog.text;
    complete boolean;
  BEGIN
    PERFORM envelope.sweep_begins('reencrypt');
    COMMIT;  -- in a function an error, before anything is done
    IF strict IS NULL OR verify IS NULL OR quiet IS NULL OR pause IS NULL OR row_lock_timeout IS NULL THEN
      RAISE EXCEPTION 'only the parameters context and max_lag may be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO expressions FROM envelope.sweep_expressions(relation, column_name, context, on_damage);
    key := CASE WHEN expressions.is_damaged IS NULL
                THEN pg_catalog.format('envelope.key_id_at(%s, ctid)', expressions.read)
                ELSE pg_catalog.format('envelope.key_id_if_read(%s)', expressions.value) END;
    CALL envelope.sweep(
      'reencrypt', relation, column_name, expressions.value,
      key OPERATOR(pg_catalog.||) ' OPERATOR(pg_catalog.=) ANY ($1)',
      pg_catalog.format('%s = envelope.resealed(%s, ctid)', expressions.target, expressions.cell),
      expressions.is_damaged, CASE WHEN verify THEN expressions.is_sound END,
      expressions.is_damaged IS NOT NULL, NULL, NULL, batch_size, pause, max_lag, row_lock_timeout, quiet, strict, complete);
  END $$;
COMMENT ON PROCEDURE envelope.reencrypt(
    regclass, name, integer, text, interval, bigint, interval, boolean, boolean, boolean, text) IS
  'Brings every value of a column to the table''s active key, in batches with a commit each; goes on where it was cut off; tells what it left alone, by a WARNING or, if strict, by an error';
