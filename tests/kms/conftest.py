"""Each provider with its server and a cluster that asks it, and a table a test."""

import contextlib
import itertools
import os

import pytest
from harness.cluster import Cluster
from harness.database import Database

from .providers import CHOSEN

# Of a server that takes long to set up, in `make test-kms` alone.
LONG = ["test_kmip.py", "test_kmip_docs.py", "test_localstack.py"]
collect_ignore = [] if os.environ.get("ENVELOPE_KMS") == "all" else LONG

# One operation with its tries. What hangs does so for much longer.
TIMEOUT, ATTEMPTS = 3, 2
_numbers = itertools.count(1)


def together(provider):
    """Tests of one provider run in one process, so that its server is started once (`--dist loadgroup`)."""
    return pytest.mark.xdist_group(provider.name)


@pytest.fixture(scope="session")
def _started():
    """A provider by its class, with its database; each is started when the first test wants it."""
    with contextlib.ExitStack() as stack:
        started = {}

        def start(provider_class):
            if provider_class not in started:
                provider = provider_class(stack)
                conf = {"envelope.kms_timeout": f"{TIMEOUT}s", "envelope.kms_max_attempts": ATTEMPTS,
                        "envelope.allowed_keks": "*", "max_connections": 300, **provider.conf}
                cluster = stack.enter_context(Cluster(conf=conf, env=provider.env))
                started[provider_class] = provider, Database(cluster)
            return started[provider_class]

        yield start


@pytest.fixture(params=[pytest.param(provider, id=provider.name, marks=together(provider)) for provider in CHOSEN])
def place(request, _started):
    """A provider, and a table whose key is under a KEK of its own."""
    provider, db = _started(request.param)
    provider.calm()
    made = Place(provider, db)
    yield made
    provider.calm()
    made.forget()


class Place:
    """A table `name` that the trigger seals; its first data key is under `kek`."""

    def __init__(self, provider, db):
        self.provider, self.db = provider, db
        self.name = f"t{next(_numbers)}"
        self.kek = provider.new_kek()
        db.people(self.name)
        self.log_starts = db.cluster.log.stat().st_size
        self.plaintexts = []

    def create_key(self):
        self.db.sql("SELECT envelope.create_key(%s::text::regclass, %s)", (self.name, self.kek))
        return self

    def insert(self, c=None):
        """One more value, one that no log may hold."""
        text = f"plaintext-{self.name}-{len(self.plaintexts)}"
        run = c.execute if c else self.db.sql
        run(f"INSERT INTO {self.name} VALUES (%s, %s)", (len(self.plaintexts), text.encode()))
        self.plaintexts.append(text)

    @property
    def opening(self):
        return f"SELECT envelope_decrypt_text('{self.name}', ssn) FROM {self.name} ORDER BY id"

    def opens(self, c=None):
        """Whether all that was sealed opens: in a new session, or in one that is there."""
        rows = c.execute(self.opening).fetchall() if c else self.db.sql(self.opening)
        return rows == [(text,) for text in self.plaintexts]

    def wraps(self):
        """KEK, context, wrap and key id of the table's data keys, the newest last."""
        return self.db.sql("SELECT w.kek, w.kms_context, w.wrapped, w.key_id FROM envelope.wrapped_key w "
                           "JOIN envelope.data_key USING (key_id) JOIN envelope.keyring_table USING (keyring_id) "
                           "WHERE relation::oid = %s::text::regclass ORDER BY version, w.kek", (self.name,))

    def data_keys(self):
        """By another way than the extension's."""
        return [self.provider.data_key(kek, wrapped, context) for kek, context, wrapped, _ in self.wraps()]

    def change_wrap(self, **columns):
        """As whoever may write the catalog."""
        wanted = ", ".join(f"{column} = %({column})s" for column in columns)
        self.db.sql(f"UPDATE envelope.wrapped_key SET {wanted} WHERE key_id = %(key)s",
                    {**columns, "key": self.wraps()[-1][3]})

    def forget(self):
        """All keys of the database: envelope.check() of later tests shall not ask for them."""
        self.db.sql(f"DROP TABLE {self.name}")
        for table in ("wrapped_key", "data_key", "keyring_table", "keyring"):
            self.db.sql(f"DELETE FROM envelope.{table}")

    def log(self):
        """What the server logged since the test began."""
        with open(self.db.cluster.log, "rb") as f:
            f.seek(self.log_starts)
            return f.read()
