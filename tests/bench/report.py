"""docs/bench: results.json for machines, README.md for people, and plots."""

import json
import platform

from harness import place as tree

from . import plot, targets

PLACE = tree.ROOT / "docs" / "bench"


def machine(version):
    with open("/proc/cpuinfo") as f:
        model = next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    return {"processor": model, "kernel": platform.release(), "postgresql": version}


def write(results):
    PLACE.mkdir(exist_ok=True)
    (PLACE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    for way in ("seal", "open"):
        (PLACE / f"{way}.svg").write_text(by_size(results, way))
    (PLACE / "cold.svg").write_text(cold_start(results))
    if "search" in results:
        (PLACE / "search.svg").write_text(search(results["search"]))
    if "leakage" in results:
        (PLACE / "leakage.svg").write_text(leakage(results["leakage"]))
    (PLACE / "README.md").write_text("\n".join(text(results)) + "\n")


def of_one_row(results):
    if "one row" not in results:
        return
    builds = {{"now": "now", "before": "in an earlier build"}[name]: ns for name, ns in results["one row"]["ns"].items()}
    yield from ("", "Each transaction draws 24 random bytes for the nonces of what it seals under a key. Nanoseconds that sealing 16 B "
                "then adds:", "", f"| | {' | '.join(builds)} |", "|---|" + "--:|" * len(builds))
    for name, work in (("seal", "to a value, a nonce drawn for each"), ("envelope_encrypt", "to a transaction, <code>envelope_encrypt</code>"),
                       ("INSERT", "to a transaction of one <code>INSERT</code>, the trigger")):
        yield f"| {work} | {' | '.join(f'{ns[name]:,.0f}' for ns in builds.values())} |"


def of_instructions(results):
    if "instructions" not in results:
        return
    now, before = results["instructions"]["now"], results["instructions"].get("before")
    yield from ("", "## Instructions a value", "", "Counted by callgrind in a server of single-user mode, above a scan that looks into no "
                "value: the same on every run. The processor that callgrind plays has AES-NI and AVX2; AWS-LC, which has the values "
                "longer than 64 B, takes fewer instructions on newer ones. The copy is <code>v &#124;&#124; v</code> at 16 B, and "
                "<code>v &#124;&#124; ''</code> else.", "",
                "| size | copy | seal | pgcrypto | open | pgcrypto |", "|--:|--:|--:|--:|--:|--:|")
    for size in now["sizes"]:
        cells = [size["copy"], size["seal"], size["pgcrypto"]["seal"], size["open"], size["pgcrypto"]["open"]]
        yield f"| {targets.named(size['size'])} | {' | '.join(f'{count:,.0f}' for count in cells)} |"
    rows = now["rows"]
    yield from ("", f"The sealing trigger adds {rows['trigger']:,.0f} to an INSERT of 16 B, its longer row included; a PL/pgSQL trigger of "
                f"RETURN NEW adds {rows['PL/pgSQL']:,.0f}.")
    if before:
        yield (f"In an earlier build, 16 B took {before['sizes'][0]['seal']:,.0f} to seal and {before['sizes'][0]['open']:,.0f} to open, and the "
               f"trigger {before['rows']['trigger']:,.0f}.")


def of_search(results):
    if "search" in results:
        found = results["search"]
        yield from ("", "## Search", "", f"{found['rows']:,} rows. Milliseconds of a question on the processor, its rows opened. "
                    f"A backend makes {found['terms a second']:,.0f} terms a second for whoever may search.", "",
                    "![search by kind](search.svg)", "", "| question | ms |", "|---|--:|")
        for name, ms in found["ms"].items():
            yield f"| {name} | {ms:,.3g} |"
        yield from ("", "| index | bytes a row in it | in the table |", "|---|--:|--:|")
        column = found["bytes a row"]["column"]
        for name, size in found["bytes a row"]["index"].items():
            yield f"| {name} | {size:.1f} | {f'{column[name]:.0f}' if name in column else ''} |"
    if "leakage" in results:
        found = results["leakage"]
        yield from ("", "## What search indexes give away", "", f"Columns of {found['rows']:,} rows; [Search](../search.md#measured) says "
                    "of what, and what each attack is.", "", "![leakage by kind](leakage.svg)", "",
                    "| kind | column | what the thief has | right |", "|---|---|---|--:|")
        for one in found["attacks"]:
            yield f"| {one['kind']} | {one['column']} | {one['attack']} | {one['share']:.1%} |"


def of_leases(results):
    if "leases" not in results:
        return
    result, names = results["leases"], {"before": "the build before leases", "each for itself": "leases switched off", "leases": "leases"}
    builds = {names[name]: build for name, build in result["builds"].items()}
    yield from ("", "## Leases", "", "Backends that share [leases](../scale-out.md), beside those that do not, in one run; a KMS "
                "behind a delay of 20 ms.", "", f"| | {' | '.join(builds)} |", "|---|" + "--:|" * len(builds))
    lines = {
        "KMS requests of 100 new backends that open one value at once": lambda b: f"{b['at once']['requests']}",
        "ms until the median, and the last of them has its value":
            lambda b: f"{b['at once']['median ms']:,.0f}, {b['at once']['last ms']:,.0f}",
        "MB of all 100, without files": lambda b: f"{b['at once']['MB of all']:,.0f}",
        "ms of a new backend's first value, key leased where there are leases": lambda b: f"{b['first']['first ms']:.2f}",
        "ms of the same statement without us": lambda b: f"{b['first']['plain ms']:.2f}",
        "kB that the backend gains, with pages of the library": lambda b: f"{b['first']['kB with files']:,.0f}",
        "kB that it gains without": lambda b: f"{b['first']['kB']:,.0f}",
        "p99 of a look-up away from expiries, ms": lambda b: f"{b['expiry']['p99 away ms']:.2f}",
        "p99 over an expiry, ms": lambda b: f"{b['expiry']['p99 near ms']:.2f}",
        "the longest over an expiry, ms": lambda b: f"{b['expiry']['longest near ms']:.1f}",
        "1,000 clients through PgBouncer, 100 backends at most: KMS requests": lambda b: f"{b['pgbouncer']['requests']}",
        "ms until the median, and the last client has its value":
            lambda b: f"{b['pgbouncer']['median ms']:,.0f}, {b['pgbouncer']['last ms']:,.0f}",
    }
    for work, shown in lines.items():
        yield f"| {work} | {' | '.join(shown(build) for build in builds.values())} |"
    for backends, count in result["builds"]["leases"]["counts"].items():
        shown = " | ".join(f"{build['counts'][backends]['requests']}" for build in builds.values())
        yield (f"| KMS requests of {backends} backends that use {count['keys']} keys for {count['seconds']} s, "
               f"<code>cache_ttl</code> {count['ttl']} s | {shown} |")
    counted = result["instructions"]
    yield from ("", "Instructions of a value of 16 B above a scan, by callgrind: " + "; ".join(
        f"{names[name]} {ways['seal']:,.0f} to seal, {ways['open']:,.0f} to open" for name, ways in counted.items()) + ".")


def by_size(results, way):
    names = {"ours": "envelope", "pgcrypto": "pgcrypto aes-256-cbc", "floor": "floor: copy + AES-GCM"}
    series = {shown: [(size["size"], size[way][name]) for size in results["sizes"]] for name, shown in names.items()}
    return plot.lines(f"Time to {way} a value in a query, above a bare scan", "bytes", "nanoseconds", series)


def cold_start(results):
    cold = results["cold"]
    series = {f"{kms}, ms": list(enumerate(cold[kms]["statements ms"], 1)) for kms in cold}
    series["KMS requests so far, aws"] = list(enumerate(cold["aws"]["requests"], 1))
    return plot.lines("The first statements of a new backend that seal", "statement", "milliseconds, requests", series,
                      log=False, shown=lambda value: f"{value:g}")


def search(found):
    """Time and bytes, by kind."""
    ms = found["ms"]
    asked = {"look-up of a row": ["plain look-up", "exact"], "range of 0.01 %": ["plain range 0.01 %", "tree 0.01 %"],
             **{f"range of {part}": [f"plain range {part}", f"buckets {part}"] for part in ("0.1 %", "1 %", "10 %")},
             "part of 5 letters": ["pg_trgm", "parts(3)", "opening every row"]}
    groups = {f"{what}, ms": {name: ms[name] for name in names} for what, names in asked.items()}
    return plot.bars(f"Search by kind, {found['rows']:,} rows: time, and bytes a row",
                     groups | {"bytes a row in the index": found["bytes a row"]["index"]})


def leakage(found):
    groups = {}
    for one in found["attacks"]:
        groups.setdefault(f"{one['kind']}", {})[f"{one['column']}: {one['attack']}"] = one["share"] * 100
    return plot.bars("What a thief of the disk has right, % of the rows (of neighbours, of pieces)", groups, shown=lambda value: f"{value:.1f} %", whole=100)


def text(results):
    m = results["machine"]
    yield from ("# Benchmarks", "", "`make bench` writes this directory. It sets up what is missing, builds a release for "
                "plain x86-64 (the ciphers look at run time for what the processor has), and measures on a server of its "
                "own. Trigger, rights and time to live are as they are for a user.", "",
                f"This run: {m['processor']}, Linux {m['kernel']}, {m['postgresql']}. Each figure is the median of "
                f"{results['repetitions']} interleaved repetitions, of a backend's time on its processor. What counts is the "
                "ratio of two figures. All figures are in [results.json](results.json).", "",
                "![seal](seal.svg)", "", "![open](open.svg)", "",
                "![cold start](cold.svg)", "", "## Targets", "",
                "If a line has a colon, its figure is the ratio of the work before it to the work after it.", "",
                "| work: compared with | target | measured | |", "|---|---|---|---|")
    for work, aim, measured, met in targets.rows(results):
        yield f"| {work} | {aim} | {measured} | {'' if met is None else 'met' if met else '**not met**'} |"
    yield from ("", "## Nanoseconds a value above a bare scan", "",
                "The floor is a copy of the value in SQL, plus one call of the fastest AES-256-GCM at that size, in a process of "
                "its own, with its key kept.", "",
                "| size | seal | pgcrypto | floor | open | pgcrypto | floor |", "|--:|--:|--:|--:|--:|--:|--:|")
    for size in results["sizes"]:
        cells = [f"{size[way][name]:,.0f}" for way in ("seal", "open") for name in ("ours", "pgcrypto", "floor")]
        yield f"| {targets.named(size['size'])} | {' | '.join(cells)} |"
    first = results["sizes"][0]
    yield from ("", "If no two values were sealed together, a nonce is drawn for each: in single-row transactions, and with "
                f"`session_max_values` 1. Then sealing 16 B takes {first['seal']['nonces drawn anew']:,.0f} and opening it "
                f"{first['open']['nonces drawn anew']:,.0f}.", "", "## Writing", "",
                "| | without a trigger | sealing | PL/pgSQL, RETURN NEW |", "|---|--:|--:|--:|")
    copy, inserts = results["copy"], results["inserts"]
    yield f"| COPY, ms | {copy['bare']:,.0f} | {copy['sealed']:,.0f} | {copy['plpgsql']:,.0f} |"
    yield f"| INSERTs a second | {inserts['bare']:,.0f} | {inserts['sealed']:,.0f} | {inserts['plpgsql']:,.0f} |"
    yield from of_one_row(results)
    storage = results["storage"]
    yield from ("", "20,000 values of 4 KiB into a sealed column: "
                + ", ".join(f"{m['ms']:,.0f} ms and {m['MB']:,.0f} MB with `STORAGE {kind}`" for kind, m in storage.items())
                + ".", "", "## Outside the database", "",
                "One value of 16 B is stored, and one is read, each by a statement of its own, from Python over a local "
                "socket. Microseconds, round trip included. The others encrypt in the client.", "",
                "| | store | read |", "|---|--:|--:|")
    for name, took in results["peers"].items():
        yield f"| {name} | {took['store']:,.0f} | {took['read']:,.0f} |"
    yield from of_instructions(results)
    yield from of_search(results)
    aws = results["cold"]["aws"]
    yield from ("", "## KMS", "",
                f"With a KMS that answers in {aws['round trip ms']:.1f} ms, a new backend's first value takes "
                f"{aws['first ms']:.1f} ms and one request. The second takes {aws['statements ms'][1]:.2f} ms and none. "
                f"To seal 100,000 rows on a cold cache takes {aws['requests to seal 100,000 rows']} request, to open them "
                f"{aws['requests to open 100,000 rows']}.")
    vault = results["cold"].get("vault")
    if vault:
        yield (f"That is AWS KMS, played by moto. Transit, in OpenBao behind the same delay, takes {vault['first ms']:.1f} ms, "
               f"of which {vault['round trip ms']:.1f} ms pass at the endpoint, with the login in the request.")
    first = results["cold"].get("vault, login first")
    if first:
        yield (f"With a login before it, it takes {first['first ms']:.1f} ms and {first['requests'][0]} requests, over one "
               "connection.")
    yield from of_leases(results)
