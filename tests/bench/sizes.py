"""Nanoseconds a value, sealed and opened in a query, by size: ours, pgcrypto's, and the floor beneath any."""

import json
import statistics
import subprocess

from harness import place as tree

from . import place, timing

# Rows for each size: about as long a scan for each.
ROWS = {16: 200_000, 64: 200_000, 256: 150_000, 1024: 100_000, 4096: 30_000, 16_384: 8_000, 65_536: 2_000,
        1_048_576: 150}
KEY, IV = "'\\x" + "11" * 32 + "'::bytea", "'\\x" + "22" * 16 + "'::bytea"
# Each takes the value v. The bare scan does not look into it: what fetching a long value costs is part of the work.
SCAN = "octet_length(v)"
COPY = "octet_length(v || ''::bytea)"
OURS = {"seal": "octet_length(envelope_encrypt('bench', v))", "open": "octet_length(envelope_decrypt('bench', v))"}
PGCRYPTO = {way: f"octet_length({function}(v, {KEY}, {IV}, 'aes-cbc'))"
            for way, function in (("seal", "encrypt_iv"), ("open", "decrypt_iv"))}


def build():
    """The program that measures the cipher alone."""
    done = subprocess.run(["cargo", "bench", "--quiet", "-p", "gcm", "--bench", "aead", "--no-run",
                           "--message-format=json"], cwd=tree.ROOT, check=True, capture_output=True, text=True)
    built = map(json.loads, done.stdout.splitlines())
    return next(line["executable"] for line in built if line.get("executable") and line["target"]["name"] == "aead")


def aead(program, size):
    """Nanoseconds of one call of AES-256-GCM in a process of its own: {library: {seal, open}}."""
    done = subprocess.run([program, str(size)], check=True, capture_output=True, text=True)
    return {line["library"]: line for line in map(json.loads, done.stdout.splitlines())}


def in_turn(keys):
    """Nanoseconds of one call of the cipher alone, 16 bytes sealed under each of so many keys in turn."""
    done = subprocess.run([build(), "keys", str(keys)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["seal"]


def table(connection, name):
    """In line or out of line as the size has it, never compressed: ciphers are what is measured."""
    connection.execute(f"CREATE UNLOGGED TABLE {name} (v bytea)")
    connection.execute(f"ALTER TABLE {name} ALTER v SET STORAGE EXTERNAL")


def of_size(connection, program, size, rows):
    """Nanoseconds a value above a bare scan: {seal: {ours, pgcrypto, copy, aead, library, floor}, open: …}. The cipher
    alone is measured between the queries, so that it meets the same machine."""
    connection.execute("DROP TABLE IF EXISTS plain, ours, pgcrypto")
    for name in ("plain", "ours", "pgcrypto"):
        table(connection, name)
    connection.execute("INSERT INTO plain SELECT substr(string_agg(sha512(convert_to(g || '.' || i, 'UTF8')), ''), 1, "
                       f"{size}) FROM generate_series(1, {rows}) g, generate_series(1, {-(-size // 64)}) i GROUP BY g")
    connection.execute("INSERT INTO ours SELECT envelope_encrypt('bench', v) FROM plain")
    connection.execute(f"INSERT INTO pgcrypto SELECT encrypt_iv(v, {KEY}, {IV}, 'aes-cbc') FROM plain")
    connection.execute("VACUUM ANALYZE plain, ours, pgcrypto")
    # At 16 bytes the floor is `v || v`, which copies as many bytes as ours add.
    copy = "octet_length(v || v)" if size == 16 else COPY
    texts = {}
    for way, (from_, by_pgcrypto) in {"seal": ("plain", "plain"), "open": ("ours", "pgcrypto")}.items():
        texts |= {
            (way, "scan"): f"SELECT sum({SCAN}) FROM {from_}",
            (way, "copy"): f"SELECT sum({copy}) FROM {from_}",
            (way, "ours"): f"SELECT sum({OURS[way]}) FROM {from_}",
            (way, "pgcrypto scan"): f"SELECT sum({SCAN}) FROM {by_pgcrypto}",
            (way, "pgcrypto"): f"SELECT sum({PGCRYPTO[way]}) FROM {by_pgcrypto}",
        }
    pid, calls = connection.info.backend_pid, []
    works = {name: (lambda text=text: timing.on_processor(pid, lambda: connection.execute(text)) / rows)
             for name, text in texts.items()}
    took = {name: [] for name in works}
    for _ in range(timing.REPETITIONS + 1):
        calls.append(aead(program, size))
        for name, work in works.items():
            took[name].append(work())
    took = {name: statistics.median(samples[1:]) for name, samples in took.items()}
    return {way: of_way(way, took, calls[1:]) for way in ("seal", "open")}


def of_way(way, took, calls):
    alone = {library: statistics.median(call[library][way] for call in calls) for library in calls[0]}
    library = min(alone, key=alone.get)
    copy = took[way, "copy"] - took[way, "scan"]
    return {"ours": took[way, "ours"] - took[way, "scan"],
            "pgcrypto": took[way, "pgcrypto"] - took[way, "pgcrypto scan"],
            "copy": copy, "alone": alone, "library": library, "floor": copy + alone[library]}


def measure():
    """[{size, rows, seal: {ours, pgcrypto, copy, alone, library, floor}, open: …}]"""
    program, results = build(), []
    with place.server() as cluster, cluster.connect() as connection:
        place.extensions(connection)
        connection.execute("CREATE TABLE bench (v bytea)")
        connection.execute("SELECT envelope.create_key('bench')")
        for size, rows in ROWS.items():
            print(f"  {size:,} bytes", flush=True)
            results.append({"size": size, "rows": rows, **of_size(connection, program, size, rows)})
        one_transaction_each(connection, results[0])
    return results


def one_transaction_each(connection, result):
    """Opening 16 bytes where no two values were sealed together, as single-row transactions leave them."""
    connection.execute("DROP TABLE IF EXISTS plain, ours, pgcrypto")
    table(connection, "ours")
    connection.execute("""SELECT envelope.set_limits('bench', '{"session_max_values": 1}')""")
    connection.execute("CREATE UNLOGGED TABLE plain AS SELECT substr(sha512(convert_to(g::text, 'UTF8')), 1, 16) AS v "
                       f"FROM generate_series(1, {result['rows']}) g")
    connection.execute("INSERT INTO ours SELECT envelope_encrypt('bench', v) FROM plain")
    connection.execute("VACUUM ANALYZE plain, ours")
    took = timing.queries(connection, {
        "plain": f"SELECT sum({SCAN}) FROM plain", "seal": f"SELECT sum({OURS['seal']}) FROM plain",
        "scan": f"SELECT sum({SCAN}) FROM ours", "open": f"SELECT sum({OURS['open']}) FROM ours"}, result["rows"])
    result["seal"]["nonces drawn anew"] = took["seal"] - took["plain"]
    result["open"]["nonces drawn anew"] = took["open"] - took["scan"]
    connection.execute("SELECT envelope.set_limits('bench', '{}')")
