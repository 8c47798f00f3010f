"""A session that runs one program after the other, through crashes."""

import threading
from dataclasses import dataclass

import psycopg

from .programs import plaintext, program

# Those of a transaction that has to give way to another; nobody else's failure, and nothing is half done.
GIVES_WAY = {"40P01", "40001", "55P03"}
CREATE = """CREATE TABLE {0} (id text PRIMARY KEY, by_trigger bytea, by_function bytea, size int);
            CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {0} FOR EACH ROW
            EXECUTE FUNCTION envelope_seal('by_trigger')"""
READ = """SELECT id, size, envelope_decrypt_text('{0}', by_trigger),
                 envelope_decrypt_text('{0}', by_function, id) FROM {0}"""
ROTATE = """SELECT envelope.rotate_key(oid) FROM pg_class
            WHERE relname = %s AND EXISTS (SELECT FROM envelope.keyring_table WHERE seals AND relation::oid = oid)"""
EVERY_ROW_READ = 60


class Died(Exception):
    """The server went away; whether the last command took effect is not known."""


@dataclass
class Work:
    """What a program has done, and how far its PREPARE has come."""

    program: str
    rows: list
    made: list
    was_prepared: bool = False
    # Whether COMMIT PREPARED (True) or ROLLBACK PREPARED was sent.
    decision: bool | None = None


