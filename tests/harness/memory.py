"""What is in the memory of a process, and in which of its pages; and how much of it it may lock."""

import contextlib
import re
import resource

# "addr-addr perms offset dev inode path", then lines of "Name: value".
_HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)$")


class Mapping:
    def __init__(self, start, end, perms, path):
        self.start, self.end, self.perms, self.path = start, end, perms, path
        self.flags = set()

    def __repr__(self):
        return f"{self.start:x}-{self.end:x} {self.perms} {self.path or 'anonymous'} {' '.join(sorted(self.flags))}"


def mappings(pid):
    """Its mappings with the kernel's flags: `lo` locked, `dd` left out of core dumps, `wf` wiped on fork."""
    found = []
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            head = _HEAD.match(line)
            if head:
                found.append(Mapping(int(head[1], 16), int(head[2], 16), head[3], head[4]))
            elif line.startswith("VmFlags:"):
                found[-1].flags = set(line.split()[1:])
    return found


def content(pid, chosen):
    """What stands in the mappings for which `chosen` is true."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        found = b""
        for mapping in filter(chosen, mappings(pid)):
            memory.seek(mapping.start)
            found += memory.read(mapping.end - mapping.start)
    return found


def shared(pid):
    """What stands in the mappings that a process shares with others."""
    found = b""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for mapping in mappings(pid):
            if mapping.perms[:2] == "rw" and mapping.perms[3] == "s":
                memory.seek(mapping.start)
                found += memory.read(mapping.end - mapping.start)
    return found


def holding(pid, needle):
    """The mappings that hold the bytes, once for each time; shared memory and what cannot be written is left out."""
    return [mapping for mapping, content in _own(pid) for _ in range(content.count(needle))]


def held(pid, needles):
    """Which of the needles, by name, stand anywhere in these mappings."""
    return {name for _, content in _own(pid) for name, needle in needles.items() if needle in content}


def _own(pid):
    """The private mappings that can be written, and what stands in them."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for mapping in mappings(pid):
            if mapping.perms[:2] != "rw" or mapping.perms[3] == "s":
                continue
            memory.seek(mapping.start)
            try:
                content = memory.read(mapping.end - mapping.start)
            except OSError:
                continue
            yield mapping, content


@contextlib.contextmanager
def memlock(soft):
    """What is started meanwhile may lock so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)
