"""Times that can be compared: interleaved, so that what slows the machine slows all, and medians of them. A backend's
is its own time on a processor: what else the machine does is not counted."""

import os
import statistics
import time

REPETITIONS = int(os.environ.get("BENCH_REPETITIONS", "7"))


def timed(work, *args):
    """Nanoseconds that a call takes."""
    started = time.perf_counter_ns()
    work(*args)
    return time.perf_counter_ns() - started


def on_processor(pid, work):
    """Nanoseconds that a backend spends on a processor, and in the kernel for its sake, while `work` has it do
    something. It must be idle before and after."""
    before = _runtime(pid)
    work()
    return _runtime(pid) - before


def _runtime(pid):
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0])


def interleaved(works, repetitions=None, timer=timed):
    """The median of what `timer` says of each of `works`, by name. A round before the first warms up, all of them
    alike."""
    samples = {name: [] for name in works}
    for round_ in range((repetitions or REPETITIONS) + 1):
        for name, work in works.items():
            took = timer(work)
            if round_:
                samples[name].append(took)
    return {name: statistics.median(s) for name, s in samples.items()}


def queries(connection, texts, rows, repetitions=None):
    """Nanoseconds a row of each query, by name."""
    pid = connection.info.backend_pid
    works = {name: (lambda text=text: connection.execute(text)) for name, text in texts.items()}
    took = interleaved(works, repetitions, lambda work: on_processor(pid, work))
    return {name: ns / rows for name, ns in took.items()}


def resident(pid):
    """kB of memory that is a process's own: not what it shares with the postmaster."""
    return _rolled_up(pid, "Private_Clean", "Private_Dirty")


def anonymous(pid):
    """kB of memory that has no file behind it: what each process costs, however many run the same code."""
    return _rolled_up(pid, "Anonymous")


def _rolled_up(pid, *names):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        fields = dict(line.split(":", 1) for line in f if ":" in line)
    return sum(int(fields[name].split()[0]) for name in names)
