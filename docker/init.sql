-- Run once by the image, when it makes its cluster. No value is sealed yet, so that no key is needed yet.
CREATE EXTENSION "pgrx-example";
CREATE TABLE customers (
  id int PRIMARY KEY,
  name text NOT NULL,
  ssn envelope.sealed CHECK (envelope.is_sealed(ssn))
);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn');
