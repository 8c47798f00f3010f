"""Whoever may create functions beside the extension's own cannot have theirs called in their place."""

import pytest
from sqlstate import fails

# Each is closer to what the extension's statements say than the extension's own: fewer arguments, types that are exact.
OVERLOADS = {
    "decrypt_text_or_null": "envelope_decrypt_text_or_null(regclass, envelope.sealed) RETURNS text",
    "decrypt_as_or_null": "envelope_decrypt_as_or_null(regclass, envelope.sealed, date) RETURNS date",
    "decrypt": "envelope_decrypt(regclass, envelope.sealed) RETURNS bytea",
    "decrypt_as": "envelope_decrypt_as(regclass, envelope.sealed, date, text) RETURNS date",
    "decrypt_text": "envelope_decrypt_text(text, envelope.sealed, text) RETURNS text",
    "encrypt": "envelope_encrypt(text, bytea) RETURNS bytea",
    "encrypt_as": "envelope_encrypt_as(regclass, date) RETURNS bytea",
    "context": "envelope_context(text, text) RETURNS text",
}


def shadow(db, what):
    """Made by a role of no special rights."""
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
    function, returns = OVERLOADS[what].split(" RETURNS ")
    name, arguments = function.split("(")
    db.sql(f"CREATE FUNCTION public.{name}({arguments} RETURNS {returns} LANGUAGE plpgsql AS "
           "$$BEGIN RAISE EXCEPTION 'called' USING ERRCODE = 'P0099'; END$$", user=db.low)


@pytest.mark.parametrize("what", OVERLOADS)
def test_nobody_elses_function_is_called(db, what):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text, d date, w text)")
    db.sql("INSERT INTO t SELECT g, 'x' || g, '2020-02-29', 'y' FROM generate_series(1, 3) g")
    db.sql("SELECT envelope.protect('t', 'v', bind => '{id}'), envelope.protect('t', 'd', form => 'source')")
    shadow(db, what)
    statements = ["SELECT envelope.plan('t', '{w}', '{\"online\": true}')", "SELECT envelope.protect('t', 'w', bind => '{id}')",
                  "CALL envelope.seal_column('t', 'v')", "SELECT * FROM envelope.verify('t', 'v')",
                  "SELECT envelope.open_view('t', 'shown', execute => true)", "SELECT envelope.unprotect('t', 'v')",
                  "SELECT envelope.unprotect('t', 'd')"]
    for statement in statements:
        with fails("42723") as caught:
            db.sql(statement)
        assert db.low in caught.value.diag.message_primary
    # envelope.lint says so, and so does envelope.check; what is to be done takes it away.
    [(severity, remedy)] = db.sql("SELECT severity, remedy FROM envelope.lint('t') WHERE sqlstate = '42723'")
    assert severity == "error" and remedy in caught.value.diag.message_hint
    assert db.value("SELECT count(*) FROM envelope.check() WHERE sqlstate = '42723' AND NOT ok") == 1
    db.sql(remedy)
    assert db.value("SELECT count(*) FROM envelope.lint('t') WHERE sqlstate = '42723'") == 0
    for statement in statements[:5]:
        db.sql(statement)
    assert db.sql("SELECT v, d::text, w FROM shown WHERE id = 1") == [("x1", "2020-02-29", "y")]


def test_overloads_of_who_may_do_all_are_theirs(db):
    """A superuser's, and what is called otherwise, is nobody's concern."""
    db.people("t", ["x"])
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
    db.sql("CREATE FUNCTION public.envelope_decrypt(text) RETURNS text RETURN $1")
    db.sql("CREATE FUNCTION public.envelope_mine(text) RETURNS text RETURN $1", user=db.low)
    db.sql("SELECT envelope.open_view('t', 'shown', execute => true)")
    assert db.sql("SELECT 1 FROM envelope.lint('t') WHERE sqlstate = '42723'") == []
