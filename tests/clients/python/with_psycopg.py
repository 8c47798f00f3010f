import psycopg
from recipe import add, add_note, change, change_note, read, read_note
from tell import AWKWARD, CHANGED, DSN, NOTATION, SECRET, fate, kind, shown, tell

tell("version", psycopg.__version__)
with psycopg.connect(DSN, autocommit=True) as c:

    def value(sql, params=None, **kw):
        return c.execute(sql, params, **kw).fetchone()[0]

    add(c, 1, AWKWARD)
    tell("added", read(c, 1))
    change(c, 1, CHANGED)
    tell("changed", read(c, 1))
    add_note(c, 1, AWKWARD)
    tell("note added", read_note(c, 1))
    change_note(c, 1, CHANGED)
    tell("note changed", read_note(c, 1))

    tell("ssn", kind(value("SELECT ssn FROM customers")))
    tell("ssn in binary", kind(value("SELECT ssn FROM customers", binary=True)))
    tell("note", kind(value("SELECT note FROM patients")))
    add(c, 3, AWKWARD.encode())
    tell("bytes for ssn", fate(read(c, 3), AWKWARD))
    c.execute("INSERT INTO patients VALUES (2, %s)", (NOTATION,))
    tell("a string for note", fate(read_note(c, 2), NOTATION))
    value("SELECT envelope_decrypt_text(%s, note) FROM patients WHERE id = 2", ("patients",))
    tell("table", "taken")
    try:
        c.execute("SELECT FROM customers WHERE ssn = %s", (CHANGED,))
    except psycopg.Error as e:
        tell("ssn =", e.sqlstate)
    tell("note =", c.execute("SELECT FROM patients WHERE note = %s", (CHANGED.encode(),)).rowcount)
    try:
        add(c, 1, SECRET)
    except psycopg.Error as e:
        tell("value in errors", shown(e))
