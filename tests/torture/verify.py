"""What must hold at the end, seen by a fresh backend."""

import collections

from .programs import plaintext

TABLES = """SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"""
ROWS = """SELECT id, size, envelope_decrypt_text('{0}', by_trigger),
                 envelope_decrypt_text('{0}', by_function, id), coalesce(by_trigger, by_function) FROM {0}"""

OWN_KEYS = "SELECT key_id FROM envelope.keys WHERE relation = 'public.' || %s"

# Each must give no row.
BREAKS = {
    "keyrings without exactly one active key": """
        SELECT r.keyring_id FROM envelope.keyring r LEFT JOIN envelope.data_key k
          ON k.keyring_id = r.keyring_id AND k.state = 'active' GROUP BY 1 HAVING count(k.key_id) <> 1""",
    "keys that nobody retired, but that do not open": """
        SELECT key_id FROM envelope.data_key WHERE state NOT IN ('active', 'decrypt-only')""",
    "an active key that is not the newest": """
        SELECT key_id FROM envelope.data_key k WHERE state = 'active'
        AND version <> (SELECT max(version) FROM envelope.data_key o WHERE o.keyring_id = k.keyring_id)""",
    "versions that are missing": """
        SELECT keyring_id FROM envelope.data_key GROUP BY 1 HAVING max(version) <> count(*)""",
    "keys without a keyring": """
        SELECT key_id FROM envelope.data_key WHERE keyring_id NOT IN (SELECT keyring_id FROM envelope.keyring)""",
    "keys without a wrap": """
        SELECT key_id FROM envelope.data_key WHERE key_id NOT IN (SELECT key_id FROM envelope.wrapped_key)""",
    "wraps without a key": """
        SELECT key_id FROM envelope.wrapped_key WHERE key_id NOT IN (SELECT key_id FROM envelope.data_key)""",
    "keyrings without their one table": """
        SELECT r.keyring_id FROM envelope.keyring r LEFT JOIN envelope.keyring_table t ON t.keyring_id = r.keyring_id
        LEFT JOIN pg_class c ON c.oid = t.relation::oid GROUP BY 1 HAVING count(c.oid) <> 1""",
    "tables with two keyrings": """
        SELECT relation::text FROM envelope.keyring_table WHERE seals GROUP BY 1 HAVING count(*) <> 1""",
    "links without a keyring": """
        SELECT id FROM envelope.keyring_table WHERE keyring_id NOT IN (SELECT keyring_id FROM envelope.keyring)""",
    "what envelope.check() finds": "SELECT key_id, message FROM envelope.check() WHERE NOT ok",
    "transactions still prepared": "SELECT gid FROM pg_prepared_xacts",
}


def verify(cluster, oracle):
    """Counts of what there is; raises AssertionError for what should not be, or is not."""
    with cluster.connect() as c:
        tables = {name for name, in c.execute(TABLES).fetchall()}
        missing = oracle.tables() - tables
        assert not missing, f"tables that were committed are gone: {missing}"
        found, nonces = collections.defaultdict(set), set()
        for table in sorted(tables):
            read(c, table, found, nonces)
        check_rows(found, oracle)
        for what, query in BREAKS.items():
            rows = c.execute(query).fetchall()
            assert not rows, f"{what}: {rows[:5]}"
        keys = c.execute("SELECT count(*) FROM envelope.data_key").fetchone()[0]
        return {"rows": len(nonces), "tables": len(tables), "keys": keys}


def read(c, table, found, nonces):
    """Every value opens to what its row says, under a key of the table's own, with a nonce of its own."""
    keys = set()
    for row_id, size, by_trigger, by_function, sealed in c.execute(ROWS.format(table)).fetchall():
        texts = [text for text in (by_trigger, by_function) if text is not None]
        assert texts == [plaintext(row_id, size)], f"{table} {row_id}: {texts!r:.100}"
        found[row_id.rpartition(".")[0]].add((table, row_id))
        keys.add(sealed[2:18])
        assert sealed[2:42] not in nonces, f"{table} {row_id}: a nonce twice under one key"
        nonces.add(sealed[2:42])
    own = {key_id.bytes for key_id, in c.execute(OWN_KEYS, (table,)).fetchall()}
    assert keys <= own, f"{table} has values under keys that are not its own"


def check_rows(found, oracle):
    for program, rows in oracle.committed.items():
        assert found[program] == set(rows), f"program {program} was committed: {set(rows) ^ found[program]}"
    for program, rows in oracle.in_doubt.items():
        assert found[program] in (set(), set(rows)), f"program {program} is there in part: {found[program]}"
    strangers = {p for p, rows in found.items() if rows and p not in oracle.committed and p not in oracle.in_doubt}
    assert not strangers, f"programs that were not committed are there: {sorted(strangers)[:5]}"
