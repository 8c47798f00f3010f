"""Random transactions. A program is a list of steps drawn from the seed, the session's and its own number alone, so
that a seed gives the same programs again; how they interleave is up to the server."""

import random
from dataclasses import dataclass

# Weights. `make` is a new table with its trigger, `insert` one by the trigger, `seal` one by envelope_encrypt,
# `rotate` the next version of a table's key, if it has one, `reseal` some of its values under that, `destroy` its oldest
# version, `share` its keyring for another table, with one of its values, `import` an older export; `rewrap` moves its
# keys to another KEK, of another KMS perhaps, `add_kek` and `drop_kek` give and take one.
STEPS = {"insert": 10, "seal": 6, "read": 6, "savepoint": 4, "rollback_to": 3, "release": 2, "make": 1, "rotate": 2,
         "reseal": 2, "destroy": 3, "drop": 1, "share": 1, "export": 1, "import": 1, "rewrap": 2, "add_kek": 1, "drop_kek": 2, "flush": 1, "warm": 1, "fail": 1}
ENDS = {"commit": 10, "rollback": 3, "commit_prepared": 1, "rollback_prepared": 1}
ISOLATIONS = {"READ COMMITTED": 6, "REPEATABLE READ": 2, "SERIALIZABLE": 1}
# In the id of a copy, between its own and that of the row whose value it has.
COPY_OF = "<"


@dataclass(frozen=True)
class Step:
    verb: str
    # Which of the tables that are there, newest first: choice % their number. The other one is shared with.
    choice: int
    other: int
    size: int


@dataclass(frozen=True)
class Program:
    name: str
    isolation: str
    steps: tuple[Step, ...]
    end: str


def draw(rng, weights):
    return rng.choices(list(weights), list(weights.values()))[0]


def program(seed, session, number):
    rng = random.Random(f"{seed}/{session}/{number}")

    def table():
        # Mostly the newest ones: those that have no key yet.
        return int(rng.expovariate(0.4))

    steps, open_savepoints = [], 0
    for _ in range(rng.randint(1, 12)):
        verb = draw(rng, STEPS)
        if verb in ("rollback_to", "release"):
            if not open_savepoints:
                continue
            open_savepoints -= verb == "release"
        open_savepoints += verb == "savepoint"
        steps.append(Step(verb, table(), table(), rng.choice((0, 1, 20, 300, 3000))))
    return Program(f"{session}.{number}", draw(rng, ISOLATIONS), tuple(steps), draw(rng, ENDS))


def plaintext(row_id, size):
    """Says which row it belongs to: a copy's, the row that it was copied from."""
    return f"{row_id.rpartition(COPY_OF)[2]}:{size}:" + "x" * size


def program_of(row_id):
    return row_id.partition(COPY_OF)[0].rpartition(".")[0]
