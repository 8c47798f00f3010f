"""What must be in the database, learned from what the server acknowledged."""

import collections
import threading

# More than there are sessions to drop the last ones at once.
SPARE = 20


class Oracle:
    """What each program has done comes and goes together. Any thread may call."""

    def __init__(self):
        self._lock = threading.Lock()
        self._tables = []
        # By the program's name.
        self.committed = {}
        self.in_doubt = {}
        self.counts = collections.Counter()

    def count(self, what, times=1):
        with self._lock:
            self.counts[what] += times

    def add_table(self, table):
        with self._lock:
            self._tables.append(table)

    def table(self, choice, dropped):
        """The newest table, the one before it, and so on; none of those that one has dropped oneself."""
        with self._lock:
            tables = [table for table in self._tables if table not in dropped]
            return tables[-1 - choice % len(tables)]

    def has_spare_tables(self):
        with self._lock:
            return len(self._tables) > SPARE

    def tables(self):
        with self._lock:
            return set(self._tables)

    def commit(self, work):
        with self._lock:
            self.committed[work.program] = work.done
            tables = [*self._tables, *work.done.made]
            self._tables = [table for table in tables if table not in work.done.dropped]
        self.count("committed")
        self.count("drops", len(work.done.dropped))
        self.count("destructions", len(work.done.destroyed))

    def roll_back(self):
        self.count("rolled back")

    def doubt(self, work):
        """The server died between COMMIT and its answer: all of it or nothing."""
        with self._lock:
            self.in_doubt[work.program] = work.done
        self.count("in doubt")
