"""What a run of cargo mutants found, against tests/mutants.txt: mutants.py MUTANTS_OUT [part | count]

Fails where a mutant was missed that the list does not name. After a run over all it fails as well where the list names one that was not
missed. A run that goes on where another stopped counts its own mutants only; MUTANTS_OUT/score.json has the counts of all. With `count`
that is all it does.
"""

import collections
import json
import pathlib
import re
import sys

LIST = pathlib.Path(__file__).parents[1] / "mutants.txt"


def names(file, with_places=False):
    """The mutants that a file lists, one a line. Each edit moves their places."""
    lines = file.read_text().splitlines() if file.exists() else []
    found = [line for line in lines if line and not line.startswith("#")]
    return found if with_places else [re.sub(r":\d+:\d+: ", ": ", line) for line in found]


def score(out):
    """Counts over this run and those before it, whose caught and unviable mutants cargo mutants lists together."""
    unviable_before = out.parent / "mutants.unviable"
    before = names(out / "previously_caught.txt", with_places=True)
    unviable = set(before) & set(names(unviable_before, with_places=True)) | set(names(out / "unviable.txt", with_places=True))
    unviable_before.write_text("".join(f"{name}\n" for name in sorted(unviable)))
    caught = set(before) | set(names(out / "caught.txt", with_places=True))
    counts = {"caught": len(caught - unviable), "unviable": len(unviable)}
    counts |= {kind: len(names(out / f"{kind}.txt")) for kind in ("missed", "timeout")}
    (out / "score.json").write_text(json.dumps(counts) + "\n")
    return counts


def main(out, only=None):
    out = pathlib.Path(out)
    counts = score(out)
    if only == "count":
        return None
    missed, listed = (collections.Counter(names(file)) for file in (out / "missed.txt", LIST))
    new, gone = missed - listed, listed - missed
    share = counts["caught"] / max(counts["caught"] + counts["missed"], 1)
    print(f"{share:.1%} caught: " + ", ".join(f"{number:,} {kind}" for kind, number in counts.items()))
    faults = [f"missed, and not in {LIST.name}: {name}" for name in sorted(new.elements())]
    if only is None:
        faults += [f"in {LIST.name}, but not missed: {name}" for name in sorted(gone.elements())]
    return "\n".join(faults) or None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
