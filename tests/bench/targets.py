"""What was aimed at, what was measured, and whether that is it: each a ratio within one run."""


def rows(results):
    """[(work, target, measured, met)]; `met` is None where nothing was aimed at."""
    found = [row for size in results["sizes"] for row in of_size(size)]
    found += of_instructions(results["instructions"]["now"]) if "instructions" in results else []
    copy, inserts, parallel = results["copy"], results["inserts"], results["parallel"]
    ours, theirs = copy["sealed"] - copy["bare"], copy["plpgsql"] - copy["bare"]
    found.append(at_most("time that sealing adds to COPY of 1,000,000 narrow rows: what a PL/pgSQL trigger of RETURN NEW adds",
                         ours / theirs, 1))
    found.append(reported("of which because rows are longer when sealed, measured without a trigger",
                          f"{(copy['long'] - copy['bare']) / theirs:.2f}"))
    found.append(at_least("rate of single-row INSERTs by prepared statement: without the trigger",
                          inserts["ratio"], 0.95))
    found.append(reported("the same with a PL/pgSQL trigger of RETURN NEW", f"{inserts['plpgsql ratio']:.2f}"))
    found.append(reported("the same with the sealing trigger, of NULLs, which leave nothing to seal",
                          f"{inserts['NULL ratio']:.2f}"))
    found += of_one_row(results["one row"]) if "one row" in results else []
    found += of_columns(results["columns"]) if "columns" in results else []
    found.append(at_least("speed of a parallel scan that opens, with two workers: with one", parallel["open 1"] / parallel["open 2"], 1.8))
    found.append(reported("the same: without workers", f"{parallel['open 0'] / parallel['open 2']:.2f}"))
    found.append(reported("the same with <code>sha512</code> in place of opening: with one",
                          f"{parallel['sha512 1'] / parallel['sha512 2']:.2f}"))
    ns = results["many keys"]["ns"]
    found.append(at_most("seal 16 B in 10,000 tables, 20 values at a time: in 10 tables",
                         ns["run_10000"] / ns["run_10"], 1.1))
    found.append(at_most("seal 16 B in 10,000 tables in turn: in 10 tables", ns["turn_10000"] / ns["turn_10"], 1.1))
    alone = results["many keys"]["cipher alone"]
    found.append(reported("the cipher alone with 10,000 keys in turn: with 10", f"{alone['10000'] / alone['10']:.2f}"))
    found += of_reencryption(results["reencrypt"])
    found += of_sealing(results["sealing"]) if "sealing" in results else []
    found += of_keyrings(results["keyrings"])
    found += of_views(results["views"]) if "views" in results else []
    found += of_search(results["search"]) if "search" in results else []
    if "lint" in results:
        lint = results["lint"]
        found.append(at_most(f"seconds of envelope.lint() in a database with {lint['tables']:,} tables", lint["seconds"], 2))
    found.append(reported("memory for each key", f"{results['many keys']['bytes a key']:,.0f} B"))
    for kms, cold in results["cold"].items():
        found.append(reported(f"first use in a new backend, {kms}, beyond the KMS's round trip",
                              f"{cold['above it ms']:.1f} ms"))
        found.append(reported(f"memory of a backend before and after first use, {kms}",
                              f"{cold['kB before'] / 1024:.1f} and {cold['kB after'] / 1024:.1f} MB"))
    found += of_vault(results["cold"]) if "vault" in results["cold"] else []
    found += of_leases(results["leases"]) if "leases" in results else []
    return found


def of_vault(cold):
    vault, aws = cold["vault"], cold["aws"]
    gained = {kms: cold[kms]["kB after"] - cold[kms]["kB before"] for kms in ("vault", "aws")}
    yield at_most("first value in a new backend through transit, with its login in the request: through AWS KMS behind the same delay",
                  vault["first ms"] / aws["first ms"], 1)
    if "vault, login first" in cold:
        yield reported("the same, with a login before the request, as HashiCorp Vault needs",
                       f"{cold['vault, login first']['first ms'] / aws['first ms']:.2f}")
    yield at_most("memory that a backend gains by it: through AWS KMS", vault["kB without a file"] / aws["kB without a file"], 0.5)
    yield reported("the same, with pages of the library's code, which backends share as soon as another uses them",
                   f"{gained['vault'] / gained['aws']:.2f}")


