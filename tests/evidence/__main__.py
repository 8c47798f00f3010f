"""One report of what the tools say of this checkout, into target/evidence: python -m evidence [STEP…]

Without steps: all of STEPS. A step that is not run is named in the report, with the reason. What each printed stands in
target/evidence/STEP.log. Ends with 1 if a step failed.
"""

import datetime
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time

from evidence import said
from harness import place

TARGET = place.ROOT / "target" if "CARGO_TARGET_DIR" not in os.environ else place.pathlib.Path(os.environ["CARGO_TARGET_DIR"])
OUT = TARGET / "evidence"
MINUTES = int(os.environ.get("MINUTES") or 1)
# Of each step: what it shows, what runs, and what reads its output.
STEPS = {
    "check": ("format, lints, licences, sources and bans of dependencies, shell scripts, links of the site", ["tests/run/check.sh"], None),
    "install": ("a build that is installed for the steps below", ["tests/setup/install.sh", "dev"], None),
    "pgspot": ("install and upgrade scripts against a hostile role", ["tests/run/pgspot.sh"], None),
    "asan": ("the byte format under AddressSanitizer", ["tests/run/asan.sh"], said.cargo),
    "unit": ("unit tests, and those inside a server", ["tests/run/pgrx-test.sh"], said.cargo),
    "regress": ("SQL scripts and what they print", ["tests/run/pg-regress.sh"], said.pg_regress),
    "cluster": ("real clusters from outside", ["tests/run/pytest.sh"], said.pytest),
    "kms": ("every KMS provider against a real server", ["tests/run/kms.sh"], said.pytest),
    "torture": (f"random programs on a server that is killed, {MINUTES} min", ["tests/run/python.sh", "dev", "-m", "torture.program", "--minutes", str(MINUTES)], None),
    "fuzz": (f"fuzzers, {MINUTES} min each: inputs tried", None, said.libfuzzer),
    "advisories": ("known vulnerabilities of dependencies", None, None),
    "mutants": ("mutations of the pure crates: caught", None, None),
    "sbom": ("a list of what a package is made of, and the licences of it", None, None),
}


def main(*chosen):
    if unknown := set(chosen) - set(STEPS):
        sys.exit(f"no such step: {', '.join(sorted(unknown))} (there are: {', '.join(STEPS)})")
    OUT.mkdir(parents=True, exist_ok=True)
    rows, not_run = [], []
    for name, (shows, command, reads) in STEPS.items():
        (OUT / f"{name}.log").unlink(missing_ok=True)
        if chosen and name not in chosen:
            not_run.append((name, shows, "it was not asked for"))
            continue
        began = time.monotonic()
        print(f"{name}: {shows} …", flush=True)
        ok, says = run(name, command, reads) if command else SPECIAL[name](name)
        if ok is None:
            not_run.append((name, shows, says))
        else:
            rows.append((name, shows, "passed" if ok else "**failed**", says, f"{time.monotonic() - began:.0f} s"))
        print(f"{name}: {'not run, ' if ok is None else ''}{says or ('passed' if ok else 'failed')}", flush=True)
    (OUT / "report.md").write_text("\n".join(report(rows, not_run)) + "\n")
    print(OUT / "report.md")
    return any(result != "passed" for _, _, result, _, _ in rows)