class Session(threading.Thread):
    """`problem` is what it found wrong, and ends it."""

    def __init__(self, number, seed, cluster, oracle, over):
        super().__init__(daemon=True)
        self.problem = None
        self._number, self._seed, self._cluster, self._oracle, self._over = number, seed, cluster, oracle, over
        self._c = None
        self._pending = None

    def run(self):
        number = 0
        try:
            while not self._over.is_set():
                if not self._connect():
                    continue
                try:
                    self.settle(self._c)
                except Died:
                    self._c = None
                    continue
                p = program(self._seed, self._number, number)
                number += 1
                self._oracle.count("programs")
                try:
                    self._run(p)
                except Died:
                    self._c = None
        except BaseException as e:
            self.problem = AssertionError(f"session {self._number}, program {number - 1}: {e!r}")
            self._over.set()
        finally:
            if self._c:
                self._c.close()

    def _connect(self):
        if self._c is not None:
            return True
        try:
            self._c = self._cluster.connect()
            self._c.execute("SET lock_timeout = '2s'")
            self._c.execute("SET deadlock_timeout = '100ms'")
            return True
        except psycopg.OperationalError:
            self._c = None
            self._over.wait(0.05)
            return False

    def _execute(self, query, params=None):
        try:
            return self._c.execute(query, params)
        except psycopg.Error as e:
            # Without a code the connection broke; 57P0x: crash of another backend, shutdown, not ready yet.
            if self._c.closed or (e.sqlstate or "57P02") in ("57P01", "57P02", "57P03"):
                raise Died from e
            raise

    # -- one program --------------------------------------------------------------------------------------------

    def _run(self, p):
        # Rows and tables of each open level, the transaction's first.
        levels = [([], [])]
        try:
            self._execute(f"BEGIN ISOLATION LEVEL {p.isolation}")
            for i, step in enumerate(p.steps):
                self._step(p, i, step, levels)
        except psycopg.Error as e:
            if e.sqlstate not in GIVES_WAY:
                raise
            self._oracle.count(e.sqlstate)
            self._end_by_rollback()
            return
        work = Work(p.name, [row for rows, _ in levels for row in rows],
                    [table for _, made in levels for table in made])
        if p.end == "rollback":
            self._end_by_rollback()
        elif p.end == "commit":
            self._commit(work)
        else:
            self._prepare(p, work)

    def _step(self, p, i, step, levels):
        if step.verb in ("insert", "seal"):
            self._insert(p, i, step, levels)
        elif step.verb == "read":
            self._read(self._table(step, levels))
        elif step.verb == "savepoint":
            self._execute(f"SAVEPOINT s{len(levels)}")
            levels.append(([], []))
        elif step.verb == "rollback_to":
            self._roll_back_to(levels)
        elif step.verb == "release":
            self._execute(f"RELEASE s{len(levels) - 1}")
            rows, made = levels.pop()
            levels[-1][0].extend(rows)
            levels[-1][1].extend(made)
        elif step.verb == "make":
            table = f"m{p.name}_{i}".replace(".", "_")
            self._execute(CREATE.format(table))
            levels[-1][1].append(table)
        elif step.verb == "rotate":
            if self._execute(ROTATE, (self._table(step, levels),)).fetchone():
                self._oracle.count("rotations")
        elif step.verb == "flush":
            self._execute("SELECT envelope.flush_cache()")
        elif step.verb == "fail" and len(levels) > 1:
            try:
                self._execute("SELECT 1 / 0")
            except psycopg.errors.DivisionByZero:
                self._roll_back_to(levels)

    def _roll_back_to(self, levels):
        self._execute(f"ROLLBACK TO s{len(levels) - 1}")
        levels[-1] = ([], [])

    def _table(self, step, levels):
        """The program's own newest one first, if it made some."""
        own = [table for _, made in levels for table in made]
        if step.choice < len(own):
            return own[-1 - step.choice]
        return self._oracle.table(step.choice - len(own))

    def _insert(self, p, i, step, levels):
        table, row_id = self._table(step, levels), f"{p.name}.{i}"
        text = plaintext(row_id, step.size)
        if step.verb == "insert":
            query = f"INSERT INTO {table} VALUES (%s, convert_to(%s, 'UTF8'), NULL, %s) RETURNING id"
            self._execute(query, (row_id, text, step.size))
        else:
            query = f"INSERT INTO {table} VALUES (%s, NULL, envelope_encrypt_text('{table}', %s, %s), %s)"
            self._execute(query, (row_id, text, row_id, step.size))
        levels[-1][0].append((table, row_id))

    def _read(self, table):
        """Whatever one sees opens, and is what its row says."""
        newest = f" ORDER BY ctid DESC LIMIT {EVERY_ROW_READ}"
        for row_id, size, *texts in self._execute(READ.format(table) + newest).fetchall():
            found = [text for text in texts if text is not None]
            assert found == [plaintext(row_id, size)], f"{table} {row_id}: {found!r:.100}"

    # -- ends ---------------------------------------------------------------------------------------------------

    def _end_by_rollback(self):
        self._execute("ROLLBACK")
        self._oracle.roll_back()

    def _commit(self, work):
        try:
            self._execute("COMMIT")
        except Died:
            self._oracle.doubt(work)
            raise
        except psycopg.errors.SerializationFailure:
            self._oracle.count("40001")
            self._oracle.roll_back()
            return
        self._oracle.commit(work)

    def _prepare(self, p, work):
        self._pending = work
        try:
            self._execute(f"PREPARE TRANSACTION '{work.program}'")
        except psycopg.errors.SerializationFailure:
            self._oracle.count("40001")
            self._ended(False)
            return
        work.was_prepared = True
        self._oracle.count("prepared")
        try:
            # Work in between: the keys of the prepared transaction are not this session's any more.
            self._read(self._oracle.table(len(p.steps)))
        except psycopg.Error as e:
            if e.sqlstate not in GIVES_WAY:
                raise
        self._decide(self._c, p.end == "commit_prepared")

    def _decide(self, c, commit):
        self._pending.decision = commit
        try:
            c.execute(f"{'COMMIT' if commit else 'ROLLBACK'} PREPARED '{self._pending.program}'")
        except psycopg.OperationalError as e:
            raise Died from e
        self._ended(commit)

    def _ended(self, committed):
        work, self._pending = self._pending, None
        if committed:
            self._oracle.commit(work)
        else:
            self._oracle.roll_back()

    def settle(self, c):
        """After a crash: ends what this session had prepared, or learns how that had ended."""
        work = self._pending
        if work is None:
            return
        try:
            is_there = c.execute("SELECT true FROM pg_prepared_xacts WHERE gid = %s", (work.program,)).fetchone()
        except psycopg.OperationalError as e:
            raise Died from e
        self._oracle.count("prepared before a crash")
        if is_there:
            self._decide(c, work.decision if work.decision is not None else len(work.rows) % 2 == 0)
        elif work.was_prepared and work.decision is None:
            raise AssertionError(f"the prepared transaction {work.program} is lost")
        else:
            # PREPARE did not come about; or what was sent last did.
            self._ended(work.was_prepared and work.decision)
