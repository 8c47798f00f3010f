"""`make evidence` reads what tools print, and names what it did not run."""

import json
import os
import subprocess
import sys

import pytest
from evidence import said
from harness import place

PYTEST = "....F\n==== 1 failed, 1180 passed, 2 skipped in 512.33s (0:08:32) ====\n3 passed in 1.00s\n"
CARGO = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured\ntest result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured\n"
FUZZ = "#1000\tpulse\n#123456\tDONE   cov: 10\n"
CRASH = "==7== ERROR: AddressSanitizer: heap-buffer-overflow\nSUMMARY: AddressSanitizer: heap\n"
MUTANTS = json.dumps({"caught": 95, "missed": 5, "unviable": 2, "timeout": 1})


@pytest.mark.parametrize("reader, text, counts", [
    (said.pytest, PYTEST, (1183, 1, 2)),
    (said.pytest, "no tests ran in 0.01s\n", None),
    (said.cargo, CARGO, (15, 2, 1)),
    (said.cargo, "error: could not compile\n", None),
    (said.pg_regress, " All 27 tests passed. \n", (27, 0, 0)),
    (said.pg_regress, "# All 27 tests passed.\n", (27, 0, 0)),
    (said.pg_regress, " 2 of 27 tests failed. \n", (25, 2, 0)),
    (said.pg_regress, "initdb failed\n", None),
    (said.libfuzzer, FUZZ, (123456, 0, 0)),
    (said.libfuzzer, CRASH, (0, 1, 0)),
    (said.mutants, MUTANTS, (95, 5, 3)),
])
def test_what_tools_print_is_counted(reader, text, counts):
    assert reader(text) == counts


def evidence(tmp_path, *steps):
    env = os.environ | {"CARGO_TARGET_DIR": str(tmp_path)}
    return subprocess.run([sys.executable, "-m", "evidence", *steps], cwd=place.ROOT / "tests", env=env, capture_output=True, text=True)


def test_what_is_not_run_is_named(tmp_path):
    (tmp_path / "mutants.out").mkdir()
    (tmp_path / "mutants.out" / "score.json").write_text(MUTANTS)
    done = evidence(tmp_path, "mutants")
    assert done.returncode == 0, done.stderr
    ran, _, rest = (tmp_path / "evidence" / "report.md").read_text().partition("## What was not run")
    not_run, _, unsafe = rest.partition("## Unsafe code")
    assert "| mutants |" in ran and "95.0%" in ran
    for step in ("check", "cluster", "kms", "fuzz", "advisories", "sbom"):
        assert f"| {step} |" in not_run and f"| {step} |" not in ran
    assert "| `src/pg` |" in unsafe and "`src/envelope`" not in unsafe


def test_a_step_that_cannot_run_is_named(tmp_path):
    assert evidence(tmp_path, "mutants").returncode == 0
    ran, _, not_run = (tmp_path / "evidence" / "report.md").read_text().partition("## What was not run")
    assert "| mutants |" in not_run and "target/mutants.out" in not_run and "| mutants |" not in ran


def test_a_step_that_fails_fails_the_whole(tmp_path):
    (tmp_path / "mutants.out").mkdir()
    (tmp_path / "mutants.out" / "score.json").write_text(json.dumps({"caught": 1, "missed": 1}))
    assert evidence(tmp_path, "mutants").returncode == 1
    assert "**failed**" in (tmp_path / "evidence" / "report.md").read_text()
    assert evidence(tmp_path, "nonsense").returncode != 0


def mutants(tmp_path, found, *only):
    """What is said of mutants of these names, and the counts."""
    out = tmp_path / "mutants.out"
    out.mkdir(exist_ok=True)
    for kind in ("caught", "missed", "timeout", "unviable", "previously_caught"):
        (out / f"{kind}.txt").write_text("".join(f"{name}\n" for name in found.get(kind, [])))
    done = subprocess.run([sys.executable, place.ROOT / "tests" / "run" / "mutants.py", out, *only], capture_output=True, text=True)
    return done, json.loads((out / "score.json").read_text())


def test_a_mutant_that_no_test_sees_is_in_the_list(tmp_path):
    listed = [line for line in (place.ROOT / "tests" / "mutants.txt").read_text().splitlines() if line and not line.startswith("#")]
    somewhere = [line.replace(": ", f":{number}:5: ", 1) for number, line in enumerate(listed, 1)]
    done, _ = mutants(tmp_path, {"missed": somewhere})
    assert done.returncode == 0, done.stderr
    new = "src/envelope/value.rs:1:2: replace SealKey::open with nothing"
    done, _ = mutants(tmp_path, {"missed": [*somewhere, new]})
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "replace SealKey::open" in done.stderr
    # As often as it stands there.
    done, _ = mutants(tmp_path, {"missed": [*somewhere, somewhere[0]]})
    assert done.returncode == 1
    # What is caught now is struck from the list; a part of a run cannot tell.
    done, _ = mutants(tmp_path, {"missed": somewhere[1:]})
    assert done.returncode == 1 and listed[0] in done.stderr
    done, _ = mutants(tmp_path, {"missed": somewhere[1:]}, "part")
    assert done.returncode == 0, done.stderr


def test_mutants_of_earlier_runs_are_counted(tmp_path):
    found = {"caught": ["a.rs:1:1: a", "a.rs:2:1: a"], "unviable": ["a.rs:3:1: a"], "missed": ["a.rs:4:1: a"]}
    # It was broken off.
    done, first = mutants(tmp_path, found, "count")
    assert done.returncode == 0, done.stderr
    assert first == {"caught": 2, "missed": 1, "unviable": 1, "timeout": 0}
    before = ["a.rs:1:1: a", "a.rs:2:1: a", "a.rs:3:1: a"]
    _, second = mutants(tmp_path, {"previously_caught": before, "caught": ["a.rs:4:1: a"], "unviable": ["a.rs:5:1: a"]})
    assert second == {"caught": 3, "missed": 0, "unviable": 2, "timeout": 0}
