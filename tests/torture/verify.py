"""What must hold at the end, seen by a fresh backend."""

import collections

import psycopg

from .programs import plaintext, program_of

TABLES = """SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"""
ROWS = """SELECT id, size, envelope_decrypt_text('{0}', by_trigger),
                 envelope_decrypt_text('{0}', by_function, id), coalesce(by_trigger, by_function) FROM {0}"""
KEYS_OF = """SELECT key_id FROM envelope.data_key JOIN envelope.keyring_table USING (keyring_id)
             WHERE relation::oid = %s::text::regclass"""
DESTROYED = "SELECT key_id FROM envelope.data_key WHERE state = 'destroyed'"

# Each must give no row.
BREAKS = {
    "keyrings without exactly one active key": """
        SELECT r.keyring_id FROM envelope.keyring r LEFT JOIN envelope.data_key k
          ON k.keyring_id = r.keyring_id AND k.state = 'active' GROUP BY 1 HAVING count(k.key_id) <> 1""",
    "keys that nobody retired, but that do not open": """
        SELECT key_id FROM envelope.data_key WHERE state NOT IN ('active', 'decrypt-only', 'destroyed')""",
    "an active key that is not the newest": """
        SELECT key_id FROM envelope.data_key k WHERE state = 'active'
        AND version <> (SELECT max(version) FROM envelope.data_key o WHERE o.keyring_id = k.keyring_id)""",
    "versions that are missing": """
        SELECT keyring_id FROM envelope.data_key GROUP BY 1 HAVING max(version) <> count(*)""",
    "keys without a keyring": """
        SELECT key_id FROM envelope.data_key WHERE keyring_id NOT IN (SELECT keyring_id FROM envelope.keyring)""",
    "keys without a wrap": """
        SELECT key_id FROM envelope.data_key
        WHERE state <> 'destroyed' AND key_id NOT IN (SELECT key_id FROM envelope.wrapped_key)""",
    "wraps without a key, or of one that is destroyed": """
        SELECT key_id FROM envelope.wrapped_key
        WHERE key_id NOT IN (SELECT key_id FROM envelope.data_key WHERE state <> 'destroyed')""",
    "keyrings that not exactly one table seals with, or has left": """
        SELECT r.keyring_id FROM envelope.keyring r LEFT JOIN envelope.keyring_table t
          ON t.keyring_id = r.keyring_id AND t.seals GROUP BY 1 HAVING count(t.id) <> 1""",
    "links to tables that are gone": """
        SELECT id FROM envelope.keyring_table
        WHERE relation::oid <> 0 AND relation::oid NOT IN (SELECT oid FROM pg_class)""",
    "tables with two keyrings": """
        SELECT relation::text FROM envelope.keyring_table WHERE seals AND relation::oid <> 0
        GROUP BY 1 HAVING count(*) <> 1""",
    "links without a keyring": """
        SELECT id FROM envelope.keyring_table WHERE keyring_id NOT IN (SELECT keyring_id FROM envelope.keyring)""",
    "what envelope.check() finds": "SELECT key_id, message FROM envelope.check() WHERE NOT ok",
    "transactions still prepared": "SELECT gid FROM pg_prepared_xacts",
}


def verify(cluster, oracle):
    """Counts of what there is; raises AssertionError for what should not be, or is not."""
    with cluster.connect() as c:
        tables = {name for name, in c.execute(TABLES).fetchall()}
        rows, nonces = collections.defaultdict(set), {}
        for table in sorted(tables):
            try:
                read(c, table, rows, nonces)
            except psycopg.Error as e:
                raise AssertionError(f"{table} has values that do not open: {e.sqlstate}: {e}") from e
        destroyed = {key_id for key_id, in c.execute(DESTROYED).fetchall()}
        found = Found(tables, rows, destroyed)
        found.compare(oracle)
        for what, query in BREAKS.items():
            wrong = c.execute(query).fetchall()
            assert not wrong, f"{what}: {wrong[:5]}"
        keys = c.execute("SELECT count(*) FROM envelope.data_key").fetchone()[0]
        return {"rows": sum(map(len, rows.values())), "tables": len(tables), "keys": keys}


def read(c, table, rows, nonces):
    """Every value opens to what its row says, under a key that is the table's to open, with a nonce of its own."""
    keys = set()
    for row_id, size, by_trigger, by_function, sealed in c.execute(ROWS.format(table)).fetchall():
        texts = [text for text in (by_trigger, by_function) if text is not None]
        assert texts == [plaintext(row_id, size)], f"{table} {row_id}: {texts!r:.100}"
        rows[program_of(row_id)].add((table, row_id))
        keys.add(sealed[2:18])
        # A copy is the same value.
        assert nonces.setdefault(sealed[2:42], hash(sealed)) == hash(sealed), f"{table} {row_id}: a nonce twice under one key"
    own = {key_id.bytes for key_id, in c.execute(KEYS_OF, (table,)).fetchall()}
    assert keys <= own, f"{table} has values under keys that are not its own"


class Found:
    """What is in the database: its tables, the rows of each program, the keys that are destroyed."""

    def __init__(self, tables, rows, destroyed):
        self._tables, self._rows, self._destroyed = tables, rows, destroyed

    def compare(self, oracle):
        committed = {**oracle.committed, **{program: done for program, done in oracle.in_doubt.items()
                                            if self._happened(program, oracle)}}
        self._compare_tables(oracle, committed)
        self._compare_keys(oracle, committed)
        for program, done in committed.items():
            rows = {(table, row_id) for table, row_id in done.rows if table in self._tables}
            assert self._rows[program] == rows, f"program {program} was committed: {rows ^ self._rows[program]}"
        strangers = {program for program, rows in self._rows.items() if rows and program not in committed}
        assert not strangers, f"programs that were not committed are there: {sorted(strangers)[:5]}"

    def _happened(self, program, oracle):
        """Whether a program that is in doubt was committed: each trace that it alone can have left must say the same."""
        done = oracle.in_doubt[program]
        others = [other for name, other in (oracle.committed | oracle.in_doubt).items() if name != program]
        by_others = {what for other in others for what in (*other.dropped, *other.destroyed)}
        traces = [(table, row_id) in self._rows[program] for table, row_id in done.rows if table in self._tables]
        traces += [table in self._tables for table in done.made if table not in done.dropped]
        traces += [table not in self._tables for table in done.dropped if table not in {*done.made, *by_others}]
        traces += [key_id in self._destroyed for key_id in done.destroyed if key_id not in by_others]
        assert len(set(traces)) <= 1, f"program {program} is there in part"
        return bool(traces and traces[0])

    def _compare_tables(self, oracle, committed):
        gone = {table for done in committed.values() for table in done.dropped}
        doubtful = {table for done in oracle.in_doubt.values() for table in done.dropped}
        made = {table for done in committed.values() for table in done.made}
        missing = (oracle.tables() | made) - gone - doubtful - self._tables
        assert not missing, f"tables that were committed are gone: {missing}"
        assert not gone & self._tables, f"tables that were dropped are there: {gone & self._tables}"

    def _compare_keys(self, oracle, committed):
        destroyed = {key_id for done in committed.values() for key_id in done.destroyed}
        doubtful = {key_id for done in oracle.in_doubt.values() for key_id in done.destroyed}
        assert destroyed <= self._destroyed, f"keys that were destroyed are back: {destroyed - self._destroyed}"
        strangers = self._destroyed - destroyed - doubtful
        assert not strangers, f"keys are destroyed that nobody destroyed: {strangers}"
