"""Opened outside the database: what the server sealed, by both readers; and their verdicts beside the server's."""

import json
import pathlib

import pytest
from harness.database import Database
from interop import fuzz, make_conformance, readers

# The verdict of a reader, by the server's SQLSTATE.
NAMES = {"22P02": "no_form", "22021": "not_text"}
# What PostgreSQL itself says of JSON, the readers leave open; an enum's labels are the database's.
OF_SERVER = ("json", "jsonb", "enum")
VERDICT = """
    CREATE FUNCTION verdict(sealed bytea, kind text) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE
        found text;
    BEGIN
        EXECUTE format('SELECT envelope_decrypt_as(%L, $1, NULL::%s)::text', 't', kind) USING sealed INTO found;
        RETURN 'gives';
    EXCEPTION WHEN OTHERS THEN
        RETURN sqlstate;
    END $$"""


@pytest.fixture(scope="module")
def db(cluster):
    made = Database(cluster)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def commands():
    return [readers.python(), readers.javascript()]


def both(commands, questions):
    """Their one answer to each."""
    answers = readers.ask_all(commands, questions)
    assert all(python == javascript for python, javascript in answers)
    return [python for python, _ in answers]


def is_for_server(kind):
    return kind.removesuffix("[]") not in OF_SERVER


def of_types(random_ones):
    """Types and plaintexts: those of the vectors, and random ones."""
    vectors = json.loads(make_conformance.FILE.read_text())["vectors"]
    found = [(v["with"]["type"], v["with"]["plaintext"]) for v in vectors if v["do"] == "decode" and v.get("fails") != "unknown_type"]
    maker = fuzz.Fuzz(7)
    made = [maker.form() for _ in range(random_ones)]
    return [*found, *((given["type"], given["plaintext"]) for do, given in made if do == "decode")]


def test_verdicts_on_typed_values(db, commands):
    db.sql("CREATE TABLE t (v bytea)")
    db.sql(VERDICT)
    cases = [case for case in of_types(1500) if is_for_server(case[0])]
    sealing = "SELECT verdict(envelope_encrypt('t', decode(p, 'hex')), k) FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY c(k, p, n) ORDER BY n"
    server = [row[0] for row in db.sql(sealing, ([kind for kind, _ in cases], [plaintext for _, plaintext in cases]))]
    answers = both(commands, [{"do": "decode", "with": {"type": kind, "plaintext": plaintext}} for kind, plaintext in cases])
    for case, verdict, answer in zip(cases, server, answers):
        name = answer.get("fails", "gives")
        # Before PostgreSQL 17 no interval is infinite.
        if case[0].startswith("interval") and b"infinity" in bytes.fromhex(case[1]):
            continue
        assert NAMES.get(verdict, verdict) == name, (case, verdict)


def test_an_export_opens_outside(db, commands):
    """A policy's values, bound, filled and typed, with the key file and the exported keyring alone."""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea, born bytea, tags bytea)")
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', value_type => 'text', bind => '{id}', block => 32)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    for at, ssn, born, tags in [(1, "123-45-6789", "1815-12-10", ["Zoë", None]), (2, "", "0044-03-15 BC", [])]:
        db.sql("INSERT INTO people VALUES (%s, convert_to(%s, 'UTF8'), envelope_encrypt_as('people', %s::text::date), "
               "envelope_encrypt_as('people', %s::text[]))", (at, ssn, born, tags))
        db.sql("SELECT envelope.rotate_key('people')")
    document = db.value("SELECT envelope.export_keyring('people')")
    contexts = dict(db.sql("SELECT id, envelope.row_context('people', 'ssn', id::text) FROM people"))
    keks = [kek for kek, in db.sql("SELECT DISTINCT kek FROM envelope.wrapped_key")]
    unwrappers = {kek: {"file": pathlib.Path(kek.removeprefix("file://")).read_bytes().hex()} for kek in keks}
    questions, expected = [], []
    for at, ssn, born, tags in db.sql("SELECT id, ssn, born, tags FROM people ORDER BY id"):
        for column, sealed, context in (("ssn", ssn, contexts[at]), ("born", born, ""), ("tags", tags, "")):
            given = {"document": document, "unwrappers": unwrappers, "sealed": bytes(sealed).hex(), "context": context}
            questions.append({"do": "keyring_open", "with": given})
            expected.append(bytes(db.value(f"SELECT envelope_decrypt('people', {column}, %s) FROM people WHERE id = %s", (context, at))).hex())
    assert [answer.get("gives") for answer in both(commands, questions)] == expected
    decoded = both(commands, [{"do": "decode", "with": {"type": kind, "plaintext": plaintext}}
                              for plaintext, kind in zip(expected, ["text", "date", "text[]"] * 2)])
    assert [answer["gives"] for answer in decoded] == ["123-45-6789", "1815-12-10", ["Zoë", None], "", "0044-03-15 BC", []]
