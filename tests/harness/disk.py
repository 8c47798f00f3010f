"""Searches what PostgreSQL wrote to disk."""

import subprocess
import tempfile


def files_holding(directory, needle):
    """The files below a directory, WAL among them, that hold the bytes. Checkpoint first."""
    return [p for p in sorted(directory.rglob("*")) if p.is_file() and _holds(p, needle)]


def _holds(path, needle):
    try:
        # Read and not mapped: one that is cut short meanwhile would end us by SIGBUS.
        return needle in path.read_bytes()
    except FileNotFoundError:
        # Deleted meanwhile.
        return False


def files_holding_any(paths, needles):
    """The files among the paths and below them that hold one of many needles; each file is read once."""
    with tempfile.NamedTemporaryFile() as patterns:
        # A pattern is a line. Of bytes that have line ends in them the longest piece stands for the whole.
        patterns.writelines(max(needle.split(b"\n"), key=len) + b"\n" for needle in needles)
        patterns.flush()
        done = subprocess.run(["grep", "-ralF", "-f", patterns.name, "--", *map(str, paths)], capture_output=True,
                              env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    # Some are deleted meanwhile.
    said = [line for line in done.stderr.decode().splitlines() if not line.endswith(": No such file or directory")]
    if done.returncode > 1 and said:
        raise RuntimeError("\n".join(said))
    return sorted(done.stdout.decode().splitlines())
