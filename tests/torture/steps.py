"""What each step of a program does, and what it may be refused for."""

import contextlib
import json

import psycopg

from .programs import COPY_OF, plaintext
from .work import Done

# The end of a transaction that has to give way to another; nobody else's failure, and nothing is half done.
GIVES_WAY = {"40P01", "40001", "55P03"}
# Its table was dropped meanwhile.
GONE = {"42P01"}
# What else ends a program with this step: an older snapshot has values whose key was destroyed since.
ENDED = {
    "read": {"55000"},
    "reseal": {"55000"},
}
# What a step may be refused for: it is undone, and the program goes on.
REFUSED = {
    # In use; no longer as it was when it was chosen; not under a snapshot of an earlier time; and the program may have
    # locked tables before, in another order than destroy_key does.
    "destroy": {"55006", "55000", "25000", "40P01"},
    # No key yet; the value that is copied is under another table's, or under one that was destroyed since.
    "share": {"42704", "22023", "55000"},
    # No key yet.
    "export": {"42704"},
    # Another session moved the keys between the try of a wrap and its write.
    "import": {"42710"},
    # No key yet; another session changed the keys meanwhile.
    "add_kek": {"42704", "40001"},
    "rewrap": {"42704", "40001"},
    # As well: the last KEK, or one of which another session has just taken the keys away.
    "drop_kek": {"42704", "40001", "55000"},
}

CREATE = """CREATE TABLE {0} (id text PRIMARY KEY, by_trigger bytea, by_function bytea, size int);
            CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {0} FOR EACH ROW
            EXECUTE FUNCTION envelope_seal('by_trigger')"""
READ = """SELECT id, size, envelope_decrypt_text('{0}', by_trigger),
                 envelope_decrypt_text('{0}', by_function, id) FROM {0} ORDER BY ctid DESC LIMIT 60"""
COPY = f"""INSERT INTO {{1}} SELECT %s || '{COPY_OF}' || substring(id FROM '[^{COPY_OF}]*$'), by_trigger, NULL, size
           FROM {{0}} WHERE by_trigger IS NOT NULL ORDER BY ctid DESC LIMIT 1 RETURNING id"""
ROTATE = """SELECT envelope.rotate_key(oid) FROM pg_class
            WHERE relname = %s AND EXISTS (SELECT FROM envelope.keyring_table WHERE seals AND relation::oid = oid)"""
RESEAL = """UPDATE {0} SET by_trigger = envelope.reseal('{0}', by_trigger),
                           by_function = envelope.reseal('{0}', by_function, id)
            WHERE ctid = ANY (ARRAY(SELECT ctid FROM {0} ORDER BY ctid LIMIT 30))"""
OLDEST_KEY = """SELECT key_id FROM envelope.keys WHERE relation = 'public.' || %s AND state = 'decrypt-only'
                ORDER BY version LIMIT 1"""
KEYRINGS = """SELECT to_jsonb(r) FROM envelope.keyring r WHERE keyring_id = ANY (%(ids)s::uuid[])
              UNION ALL SELECT to_jsonb(t) || jsonb_build_object('relation', relation::oid)
                        FROM envelope.keyring_table t WHERE keyring_id = ANY (%(ids)s::uuid[])
              UNION ALL SELECT to_jsonb(k) FROM envelope.data_key k WHERE keyring_id = ANY (%(ids)s::uuid[]) ORDER BY 1"""
WRAPS = """SELECT key_id, kek, wrapped FROM envelope.wrapped_key JOIN envelope.data_key USING (key_id)
           WHERE keyring_id = ANY (%(ids)s::uuid[])"""
KEKS_OF = """SELECT DISTINCT kek FROM envelope.keys CROSS JOIN unnest(keks) kek WHERE relation = 'public.' || %s ORDER BY 1"""
MOVE = "SELECT done, sqlstate FROM envelope.rewrap(%s, %s, %s::text::regclass)"


def ends(verb, sqlstate):
    """Whether a program may end by this error of a step."""
    if verb == "destroy" and sqlstate == "40P01":
        return False
    return sqlstate in GIVES_WAY | GONE | ENDED.get(verb, set())


def read(execute, table):
    """Whatever one sees opens, and is what its row says."""
    for row_id, size, *texts in execute(READ.format(table)).fetchall():
        found = [text for text in texts if text is not None]
        assert found == [plaintext(row_id, size)], f"{table} {row_id}: {found!r:.100}"


