-- Ten thousand damaged values: an error each, of one SQLSTATE or another; never an answer.
CREATE TABLE accounts (v bytea);
SELECT setseed(0.42);
DO $$
DECLARE
  whole bytea := envelope_encrypt('accounts', convert_to('4929 1234 5678 9012', 'UTF8'));
  damaged bytea;
  at int;
  refused int := 0;
BEGIN
  FOR i IN 1..10000 LOOP
    at := floor(random() * length(whole));
    damaged := CASE i % 3
      WHEN 0 THEN set_byte(whole, at, (get_byte(whole, at) + 1 + floor(random() * 255)::int) % 256)
      WHEN 1 THEN substr(whole, 1, at)
      ELSE whole || decode(repeat('00', 1 + floor(random() * 40)::int), 'hex')
    END;
    BEGIN
      PERFORM envelope_decrypt('accounts', damaged);
      RAISE 'opened: %', damaged;
    EXCEPTION
      WHEN data_exception OR undefined_object THEN refused := refused + 1;
    END;
  END LOOP;
  RAISE WARNING 'refused: %', refused;
END $$;
DROP TABLE accounts;
