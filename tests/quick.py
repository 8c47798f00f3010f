"""Which cluster tests `make quick` runs, by what was changed: python -m quick [NAME…]"""

import pathlib
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent
ROOT = TESTS.parent
CLUSTER = TESTS / "cluster"


def table():
    """Pairs of a path's beginning and names of tests, as tests/quick.txt has them."""
    lines = (line.split() for line in (TESTS / "quick.txt").read_text().splitlines() if not line.startswith("#"))
    return [(line[0], line[1:]) for line in lines if line]


def test_files():
    return sorted(path.stem.removeprefix("test_") for path in CLUSTER.glob("test_*.py"))


def chosen(changed):
    """The tests that belong to these files: by the table, and changed tests themselves."""
    names = []
    for path in changed:
        for beginning, tests in table():
            if beginning == "/" or path.startswith(beginning):
                names += tests
        if path.startswith("tests/cluster/test_"):
            names.append(pathlib.PurePath(path).stem.removeprefix("test_"))
    return sorted(set(names) & set(test_files()))


def changed_files():
    """What is not committed; when that is nothing, what the last commit changed."""

    def git(*args):
        # The checkout may be another user's than who runs make.
        command = ["git", "-C", ROOT, "-c", "safe.directory=*", *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")

    changed = git("diff", "--name-only", "HEAD") + git("ls-files", "--others", "--exclude-standard")
    changed = [path for path in changed if path]
    return changed or [path for path in git("diff", "--name-only", "HEAD~1", "HEAD") if path]


def main():
    names = sys.argv[1:]
    if not names:
        changed = changed_files()
        print("changed:", *changed, file=sys.stderr)
        names = chosen([*changed, ""])
    left = sorted(set(test_files()) - set(names))
    print("cluster tests:", *names, file=sys.stderr)
    print("left to `make test`:", *left, file=sys.stderr)
    print(*(CLUSTER / f"test_{name}.py" for name in names), sep="\n")


if __name__ == "__main__":
    main()