class Steps:
    """Those of one program, in its transaction. `documents` are earlier programs' exports, by table, `keks` those that
    data keys may be moved to."""

    def __init__(self, program, execute, oracle, documents, keks=()):
        self._program, self._execute, self._oracle, self._documents = program, execute, oracle, documents
        self._keks = keks
        # Of each open level, the transaction's first.
        self._levels = [Done()]

    def take(self, i, step):
        getattr(self, f"_{step.verb}")(f"{self._program.name}.{i}", step)

    def done(self):
        whole = Done()
        for level in self._levels:
            whole.add(level)
        return whole

    def _table(self, choice):
        """The program's own newest one first, if it made some."""
        done = self.done()
        own = [table for table in done.made if table not in done.dropped]
        if choice < len(own):
            return own[-1 - choice]
        return self._oracle.table(choice - len(own), done.dropped)

    @contextlib.contextmanager
    def _refusable(self, step):
        self._execute("SAVEPOINT own")
        try:
            yield
        except psycopg.Error as e:
            if e.sqlstate not in REFUSED[step.verb]:
                raise
            self._oracle.count(f"{step.verb} refused by {e.sqlstate}")
            self._execute("ROLLBACK TO own")
        self._execute("RELEASE own")

    # -- savepoints ---------------------------------------------------------------------------------------------

    def _savepoint(self, _, step):
        self._execute(f"SAVEPOINT s{len(self._levels)}")
        self._levels.append(Done())

    def _rollback_to(self, _, step):
        self._execute(f"ROLLBACK TO s{len(self._levels) - 1}")
        self._levels[-1] = Done()

    def _release(self, _, step):
        self._execute(f"RELEASE s{len(self._levels) - 1}")
        level = self._levels.pop()
        self._levels[-1].add(level)

    def _fail(self, row_id, step):
        if len(self._levels) > 1:
            with contextlib.suppress(psycopg.errors.DivisionByZero):
                self._execute("SELECT 1 / 0")
            self._rollback_to(row_id, step)

    # -- tables and rows ----------------------------------------------------------------------------------------

    def _make(self, row_id, step):
        table = f"m{row_id}".replace(".", "_")
        self._execute(CREATE.format(table))
        self._levels[-1].made.append(table)

    def _drop(self, _, step):
        if self._oracle.has_spare_tables():
            table = self._table(step.choice)
            self._execute(f"DROP TABLE {table}")
            self._levels[-1].dropped.append(table)

    def _insert(self, row_id, step):
        table = self._table(step.choice)
        self._execute(f"INSERT INTO {table} VALUES (%s, convert_to(%s, 'UTF8'), NULL, %s) RETURNING id",
                      (row_id, plaintext(row_id, step.size), step.size))
        self._levels[-1].rows.append((table, row_id))

    def _seal(self, row_id, step):
        table = self._table(step.choice)
        self._execute(f"INSERT INTO {table} VALUES (%s, NULL, envelope_encrypt_text('{table}', %s, %s), %s)",
                      (row_id, plaintext(row_id, step.size), row_id, step.size))
        self._levels[-1].rows.append((table, row_id))

    def _read(self, _, step):
        read(self._execute, self._table(step.choice))

    # -- keys ---------------------------------------------------------------------------------------------------

    def _rotate(self, _, step):
        if self._execute(ROTATE, (self._table(step.choice),)).fetchone():
            self._oracle.count("rotations")

    def _add_kek(self, _, step):
        table = self._table(step.choice)
        if self._keks:
            with self._refusable(step):
                self._execute("SELECT envelope.add_kek(%s::text::regclass, %s)", (table, self._kek(step)))
                self._oracle.count("KEKs added")

    def _drop_kek(self, _, step):
        table = self._table(step.choice)
        keks = self._execute(KEKS_OF, (table,)).fetchall()
        if len(keks) > 1:
            with self._refusable(step):
                self._execute("SELECT envelope.drop_kek(%s::text::regclass, %s)", (table, *keks[step.size % len(keks)]))
                self._oracle.count("KEKs dropped")

    def _rewrap(self, _, step):
        """From one KEK that the table has to any other, or anew under the same."""
        table = self._table(step.choice)
        keks = self._execute(KEKS_OF, (table,)).fetchall()
        if keks and self._keks:
            with self._refusable(step):
                moved = self._execute(MOVE, (*keks[step.size % len(keks)], self._kek(step), table)).fetchall()
                # What was not done says why, and was left as it was.
                assert all(done or sqlstate in GIVES_WAY for done, sqlstate in moved), moved
                self._oracle.count("keys moved", sum(done for done, _ in moved))

    def _kek(self, step):
        return self._keks[(step.other + step.size) % len(self._keks)]

    def _reseal(self, _, step):
        self._execute(RESEAL.format(self._table(step.choice)))

    def _destroy(self, _, step):
        """Never a value: without `shred` it is refused while one is there, or is being written."""
        key = self._execute(OLDEST_KEY, (self._table(step.choice),)).fetchone()
        if key:
            with self._refusable(step):
                self._execute("SELECT envelope.destroy_key(%s, 'torture')", key)
                self._levels[-1].destroyed += key

    def _share(self, row_id, step):
        table, other = self._table(step.choice), self._table(step.other)
        if table != other:
            with self._refusable(step):
                self._execute("SELECT envelope.share_keyring(%s::text::regclass, %s::text::regclass)", (table, other))
                copied = self._execute(COPY.format(table, other), (row_id,)).fetchall()
                self._levels[-1].rows += [(other, copy) for copy, in copied]
                self._oracle.count("shares")

    def _export(self, _, step):
        table = self._table(step.choice)
        with self._refusable(step):
            exported = self._execute("SELECT envelope.export_keyring(%s::text::regclass)::text", (table,))
            self._levels[-1].exported[table] = exported.fetchone()[0]

    def _import(self, _, step):
        """It changes nothing: all that the document has is here, or has gone on since. Only wraps of KEKs that were dropped
        come back."""
        documents = [*self._documents.values(), *self.done().exported.values()]
        if not documents:
            return
        document = documents[-1 - step.choice % len(documents)]
        ids = {"ids": [keyring["keyring_id"] for keyring in json.loads(document)["keyrings"]]}
        before, wraps = self._execute(KEYRINGS, ids).fetchall(), self._execute(WRAPS, ids).fetchall()
        with self._refusable(step):
            self._execute("SELECT envelope.import_keyring(%s)", (document,))
            self._oracle.count("imports")
        # With a snapshot for each statement others' changes show too.
        if self._program.isolation != "READ COMMITTED":
            assert self._execute(KEYRINGS, ids).fetchall() == before, "an import has changed something"
            assert set(wraps) <= set(self._execute(WRAPS, ids).fetchall()), "an import has changed a wrap"

    def _flush(self, _, step):
        """This session's keys, or everybody's."""
        self._execute("SELECT envelope.flush_cache(everywhere => %s)", (step.size > 20,))

    def _warm(self, _, step):
        self._execute("SELECT envelope.warm(%s::text::regclass)", (self._table(step.choice),))
