"""envelope.check() beside all that goes on."""

import threading

import psycopg

from .server import Died, execute

# No program breaks anything, and the key file stays where it is: each would be a false alarm.
ALARMS = "SELECT sqlstate, relation, key_id, message FROM envelope.check() WHERE NOT ok"


class Watch(threading.Thread):
    """Calls it in a loop, through crashes. `problem` is what it found wrong, and ends it."""

    def __init__(self, cluster, oracle, over):
        super().__init__(daemon=True)
        self.problem = None
        self._cluster, self._oracle, self._over = cluster, oracle, over

    def run(self):
        while not self._over.is_set():
            try:
                with self._cluster.connect() as c:
                    self._check(c)
            except (Died, psycopg.OperationalError) as e:
                if isinstance(e, psycopg.Error) and e.sqlstate not in (None, "57P03"):
                    self._tell(e)
                self._over.wait(0.05)
            except BaseException as e:
                self._tell(e)

    def _check(self, c):
        while not self._over.is_set():
            alarms = execute(c, ALARMS).fetchall()
            assert not alarms, f"false alarms of envelope.check(): {alarms[:5]}"
            self._oracle.count("checks")
            self._over.wait(0.02)

    def _tell(self, e):
        self.problem = AssertionError(f"the watch: {e!r}")
        self._over.set()
