"""What docs/key-lifecycle.md shows is what happens: its SQL, from top to bottom, in one database."""

import re

import psycopg
from harness import place, sealed

DOCUMENT = place.ROOT / "docs" / "key-lifecycle.md"
# A statement ends with a semicolon at the end of a line, before a comment if there is one.
STATEMENT = re.compile(r"(.+?);[ \t]*(?:--[ \t]*([^\n]*))?$", re.S | re.M)
ROTATION = re.compile(r"SELECT envelope\.rotate_key\('(\w+)'\)$")


def statements(text):
    """Each statement with what is said of it."""
    blocks = re.findall(r"^```sql\n(.*?)^```", text, re.S | re.M)
    return [(sql.strip(), said or "") for block in blocks for sql, said in STATEMENT.findall(block)]


def given(cursor):
    rows = cursor.fetchall() if cursor.description else []
    shown = [" ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in row) for row in rows]
    return "\n".join(shown) or "(none)"


def run(connection, sql):
    rotated = ROTATION.match(sql)
    if not rotated:
        return given(connection.execute(sql))
    with connection.transaction():
        sealed.second_version(connection.execute, rotated.group(1))


def test_the_life_of_a_key(db):
    found = statements(DOCUMENT.read_text())
    assert len(found) > 20 and sum("=>" in said for _, said in found) > 10
    with db.connect() as c:
        for sql, said in found:
            expected, failure = said.partition("=> ")[2], said.partition("ERROR ")[2]
            try:
                result = run(c, sql)
            except psycopg.Error as e:
                assert e.sqlstate == failure, f"{sql}: {e}"
            else:
                assert not failure, f"{sql}: gave {result}"
                assert not expected or result == expected, f"{sql}: gave {result}"