def run(name, command, reads):
    """Whether it passed, and its counts."""
    with open(OUT / f"{name}.log", "a") as log:
        done = subprocess.run(command, cwd=place.ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    counts = reads((OUT / f"{name}.log").read_text(errors="replace")) if reads else None
    if reads and not counts:
        return False, "its output has no counts"
    return done.returncode == 0 and not (counts and counts[1]), in_words(counts) if counts else ""


def in_words(counts):
    passed, failed, left_out = counts
    return f"{passed:,} passed, {failed:,} failed" + (f", {left_out:,} left out" if left_out else "")


def fuzz(name):
    if subprocess.run(["cargo", "fuzz", "--version"], capture_output=True).returncode:
        return None, "cargo-fuzz is not installed"
    results = [run(name, ["cargo", "+nightly", "fuzz", "run", target.stem, "--", f"-max_total_time={60 * MINUTES}"], said.libfuzzer)
               for target in sorted((place.ROOT / "fuzz" / "fuzz_targets").glob("*.rs"))]
    # The last has read the whole log.
    return all(ok for ok, _ in results), results[-1][1]


def advisories(name):
    with open(OUT / f"{name}.log", "w") as log:
        done = subprocess.run(["bash", "-c", "source tests/setup/env.sh && use_tool cargo-deny 0.20.2 && cargo deny check advisories"],
                              cwd=place.ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    text = (OUT / f"{name}.log").read_text(errors="replace")
    if done.returncode and not re.search(r"^advisories (FAILED|ok)", text, re.M):
        return None, "the database of advisories is not at hand, and could not be fetched"
    return done.returncode == 0, f"{len(re.findall(r'^error', text, re.M))} found"


def mutants(_):
    """Not run here, as it takes hours: what `make mutants` has left."""
    score = TARGET / "mutants.out" / "score.json"
    if not score.exists():
        return None, "there is no target/mutants.out/score.json (make mutants, hours)"
    caught, missed, left_out = said.mutants(score.read_text())
    share = caught / max(caught + missed, 1)
    return share >= 0.95, f"{share:.1%}: {caught:,} caught, {missed:,} missed, {left_out:,} left out; made {when(score)}"


def sbom(name):
    ok, _ = run(name, ["tests/packages/sbom.sh"], None)
    return ok, "; ".join(f"{one.name}, SHA-256 {digest(one)}" for one in sorted((TARGET / "sbom").iterdir())) if ok else ""


SPECIAL = {"fuzz": fuzz, "advisories": advisories, "mutants": mutants, "sbom": sbom}


def report(rows, not_run):
    yield "# Evidence"
    yield ""
    yield "What tools said of one checkout. No person has judged it: [SECURITY-REVIEW.md](../../SECURITY-REVIEW.md) is where a review begins."
    yield ""
    yield from (f"- {what}: {value}" for what, value in about())
    yield from ("", "## What was run", "", "| step | what it shows | result | | took |", "|---|---|---|---|---|")
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield from ("", "## What was not run", "", "| step | what it would show | why not |", "|---|---|---|")
    yield from (f"| {' | '.join(row)} |" for row in not_run)
    yield from ("", "## Unsafe code", "", "Blocks, functions and implementations, by wing. Those of `src/pg` call PostgreSQL.", "",
                "| where | unsafe |", "|---|--:|")
    yield from (f"| `{wing}` | {count} |" for wing, count in unsafe())
    yield from ("", "What each step printed stands beside this file.")


def about():
    yield "version", re.search(r'^version = "(.*)"', (place.ROOT / "Cargo.toml").read_text(), re.M)[1]
    commit = output("git", "rev-parse", "HEAD")
    changed = output("git", "status", "--porcelain")
    yield "commit", f"{commit or 'unknown'}{', with changes that are not committed' if changed else ''}"
    yield "`Cargo.lock`", f"SHA-256 {digest(place.ROOT / 'Cargo.lock')}"
    yield "made", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    yield "on", f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} processors"
    yield "with", f"{output('rustc', '--version')}; {output(place.PG_BIN / 'postgres', '--version')}"


def unsafe():
    """As many words `unsafe` as begin something, and none in comments."""
    for wing in sorted((place.ROOT / "src").iterdir()):
        sources = [wing] if wing.suffix == ".rs" else wing.rglob("*.rs")
        count = sum(len(re.findall(r"\bunsafe\s+(?:\{|fn\b|impl\b|extern\b)|#\[unsafe\(", re.sub(r"//.*", "", source.read_text()))) for source in sources)
        if count:
            yield wing.relative_to(place.ROOT).as_posix(), count


def output(*command):
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, cwd=place.ROOT, capture_output=True, text=True).stdout.strip()


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def when(file):
    return datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.timezone.utc).strftime("%Y-%m-%d")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