def of_leases(result):
    builds, counted = result["builds"], result["instructions"]
    leased = builds["leases"]
    other = builds.get("before", builds["each for itself"])
    at_once = leased["at once"]["requests"]
    yield (f"KMS requests when 100 new backends open one table's values at once (without leases {other['at once']['requests']})",
           "at most 1", f"{at_once}", at_once <= 1)
    yield at_most("first value in a new backend, key leased, above the same statement without us: without leases",
                  leased["first"]["above ms"] / other["first"]["above ms"], 0.1)
    yield at_most("memory that a backend gains by it: without leases",
                  leased["first"]["kB with files"] / other["first"]["kB with files"], 0.3)
    yield reported("the same, without pages of the library, which backends share as soon as another uses them",
                   f"{leased['first']['kB'] / other['first']['kB']:.2f}")
    for name, build in (("with leases", leased), ("without leases", other)):
        expiry = build["expiry"]
        ratio, work = (expiry["p99 near ms"] / expiry["p99 away ms"],
                       f"p99 of a look-up that opens one value, 20 clients, over an expiry: away from expiries, {name}")
        yield at_most(work, ratio, 1.2) if build is leased else reported(work, f"{ratio:.2f}")
    if "before" in counted:
        for way in ("seal", "open"):
            yield at_most(f"instructions to {way} a value of 16 B: in the build before leases",
                          counted["leases"][way] / counted["before"][way], 1.02, "{:.3f}")
    for name, build in (("with leases", leased), ("without leases", other)):
        pooled = build["pgbouncer"]
        yield reported(f"1,000 clients at once through PgBouncer, {name}: KMS requests, and ms until the last has its value",
                       f"{pooled['requests']} and {pooled['last ms']:,.0f}")


def of_instructions(result):
    short = next(size for size in result["sizes"] if size["size"] == 16)
    for way in ("seal", "open"):
        yield at_most(f"instructions to {way} a value of 16 B, above a scan", short[way], 1050, "{:,.0f}")


def of_one_row(result):
    now, ratio = result["ns"]["now"], result["ratio"]
    for name, work in (("seal", "seal 16 B, a nonce drawn for each value"),
                       ("envelope_encrypt", "time that <code>envelope_encrypt</code> of 16 B adds to a transaction"),
                       ("INSERT", "time that the sealing trigger adds to a transaction that inserts one row")):
        if not ratio:
            yield reported(work, f"{now[name]:,.0f} ns")
        elif name == "seal":
            yield at_most(f"{work}: in the build before nonces were drawn without a system call", ratio[name], 0.5)
        else:
            yield reported(f"{work}: in that build", f"{ratio[name]:.2f}")


def of_columns(result):
    forms, opening = result["seal"], result["open"]
    yield at_most("the trigger on a column of type <code>envelope.sealed</code>: of type <code>bytea</code>",
                  forms["envelope.sealed"] / forms["bytea"], 1.1)
    yield at_most("the trigger with a source column: without one", forms["source"] / forms["bytea"], 1.1)
    yield at_most("open as a date: as bytes", opening["date"] / opening["bytes"], 1.15)


def of_search(result):
    ms, size = result["ms"], result["bytes a row"]["index"]
    yield at_most("look-up of a row by <code>exact</code>, opened: by a plain B-tree", ms["exact"] / ms["plain look-up"], 1.2)
    yield reported("the same by <code>envelope_matches</code>", f"{ms['exact, envelope_matches'] / ms['plain look-up']:.2f}")
    # Not in results from before it was measured.
    for way in ("exact", "exact, envelope_matches") if "plain look-up, by default" in ms else ():
        yield reported(f"the same by <code>{'= ANY' if way == 'exact' else 'envelope_matches'}</code>, plan_cache_mode = auto",
                       f"{ms[way + ', by default'] / ms['plain look-up, by default']:.2f}")
    for part, bound in (("0.1 %", 5), ("1 %", 2), ("10 %", 1.5)):
        yield at_most(f"range of {part} by <code>buckets</code>, opened: by a plain B-tree",
                      ms[f"buckets {part}"] / ms[f"plain range {part}"], bound)
    yield at_most("range of 0.01 % by <code>tree</code>, opened: by a plain B-tree", ms["tree 0.01 %"] / ms["plain range 0.01 %"], 5)
    yield at_most("part of 5 letters by <code>parts(3)</code>, opened: by pg_trgm on plaintext", ms["parts(3)"] / ms["pg_trgm"], 2)
    yield at_most("the same: opening every row", ms["parts(3)"] / ms["opening every row"], 0.01, "{:.4f}")
    yield at_most("bytes a row of a B-tree over <code>exact</code>, values all different", size["exact"], 42, "{:.1f}")
    yield at_most("bytes a row of a B-tree over <code>buckets</code>", size["buckets"], 8, "{:.1f}")
    took = result["trigger µs"]
    yield at_most("time that the sealing trigger adds to a row with an index <code>exact</code>: without", took["exact"] / took["sealed"], 1.5)
    whole = {kind: took["without"] + took[kind] for kind in ("sealed", "exact")}
    yield reported("the same, of the whole INSERT", f"{whole['exact'] / whole['sealed']:.2f}")
    for kind in ("words", "parts(3)"):
        yield reported(f"time that it adds with an index <code>{kind}</code>, of texts of 16 letters: without",
                       f"{took[kind] / took['sealed']:.2f}")
    build = result["build s"]
    yield at_most(f"building <code>exact</code> on {result['rows']:,} rows: UPDATE t SET c = c in the same batches",
                  build["build"] / build["update"], 1.3)


