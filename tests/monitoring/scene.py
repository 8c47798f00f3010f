"""A shop with sealed columns at work while its KMS has good and bad times, and an exporter and Prometheus that look on."""

import contextlib
import random
import re
import threading
import time

import psycopg
from harness import document, faults
from harness import moto as kms
from harness.cluster import Cluster
from harness.process import wait_until
from harness.proxy import FaultProxy

from . import files
from .programs import Exporter, Prometheus

TABLES = [f"{name}_{year}" for name in ("orders", "patients") for year in range(2023, 2026)] + ["customers"]
CLIENTS = 4
# How far a KMS is in the same region.
NEAR = 0.02
# What panels ask over: a scrape comes each second.
WINDOW = "5s"


def page(language):
    return document.blocks("monitoring.md", "From nothing to alerts", language)


def make_role(cluster):
    """As the page makes it."""
    for block in page("sql"):
        cluster.sql(block)


def flags():
    """Those that the page gives the exporter."""
    [given] = re.findall(r"^ARGS='(.*)'$", page("sh")[0], re.M)
    return given.replace("/etc/prometheus/queries.yaml", str(files.QUERIES)).split()


def dsn(cluster, dbname):
    """As the page has it, of this cluster."""
    [given] = re.findall(r"^DATA_SOURCE_NAME='(.*)'$", page("sh")[0], re.M)
    given = given.replace("/run/postgresql", str(cluster.base)).replace("dbname=shop", f"dbname={dbname}")
    return f"{given} port={cluster.port}"


class Scene:
    """`phases` has the beginning of each, by its name; `start` and `end` are the times of the whole."""

    def __init__(self, seconds):
        """Each phase takes so long."""
        self.phases = {}
        self._seconds = seconds
        self._over = threading.Event()
        self._open = contextlib.ExitStack()

    def __enter__(self):
        try:
            self._set_up()
            self._play()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_):
        self._open.close()

    # -- the stage ----------------------------------------------------------------------------------------------

    def _set_up(self):
        enter = self._open.enter_context
        moto = enter(kms.Moto())
        self.proxy = enter(FaultProxy(moto.url))
        self.kek, self.other = kms.kek(moto.create_key()), kms.kek(moto.create_key(kms.OTHER_REGION))
        self.cluster = enter(Cluster(conf={
            "shared_preload_libraries": "pgrx-example",
            "envelope.default_kek": self.kek,
            "envelope.allowed_keks": f"{self.kek}, {self.other}",
            "envelope.aws_region": kms.REGION,
            "envelope.aws_endpoint_url": f"{kms.REGION}={self.proxy.url}, {kms.OTHER_REGION}={moto.url}",
            "envelope.kms_timeout": "1s",
            # Keys are asked for again and again, so that there is something to see.
            "envelope.cache_ttl": "2s",
        }, env=kms.CREDENTIALS))
        for dbname in ("shop", "crm"):
            self.cluster.create_database(dbname)
        self._make_tables()
        self.exporter = enter(Exporter(dsn(self.cluster, "shop"), *flags()))
        self.prometheus = enter(Prometheus(self.exporter, files.RULES))

    def sql(self, query, params=None):
        return self.cluster.sql(query, params, "shop")

    def _make_tables(self):
        for table in TABLES:
            self.sql(f"CREATE TABLE {table} (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, secret envelope.sealed "
                     "CHECK (envelope.is_sealed(secret)))")
            self.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION envelope_seal('secret')")
            self.sql(f"INSERT INTO {table} (secret) SELECT 'value ' || i FROM generate_series(1, 50) AS i")
        # What the alerts are there for: a column in clear, a key that was used for too long.
        self.sql("CREATE TABLE loose (id int PRIMARY KEY, secret envelope.sealed)")
        self.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON loose FOR EACH ROW EXECUTE FUNCTION envelope_seal('secret')")
        self.sql("INSERT INTO loose VALUES (1, 'x')")
        self.sql("ALTER TABLE loose DISABLE TRIGGER seal")
        self.sql("""SELECT envelope.set_limits('loose', '{"cryptoperiod": 1}')""")
        # One table has a KEK in another region to fall over to.
        self.sql("SELECT envelope.add_kek('customers', %s)", (self.other,))
        make_role(self.cluster)
        # Another database has something, too.
        self.cluster.sql("CREATE TABLE people (id int, secret envelope.sealed)", dbname="crm")
        self.cluster.sql("INSERT INTO people VALUES (1, envelope_encrypt_text('people', 'x')::envelope.sealed)", dbname="crm")

    # -- the play -----------------------------------------------------------------------------------------------

    def _play(self):
        wait_until(lambda: self.prometheus.at("envelope_info"), "a first scrape")
        self.start = time.time()
        clients = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            self._phase("usual", "*", faults.delay(NEAR))
            self._phase("slow", "*", faults.delay(0.4))
            self._phase("denied", "Decrypt", faults.deny)
            self._phase("out of reach", "*", faults.unavailable)
            self._phase("usual again", "*", faults.delay(NEAR))
            # Longer, as a statement may have waited for the KMS.
            time.sleep(2)
        finally:
            self._over.set()
            for client in clients:
                client.join(30)
        self.end = time.time()

    def _phase(self, name, operation, fault):
        self.proxy.clear()
        self.proxy.fault(operation, fault)
        self.phases[name] = time.time()
        time.sleep(self._seconds)

    def _client(self, number):
        """Comes with a new session now and then, as one through a pool does."""
        dice = random.Random(number)
        while not self._over.is_set():
            with contextlib.suppress(psycopg.Error), self.cluster.connect("shop") as c:
                for _ in range(20):
                    self._work(c, dice)

    def _work(self, c, dice):
        if self._over.wait(0.05):
            return
        table = dice.choice(TABLES)
        with contextlib.suppress(psycopg.OperationalError, psycopg.errors.InsufficientPrivilege):
            c.execute(f"SELECT envelope_decrypt_text('{table}', secret) FROM {table} LIMIT %s", (dice.randint(1, 50),)).fetchall()
            c.execute(f"INSERT INTO {table} (secret) VALUES ('another')")
