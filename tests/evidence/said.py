"""What the last lines of a tool's output say, as counts: (passed, failed, left out)."""

import json
import re


def pytest(log):
    """Of one run or several."""
    found = [dict((word, int(number)) for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped|deselected)", line))
             for line in log.splitlines() if re.search(r"\d+ (passed|failed|error).* in [\d.]+s", line)]

    def total(*words):
        return sum(one.get(word, 0) for one in found for word in words)

    return (total("passed"), total("failed", "error", "errors"), total("skipped", "deselected")) if found else None


def cargo(log):
    """Of every test binary."""
    found = re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", log, re.M)
    return tuple(sum(int(one[i]) for one in found) for i in range(3)) if found else None


def pg_regress(log):
    """In the words of all majors."""
    if found := re.search(r"All (\d+) tests passed", log):
        return int(found[1]), 0, 0
    if found := re.search(r"(\d+) of (\d+) tests failed", log):
        return int(found[2]) - int(found[1]), int(found[1]), 0
    return None


def libfuzzer(log):
    """Inputs that were tried; a crash is a failure."""
    tried = [int(one) for one in re.findall(r"^#(\d+)\s+DONE", log, re.M)]
    crashes = len(re.findall(r"^==\d+== ?ERROR|SUMMARY: \w*Fuzzer", log, re.M))
    return (sum(tried), crashes, 0) if tried or crashes else None


def mutants(score):
    """Of what tests/run/mutants.py counted: caught, missed, those that did not build or took too long."""
    counts = json.loads(score)
    left_out = counts.get("unviable", 0) + counts.get("timeout", 0)
    return counts["caught"], counts["missed"], left_out
