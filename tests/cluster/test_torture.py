"""Two minutes of random programs and crashes; `make torture` runs longer ones."""

import os
import random

from torture.program import run


def test_random_programs_and_crashes():
    """The seed is in the output of a failure: `make torture SEED=…` draws the same programs."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    counts = run(seed, 120)
    # It did what it is for.
    for what in ("programs", "committed", "rolled back", "prepared", "rows", "keys", "rotations", "checks"):
        assert counts[what] > 20, counts
    for what in ("drops", "shares", "imports", "destructions"):
        assert counts[what] > 5, counts
    assert counts["crashes of the server"] >= 2, counts
