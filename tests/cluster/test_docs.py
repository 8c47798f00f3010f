"""What docs/key-lifecycle.md and the README's sessions show is what happens: their SQL, from top to bottom, in one
database."""

import re

import psycopg
from harness import moto as kms
from harness import place

DOCUMENT = place.ROOT / "docs" / "key-lifecycle.md"
ARN = re.compile(r"arn:aws:kms:([a-z0-9-]+):\d+:key/[0-9a-f-]+")
# A statement ends with a semicolon at the end of a line, before a comment if there is one.
STATEMENT = re.compile(r"((?:\$\$.*?\$\$|.)+?);[ \t]*(?:--[ \t]*([^\n]*))?$", re.S | re.M)


def statements(text):
    """Each statement with what is said of it."""
    blocks = re.findall(r"^```sql\n(.*?)^```", text, re.S | re.M)
    return [(sql.strip(), said or "") for block in blocks for sql, said in STATEMENT.findall(block)]


def with_real_keys(text, moto):
    """A key of the KMS for each that the document names; the first is the one that is there already."""
    keys = {}
    for match in ARN.finditer(text):
        keys.setdefault(match.group(0), match.group(1))
    made = {shown: moto.create_key(region) for shown, region in keys.items()}
    for shown, real in made.items():
        text = text.replace(shown, real)
    return text, next(iter(made.values()))


def given(cursor):
    rows = cursor.fetchall() if cursor.description else []
    shown = [" ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in row) for row in rows]
    return "\n".join(shown) or "(none)"


def test_the_life_of_a_key(moto, kms_proxy, own_cluster, database):
    text, first = with_real_keys(DOCUMENT.read_text(), moto)
    conf = {
        "envelope.default_kek": kms.kek(first),
        "envelope.allowed_keks": "aws-kms://arn:aws:kms:*",
        "envelope.aws_endpoint_url": kms_proxy.url,
    }
    cluster = own_cluster(conf=conf, env=kms.CREDENTIALS).start()
    found = statements(text)
    assert len(found) > 20 and sum("=>" in said for _, said in found) > 10
    with database(cluster).connect() as c:
        for sql, said in found:
            expected, failure = said.partition("=> ")[2], said.partition("ERROR ")[2]
            try:
                result = given(c.execute(sql))
            except psycopg.Error as e:
                assert e.sqlstate == failure, f"{sql}: {e}"
            else:
                assert not failure, f"{sql}: gave {result}"
                assert not expected or result == expected, f"{sql}: gave {result}"


def test_the_readmes_sessions(db):
    """The first one, and the one on contexts."""
    found = re.findall(r"^( *)```sql\n(.*?)^\1```", (place.ROOT / "README.md").read_text(), re.S | re.M)
    first = found[0][1].removeprefix('CREATE EXTENSION "pgrx-example";')
    ssns, text, in_bytes, [key] = answers(db, first)
    assert [(bytes(v)[:2], len(v)) for v, in ssns] == [(b"\xf7\xe1", 69), (b"\xf7\xe1", 61)]
    assert (text, in_bytes) == ([("123-45-6789",)], [(b"\x0c\xaf\xe0",)])
    assert key[:3] == ("public.customers", 1, "active")
    [contexts] = [block for _, block in found if "envelope_context(" in block]
    assert answers(db, contexts) == [[("flu",)]]


def answers(db, script):
    """What its queries give."""
    with db.connect() as c:
        ran = [c.execute(sql) for sql, _ in STATEMENT.findall(script)]
        return [cursor.fetchall() for cursor in ran if cursor.description]
