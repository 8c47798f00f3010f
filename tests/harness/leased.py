"""Clusters whose backends share leases, and sessions that need one key at once."""

import contextlib
import threading

from . import faults, process
from . import moto as kms
from .cluster import Cluster
from .database import Database
from .work import Work

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
WAITS = "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = %s"


def conf(moto, url, **more):
    """Settings of a cluster that shares leases and asks KMS there. Each failure is one request, so that counts tell."""
    return {"shared_preload_libraries": "pgrx-example", "envelope.default_kek": kms.kek(moto.create_key()),
            "envelope.aws_region": kms.REGION, "envelope.aws_endpoint_url": url, "envelope.kms_max_attempts": 1,
            "envelope.kms_timeout": "60s", **{name.replace("__", "."): value for name, value in more.items()}}


@contextlib.contextmanager
def cluster(moto, proxy, **more):
    with Cluster(conf=conf(moto, proxy.url, **more), env={**kms.CREDENTIALS, "AWS_ENDPOINT_URL_STS": proxy.url}) as c:
        yield c


@contextlib.contextmanager
def one_value(cluster, proxy):
    """A database with the value x, no lease of its key, and no request counted yet."""
    db = Database(cluster)
    db.people(rows=["x"])
    forget(db)
    proxy.reset_counts()
    yield db
    db.drop()


def hold(proxy, then=faults.none, operation="Decrypt"):
    """The next such request is held until `clear` and answered by `then`; those after it are not. Gives a function that
    waits until it is held."""
    held = threading.Event()

    def fault(x):
        held.set()
        x.released.wait(120)
        then(x)

    proxy.fault(operation, fault, times=1)
    return lambda: process.wait_until(held.is_set, f"a {operation} request")


def forget(db):
    """No backend and no lease has a key."""
    db.sql("SELECT envelope.flush_cache(everywhere => true)")


def asked(db, proxy, **kw):
    """How many Decrypt requests it takes a new session to open the one value."""
    before = proxy.counts["Decrypt"]
    assert db.sql(OPEN, **kw) == [("x",)]
    return proxy.counts["Decrypt"] - before


class Crowd:
    """Sessions that open one value: `asker` asks the KMS for its key, `others` wait for the answer. All are new, so that none has
    the key."""

    def __init__(self, db, size=4, statement=OPEN):
        self.db, self.statement = db, statement
        self.asker, *self.others = self.sessions = [db.connect() for _ in range(size)]
        self.asking, self.waiting = None, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for session in self.sessions:
            with contextlib.suppress(Exception):
                session.cancel()
            session.close()

    def start(self, is_asking):
        """Until the asker is where `is_asking` waits for it to be, and all others wait."""
        self.asking = Work(self.asker.execute, self.statement)
        is_asking()
        self.waiting = [Work(session.execute, OPEN) for session in self.others]
        for session in self.others:
            process.wait_until(lambda: waits(self.db, session), "it waits")
        return self

    def opened(self, works=None):
        """The others have their value."""
        return [work.result().fetchall() for work in works or self.waiting] == [[("x",)]] * len(works or self.waiting)


def waits(db, session):
    return db.value(WAITS, (session.info.backend_pid,))


def cut(work):
    """Waits until a session's work ends because the server does, and fails when it ends otherwise."""
    error = work.error()
    assert error.sqlstate in (None, "57P02", "57P01"), error