def of_reencryption(result):
    rows, seconds, kb, mb = result["rows"], result["seconds"], result["kB"], result["MB"]
    update = seconds[f"update {rows}"]
    work = f"re-encryption of {rows:,} values of 64 B"
    yield at_most(f"{work}: UPDATE t SET c = c in the same batches", seconds[f"verified {rows}"] / update, 1.5)
    yield at_most(f"{work}, not verified: the same", seconds[f"not verified {rows}"] / update, 1.5)
    yield at_most(f"memory of {work}: of a tenth of the rows", kb[f"verified {rows}"] / kb[f"verified {rows // 10}"], 1.1)
    yield reported(f"MB of the table before and after {work}", "{:.0f} and {:.0f}".format(*mb["alone"]))
    yield reported("the same with VACUUM beside it", "{:.0f} and {:.0f}".format(*mb["vacuumed"]))


def of_sealing(result):
    rows, seconds = result["rows"], result["seconds"]
    work = f"sealing of {rows:,} values of 64 B by <code>seal_column</code>"
    for how, name in (("in place", "in place"), ("from a source column", "source")):
        yield at_most(f"{work}, {how}: UPDATE t SET c = c in the same batches", seconds[name] / seconds["update"], 1.3)
    for how, name in (("in place, beside the sealing trigger", "trigger"), ("the same, quiet", "quiet")):
        yield at_most(f"{work}, {how}: UPDATE t SET c = c in the same batches, beside that trigger, switched off",
                      seconds[name] / seconds["update beside"], 1.3)
    yield reported("the same beside the sealing trigger and quiet: UPDATE t SET c = c without a trigger",
                   "{:.2f} and {:.2f}".format(*(seconds[name] / seconds["update"] for name in ("trigger", "quiet"))))


def of_keyrings(result):
    for name, measured in result.items():
        if name != "keyrings":
            yield at_most(f"KMS requests for each key of {result['keyrings']:,} keyrings, {name}",
                          sum(measured["requests"].values()), 2)


def of_views(result):
    for kind, took in result.items():
        yield at_most(f"{kind} through a view of opened values: to its table", took["view"] / took["table"], 1.1)
        yield at_most(f"{kind} through a view with write => 'triggers': to its table", took["triggers"] / took["table"], 3)


def of_size(result):
    size = result["size"]
    for way in ("seal", "open"):
        m = result[way]
        what = f"{way} {named(size)}"
        if size == 16:
            yield at_most(f"{what}: pgcrypto aes-256-cbc", m["ours"] / m["pgcrypto"], 0.25)
            yield at_most(f"{what}: <code>v &#124;&#124; v</code> + {m['library']}", m["ours"] / m["floor"], 1.5)
        elif size in (1024, 65_536, 1_048_576):
            yield at_most(f"{what}: a copy + {m['library']}", m["ours"] / m["floor"], 1.3)


def named(size):
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"


def at_most(work, ratio, bound, shown="{:.2f}"):
    return work, f"at most {bound:,}", shown.format(ratio), ratio <= bound


def at_least(work, ratio, bound):
    return work, f"at least {bound}", f"{ratio:.2f}", ratio >= bound


def reported(work, measured):
    return work, "reported", measured, None
