"""What must be in the database, learned from what the server acknowledged."""

import collections
import threading


class Oracle:
    """Rows are (table, row id) by program; a program's rows come and go together. Any thread may call."""

    def __init__(self):
        self._lock = threading.Lock()
        self._tables = []
        self.committed = {}
        self.in_doubt = {}
        self.counts = collections.Counter()

    def count(self, what):
        with self._lock:
            self.counts[what] += 1

    def add_table(self, table):
        with self._lock:
            self._tables.append(table)

    def table(self, choice):
        """The newest table, the one before it, and so on."""
        with self._lock:
            return self._tables[-1 - choice % len(self._tables)]

    def tables(self):
        with self._lock:
            return set(self._tables)

    def commit(self, work):
        with self._lock:
            self.committed[work.program] = work.rows
            self._tables.extend(work.made)
            self.counts["committed"] += 1

    def roll_back(self):
        self.count("rolled back")

    def doubt(self, work):
        """The server died between COMMIT and its answer: all of it or nothing."""
        with self._lock:
            self.in_doubt[work.program] = work.rows
            self.counts["in doubt"] += 1
