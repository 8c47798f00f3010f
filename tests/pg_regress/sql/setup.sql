-- Errors are told by their SQLSTATE; the wording is free.
ALTER DATABASE regression SET client_min_messages = warning;
SET client_min_messages = error;
CREATE EXTENSION "pgrx-example";
-- The key file is made here, with a WARNING that holds a path.
CREATE TABLE first_use (v bytea);
SELECT envelope_decrypt('first_use', envelope_encrypt('first_use', '\x00')) AS opened;
DROP TABLE first_use;
CREATE ROLE envelope_owner;
CREATE ROLE envelope_other;
