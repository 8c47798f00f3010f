\set VERBOSITY sqlstate
CREATE TABLE customers (id int PRIMARY KEY, ssn bytea);
CREATE TABLE patients (id int PRIMARY KEY, note bytea);

-- What is sealed opens, and is 58 bytes longer.
SELECT length(plaintext) AS bytes,
       envelope_decrypt('customers', sealed) = plaintext AS opens,
       length(sealed) - length(plaintext) AS overhead,
       envelope.is_sealed(sealed) AS looks_sealed
FROM (SELECT plaintext, envelope_encrypt('customers', plaintext) AS sealed
      FROM (VALUES (''::bytea), ('\x00'), ('\xf7e1'),
                   (convert_to(repeat('x', 15), 'UTF8')), (convert_to(repeat('x', 16), 'UTF8')),
                   (convert_to(repeat('x', 100000), 'UTF8'))) AS v (plaintext)) AS s;

-- Each call seals anew, also of a constant.
SELECT count(DISTINCT envelope_encrypt('customers', '\x01')) FROM generate_series(1, 1000);

-- Text is sealed as UTF-8.
SELECT envelope_decrypt_text('customers', envelope_encrypt_text('customers', 'Zoë – 名前')) AS text,
       envelope_decrypt('customers', envelope_encrypt_text('customers', 'Zoë'))
         = convert_to('Zoë', 'UTF8') AS is_utf8;
-- What is no text: its own SQLSTATE, no byte of it in the message.
SELECT envelope_decrypt_text('customers', envelope_encrypt('customers', '\xfe'));
SELECT envelope_decrypt_text('customers', envelope_encrypt('customers', '\x6100'));

-- NULL in, NULL out; a NULL relation or context is an error.
SELECT envelope_encrypt('customers', NULL) IS NULL AS sealed,
       envelope_decrypt('customers', NULL) IS NULL AS opened,
       envelope_encrypt_text('customers', NULL) IS NULL AS sealed_text,
       envelope_decrypt_text('customers', NULL) IS NULL AS opened_text;
SELECT envelope_encrypt(NULL, '\x00');
SELECT envelope_encrypt(NULL, NULL);
SELECT envelope_encrypt('customers', '\x00', NULL);
SELECT envelope_decrypt('customers', '\x00', NULL);

-- A context must be given again, byte for byte.
CREATE TABLE sealed AS SELECT envelope_encrypt('customers', '\x0102', 'ssn') AS v;
SELECT envelope_decrypt('customers', v, 'ssn') FROM sealed;
SELECT envelope_decrypt('customers', v, 'ssn ') FROM sealed;
SELECT envelope_decrypt('customers', v) FROM sealed;
SELECT envelope_context('ssn', '42') AS one, envelope_context('ssn', '4', '2') AS two,
       envelope_context('ссн', '', 'a:b,c') AS odd;
SELECT envelope_context('ssn', NULL);
SELECT envelope_context(NULL, 'x');
SELECT envelope_context('ssn', VARIADIC '{}') AS none;

-- A context is short.
SELECT length(envelope_encrypt('customers', '', repeat('x', 65536))) AS sealed;
SELECT envelope_encrypt('customers', '', repeat('x', 65537));
SELECT length(envelope_context(repeat('x', 70000), 'y'));
SELECT length(envelope_context('x', repeat('y', 70000)));
SELECT length(envelope_context('x', repeat('y', 2000000)));

-- Changed, cut, of another table, of no table: an error each.
SELECT envelope_decrypt('customers', set_byte(v, 45, get_byte(v, 45) # 1), 'ssn') FROM sealed;
SELECT envelope_decrypt('customers', set_byte(v, 0, 0), 'ssn') FROM sealed;
SELECT envelope_decrypt('customers', set_byte(v, 1, 226), 'ssn') FROM sealed;
SELECT envelope_decrypt('customers', substr(v, 1, length(v) - 1), 'ssn') FROM sealed;
SELECT envelope_decrypt('customers', substr(v, 1, 57), 'ssn') FROM sealed;
SELECT envelope_decrypt('customers', v || '\x00', 'ssn') FROM sealed;
SELECT envelope_decrypt('customers', '');
SELECT envelope_decrypt('customers', 'plaintext');
SELECT envelope_decrypt('patients', v, 'ssn') FROM sealed;
SELECT envelope_decrypt('customers', set_byte(v, 2, get_byte(v, 2) # 1), 'ssn') FROM sealed;

-- Relations that cannot have a key.
CREATE TEMP TABLE passing (v bytea);
CREATE VIEW shown AS SELECT 1 AS one;
SELECT envelope_encrypt('passing', '\x00');
SELECT envelope_encrypt('shown', '\x00');
SELECT envelope_encrypt(1::oid::regclass, '\x00');
SELECT envelope_encrypt('no_such_table', '\x00');

-- What a value says of itself, unopened.
SELECT format, key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'public.customers') AS known,
       version, relation, state, plaintext_length
FROM sealed, envelope.inspect(v);
SELECT * FROM envelope.inspect('plaintext');

-- The shape is told from header and length, whether a value stands in line, compressed or elsewhere.
CREATE TABLE shapes (id int, v bytea);
INSERT INTO shapes
SELECT id, head || decode(repeat('00', n), 'hex')
FROM (VALUES (1, '\xf7e1000102030405800788090a0b0c0d0e0f'::bytea), (2, '\xf7e1000102030405700788090a0b0c0d0e0f'),
             (3, '\xf7e2000102030405800788090a0b0c0d0e0f')) AS h (id, head),
     (VALUES (0), (39), (40), (3000), (300000)) AS l (n);
INSERT INTO shapes SELECT 4, envelope_encrypt('customers', convert_to(repeat('x', n), 'UTF8')) FROM (VALUES (0), (100000)) AS l (n);
SELECT id, octet_length(v) AS bytes, pg_column_size(v) < octet_length(v) AS compressed,
       envelope.is_sealed(v), (envelope.inspect(v)).plaintext_length
FROM shapes ORDER BY id, bytes;

-- The view of keys.
SELECT relation, purpose, version, state, cardinality(keks) AS keks, reason
FROM envelope.keys
WHERE relation IN ('public.customers', 'public.patients') ORDER BY relation;

DROP TABLE customers, patients, sealed, shapes;
DROP VIEW shown;
