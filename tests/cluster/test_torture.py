"""Random programs and crashes until there were enough of each; `make torture` runs longer ones."""

import os
import random

from torture.program import run

# More than these: else it did not do what it is for.
TIMES = {"programs": 20, "committed": 20, "rolled back": 20, "prepared": 20, "rotations": 20, "checks": 10,
         "drops": 5, "shares": 5, "imports": 5, "destructions": 5, "keys moved": 20,
         "KEKs added": 5, "KEKs dropped": 5, "crashes of the server": 1}
AT_THE_END = {"rows": 20, "keys": 20}


def test_random_programs_and_crashes():
    """The seed is in the output of a failure: `make torture SEED=…` draws the same programs."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    counts = run(seed, 40, enough=lambda counts: all(counts[what] > n for what, n in TIMES.items()), at_most=900)
    for what, n in {**TIMES, **AT_THE_END}.items():
        assert counts[what] > n, counts
