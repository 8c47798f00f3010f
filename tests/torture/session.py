"""A session that runs one program after the other, through crashes."""

import threading

import psycopg

from .programs import program
from .server import Died, execute
from .steps import Steps, ends, read
from .work import Work


class Session(threading.Thread):
    """`problem` is what it found wrong, and ends it."""

    def __init__(self, number, seed, cluster, oracle, over, keks=()):
        super().__init__(daemon=True)
        self.problem = None
        self._number, self._seed, self._cluster, self._oracle, self._over = number, seed, cluster, oracle, over
        self._keks = keks
        self._c = None
        self._pending = None
        self._place = ""
        # What its programs have exported, by table.
        self._documents = {}

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
            code = f"{e.sqlstate}: " if isinstance(e, psycopg.Error) else ""
            self.problem = AssertionError(f"session {self._number}, program {number - 1}, {self._place}{code}{e!r}")
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
        return execute(self._c, query, params)

    # -- one program --------------------------------------------------------------------------------------------

    def _run(self, p):
        steps, verb = Steps(p, self._execute, self._oracle, self._documents, self._keks), None
        try:
            self._execute(f"BEGIN ISOLATION LEVEL {p.isolation}")
            for i, step in enumerate(p.steps):
                verb = step.verb
                steps.take(i, step)
        except psycopg.Error as e:
            if not ends(verb, e.sqlstate):
                self._place = f"step {i}, {verb}: "
                raise
            self._oracle.count(f"{verb} ended by {e.sqlstate}")
            self._end_by_rollback()
            return
        work = Work(p.name, steps.done())
        if p.end == "rollback":
            self._end_by_rollback()
        elif p.end == "commit":
            self._commit(work)
        else:
            self._prepare(p, work)

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
            self._oracle.count("commit ended by 40001")
            self._oracle.roll_back()
            return
        self._committed(work)

    def _committed(self, work):
        self._oracle.commit(work)
        self._documents |= work.done.exported

    def _prepare(self, p, work):
        self._pending = work
        try:
            self._execute(f"PREPARE TRANSACTION '{work.program}'")
        except psycopg.errors.SerializationFailure:
            self._oracle.count("prepare ended by 40001")
            self._ended(False)
            return
        work.was_prepared = True
        self._oracle.count("prepared")
        try:
            # Work in between: the keys of the prepared transaction are not this session's any more.
            read(self._execute, self._oracle.table(len(p.steps), work.done.dropped))
        except psycopg.Error as e:
            if not ends("read", e.sqlstate):
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
            self._committed(work)
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
            self._decide(c, work.decision if work.decision is not None else len(work.done.rows) % 2 == 0)
        elif work.was_prepared and work.decision is None:
            raise AssertionError(f"the prepared transaction {work.program} is lost")
        else:
            # PREPARE did not come about; or what was sent last did.
            self._ended(work.was_prepared and work.decision)
