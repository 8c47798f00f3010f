"""The first use of a key in a new backend: time, memory, KMS requests; with a key file, and with AWS KMS and transit over
HTTP."""

import statistics

from harness import faults
from harness import moto as kms
from harness.jwt import Issuer
from harness.openbao import OpenBao
from harness.proxy import FaultProxy
from harness.secrets_dir import SecretsDir

from . import place, timing

# A KMS in the same region answers in some 10 ms; the endpoint here in less, so it is made slower.
LATENCY = 0.010
BACKENDS = 11
STATEMENTS = 10
SEAL = "SELECT envelope_encrypt('bench', 'sixteen bytes ok')"


def with_file():
    with place.server() as cluster:
        return first_use(cluster)


def with_aws():
    with kms.Moto() as moto, FaultProxy(moto.url) as proxy:
        conf = {"envelope.default_kek": kms.kek(moto.create_key()), "envelope.aws_region": kms.REGION,
                "envelope.aws_endpoint_url": proxy.url}
        with place.server(conf, env=kms.CREDENTIALS) as cluster:
            found = first_use(cluster, proxy)
            proxy.reset_counts()
            cluster.sql("INSERT INTO rows SELECT envelope_encrypt('bench', convert_to('v' || g, 'UTF8')) "
                        "FROM generate_series(1, 100000) g")
            found["requests to seal 100,000 rows"] = sum(proxy.counts.values())
            proxy.reset_counts()
            cluster.sql("SELECT count(envelope_decrypt('bench', v)) FROM rows")
            found["requests to open 100,000 rows"] = sum(proxy.counts.values())
            return found


def with_vault(auth="inline-jwt"):
    """Each backend logs in by a signed token: with the request, or, by `jwt`, before it."""
    issuer = Issuer()
    with OpenBao() as bao, FaultProxy(bao.url) as proxy, SecretsDir() as files:
        bao.create_key("bench")
        bao.key_policy("bench", "bench")
        bao.enable_auth("jwt")
        bao.jwt_role("bench", issuer, "bench")
        conf = {"envelope.default_kek": f"vault+http://127.0.0.1:{proxy.port}/transit/keys/bench",
                "envelope.vault_auth": auth, "envelope.vault_role": "bench",
                "envelope.vault_jwt_file": files.write("jwt", issuer.token("postgres", lives=86400))}
        with place.server(conf) as cluster:
            return first_use(cluster, proxy)


def slow(taken):
    """A KMS in another house; notes how many milliseconds each request took at the endpoint."""

    def fault(exchange):
        taken.append(timing.timed(faults.delay(LATENCY), exchange) / 1e6)

    return fault


def first_use(cluster, proxy=None):
    """Medians over new backends. The KMS round trip is what passes at the endpoint, for each request."""
    round_trips = []
    cluster.sql('CREATE EXTENSION "pgrx-example"')
    cluster.sql("CREATE TABLE bench (v bytea)")
    cluster.sql("CREATE TABLE rows (v bytea)")
    cluster.sql("SELECT envelope.create_key('bench')")
    if proxy:
        proxy.fault("*", slow(round_trips))
    backends = [one_backend(cluster, proxy) for _ in range(BACKENDS + 1)][1:]
    if proxy:
        proxy.clear()
    median = {name: statistics.median(backend[name] for backend in backends)
              for name in ("first ms", "kB before", "kB after", "kB without a file")}
    # All that a backend makes until it has its first value.
    trips = backends[-1]["requests"][0]
    round_trip = statistics.median(round_trips) * trips if proxy else 0
    statements = [statistics.median(backend["statements"][i] for backend in backends) for i in range(STATEMENTS)]
    return {**median, "round trip ms": round_trip, "above it ms": median["first ms"] - round_trip,
            "statements ms": statements, "requests": backends[-1]["requests"]}


def one_backend(cluster, proxy):
    with cluster.connect() as connection:
        pid = connection.info.backend_pid
        # What any first statement costs, and the library's load, is not ours to count twice.
        connection.execute("SELECT count(*) FROM bench")
        connection.execute("SELECT envelope_context('a', 'b')")
        before, own = timing.resident(pid), timing.anonymous(pid)
        if proxy:
            proxy.reset_counts()
        statements, requests = [], []
        for _ in range(STATEMENTS):
            statements.append(timing.timed(connection.execute, SEAL) / 1e6)
            requests.append(sum(proxy.counts.values()) if proxy else 0)
        after = timing.resident(pid)
        return {"first ms": statements[0], "kB before": before, "kB after": after,
                "kB without a file": timing.anonymous(pid) - own, "statements": statements, "requests": requests}
